"""The stages as the commands call them: find the inputs, make one call, hand on. The demo calls the same."""
