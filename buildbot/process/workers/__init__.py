"""Workers in the running master: their connections, and the protocols that they speak."""
