"""A running master is sent what no decent client sends; see ``__main__``."""
