"""What a device can afford: its profile, how it is measured, and what it predicts."""
