"""Two stages of the chain, image by image: the report and retention both stand on it."""
