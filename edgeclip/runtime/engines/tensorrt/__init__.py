"""TensorRT and TensorRT-RTX: an engine of the GPU is built from a graph, kept, and run."""
