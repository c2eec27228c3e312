"""Change sources: what notices that somebody committed something."""
