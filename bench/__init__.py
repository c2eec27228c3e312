"""Benchmarks: this package, the raw driver and upstream Buildbot, interleaved in one run (docs/benchmarks.md)."""
