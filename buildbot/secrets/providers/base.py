"""The base class of providers of secrets; users may write their own."""

from __future__ import annotations

from typing import Any, ClassVar

from buildbot.process.service import DeclaredService


class SecretProviderBase(DeclaredService):
    """A provider of secrets: a service with one method, `get`.

    Arguments are declared, or taken by `checkConfig` and `reconfigService`. Two providers of one class need names.
    """

    #: none: providers whose arguments are secrets could ask each other in a circle
    secrets: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if type(self).name is None:
            kwargs.setdefault("name", type(self).__name__)
        super().__init__(*args, **kwargs)

    def get(self, entry: str) -> Any:
        """The value of a secret; None if the provider does not have it. Called each time that the secret is used.

        It may return a Deferred or be a coroutine. Its exception becomes an error of the step or service that needs the
        secret, so the message must not have the value.
        """
        raise NotImplementedError(f"{type(self).__name__} has no get()")
