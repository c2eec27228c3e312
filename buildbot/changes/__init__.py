"""Change sources: they find new commits."""
