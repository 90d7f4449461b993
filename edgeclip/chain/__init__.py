"""The whole chain: from one's own images to a report, each stage as its own command would do it."""
