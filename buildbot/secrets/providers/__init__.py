"""Providers of secrets: ``base.py`` is the interface, the others implement it."""
