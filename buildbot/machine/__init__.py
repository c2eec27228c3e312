"""Machines that workers run on; some are started when a build needs them, and stopped when none does."""
