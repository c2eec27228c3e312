"""Databases imported from a Buildbot installation (`run.py`), and copied between Tenfold's databases (`copying.py`).

`upstream.py` alone knows Buildbot's schema. `source.py` reads its rows; `convert.py`, `chunks.py` and `states.py`
convert them to Tenfold's; `target.py` writes. All code is synchronous: no master runs meanwhile.
"""
