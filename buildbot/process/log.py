"""The public path of logs; they live in `buildbot.process.logs`."""

from buildbot.process.logs import HtmlLog, Log, PlainLog, StreamLog, TextLog

__all__ = ["HtmlLog", "Log", "PlainLog", "StreamLog", "TextLog"]
