"""Storage backends of the statistics service."""
