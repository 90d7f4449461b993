"""The image towers there are, a file a family: what each costs, how open_clip builds it, how good it may become."""
