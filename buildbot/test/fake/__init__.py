"""Stand-ins for the edges of a master; the database in them is real, in memory."""
