"""Workers: what the configuration says of them, their connections, and the protocols that they speak."""
