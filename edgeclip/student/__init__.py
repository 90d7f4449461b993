"""Which student fits: its spec, the space it comes from, how it is chosen and built."""
