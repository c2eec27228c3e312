"""Databases imported from Buildbot, and copied between databases of Tenfold."""
