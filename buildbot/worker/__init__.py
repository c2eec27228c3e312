"""Workers, as a configuration names them."""
