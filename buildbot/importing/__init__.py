"""Databases brought over: from a Buildbot installation (`run.py`), or between two databases of ours (`copying.py`).

`upstream.py` alone knows Buildbot's schema. `source.py` reads, `convert.py`, `chunks.py` and `states.py` make our rows
of theirs, `target.py` writes. Everything here is synchronous: no master runs meanwhile.
"""
