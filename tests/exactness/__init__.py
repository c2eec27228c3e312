"""The proof that a snapshot and the events after it are the later snapshot, exactly, whatever is killed.

``farm`` runs real master processes (``actor``, ``work``, ``parts``) and watchers (``watching``, ``sources``) on one
database, and kills, pauses, cuts and restarts them by chance. ``judge`` reads the whole log and what the processes
have written down (``records``) and says what was not as promised. ``broken`` makes mistakes on purpose, to show that
they are noticed. More: docs/exactness.md.
"""
