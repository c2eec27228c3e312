"""Small modules, each named after one thing; they import no other package of Tenfold.

The functions here are those that plugins import from this path.
"""

from buildbot.util.comparing import ComparableMixin
from buildbot.util.deferreds import asyncSleep
from buildbot.util.text import bytes2unicode, unicode2bytes

__all__ = ["ComparableMixin", "asyncSleep", "bytes2unicode", "unicode2bytes"]
