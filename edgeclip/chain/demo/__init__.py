"""The embedded default: OpenMoji, a small teacher, one call for the whole chain."""
