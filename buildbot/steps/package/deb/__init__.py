"""Steps that make and check Debian packages."""
