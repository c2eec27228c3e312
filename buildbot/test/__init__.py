"""What tests of plugins may use."""
