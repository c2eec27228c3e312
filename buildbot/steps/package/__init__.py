"""Steps that make packages of distributions."""
