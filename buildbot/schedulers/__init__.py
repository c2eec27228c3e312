"""Schedulers: they decide what is built."""
