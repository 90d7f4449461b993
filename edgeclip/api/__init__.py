"""The commands as Python functions: paths or objects in, objects out. The command line calls nothing else."""
