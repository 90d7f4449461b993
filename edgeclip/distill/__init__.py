"""Teach the student: objectives, teacher, feature store, data, trainer, run directory."""
