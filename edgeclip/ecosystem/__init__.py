"""A place in the tools that people already have: model hubs, CLIP_benchmark, transformers.js, sentence encoders."""
