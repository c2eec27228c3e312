"""Schedulers: what decides that something is built."""
