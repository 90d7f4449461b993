"""One TOML a device, measured or honestly marked as estimated."""
