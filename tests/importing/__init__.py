"""Databases brought over from Buildbot, and from one of ours to another."""
