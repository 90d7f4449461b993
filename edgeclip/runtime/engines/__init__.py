"""What executes a graph, one file an engine; nothing else calls an engine."""
