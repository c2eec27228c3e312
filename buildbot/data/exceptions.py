"""Errors of the Data API."""

from __future__ import annotations

from collections.abc import Mapping


class DataException(Exception):
    """Base class of all Data API exceptions."""


class InvalidPathError(DataException):
    """The path argument was invalid or unknown."""


class InvalidOptionError(DataException):
    """A value in the ``options`` argument was invalid or ill-formed."""


class SinceTooOldError(DataException):
    """The log of events no longer holds the events after ``since``: fetch a snapshot again."""


class InvalidControlError(DataException):
    """The resource has no such action, or the action takes no such arguments."""


class UnknownActionError(InvalidControlError):
    """The resource has no such action."""


class ControlParamsError(InvalidControlError):
    """Values given to a form are wrong; ``messages`` has the mistake of each field."""

    def __init__(self, messages: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in messages.items()))
        self.messages = dict(messages)


class NotFoundError(DataException):
    """The resource that an action is for does not exist."""
