"""Processes that do the measured jobs, one for each implementation."""
