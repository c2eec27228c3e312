"""Faults of machines, databases and networks, one after the other, under load; and what becomes of the builds.

``farm`` runs two real masters with real agents on one database; ``load`` forces builds all the time and counts those
that succeed; ``rows`` makes the faults; ``verdict`` looks for what is lost, doubled, stuck or left open;
``table`` puts the rows together. More: docs/faults.md.
"""
