"""The base class of providers of secrets, also of users' own."""

from __future__ import annotations

from typing import Any, ClassVar

from buildbot.process.service import DeclaredService


class SecretProviderBase(DeclaredService):
    """A provider of secrets: a service with one method, `get`.

    Arguments are declared, or taken by `checkConfig` and `reconfigService`. Two providers of one class need names.
    """

    #: providers of other providers' secrets would ask in circles
    secrets: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if type(self).name is None:
            kwargs.setdefault("name", type(self).__name__)
        super().__init__(*args, **kwargs)

    def get(self, entry: str) -> Any:
        """The value of a secret, asked for each time that it is used; None if the provider does not have it.

        May return a Deferred or coroutine. Its exception becomes an error of the step or service that needs the secret,
        so it must not say the value.
        """
        raise NotImplementedError(f"{type(self).__name__} has no get()")
