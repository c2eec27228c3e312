"""The public path of `SourceStampFilter`; the code is in `buildbot.changes.ssfilter`."""

from buildbot.changes.ssfilter import SourceStampFilter

__all__ = ["SourceStampFilter"]
