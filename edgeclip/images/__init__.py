"""Images, labelled or not: a folder, tar shards, a hub's or torchvision's data set, or a URL."""
