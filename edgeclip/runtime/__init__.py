"""What a device installs: open a bundle, preprocess, tokenize, encode, time. No torch, and nothing else of ours."""
