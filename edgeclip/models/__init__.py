"""All that knows open_clip: teachers and students opened, built, initialised, and laid out as hubs want them."""
