"""Secrets of the configuration: who is asked for them (``manager``), and where they are kept (``providers``)."""
