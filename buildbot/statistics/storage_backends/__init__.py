"""Stores of figures."""
