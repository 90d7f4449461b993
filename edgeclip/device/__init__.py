"""What this machine is: its processor, sensors, and what is installed on it."""
