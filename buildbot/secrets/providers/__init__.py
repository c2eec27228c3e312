"""Where secrets are kept: ``base.py`` asks, the others answer."""
