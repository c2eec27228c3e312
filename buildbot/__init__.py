"""Tenfold: the Buildbot master, rebuilt on an exact and fast state layer."""

__version__ = "0.1.0"

#: what existing workers and configurations compare with
version = __version__
