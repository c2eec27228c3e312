"""Generators: each decides whether an event is reported, and makes the report."""
