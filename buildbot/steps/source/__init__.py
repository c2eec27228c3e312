"""Source steps: they bring the code to the worker."""
