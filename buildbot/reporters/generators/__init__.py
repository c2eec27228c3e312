"""When something is reported, and about what: a generator makes a report of an event, or none."""
