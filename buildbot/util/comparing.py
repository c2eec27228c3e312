"""A mixin for classes of plugins whose objects are compared by some attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

_ABSENT = object()


class ComparableMixin:
    """Objects of one class are equal if the attributes in `compare_attrs` of the class and its bases are equal."""

    compare_attrs: ClassVar[Sequence[str]] = ()

    def __compared(self) -> list[Any]:
        names = dict.fromkeys(
            name for cls in type(self).__mro__ for name in vars(cls).get("compare_attrs", ()) if isinstance(name, str)
        )
        return [getattr(self, name, _ABSENT) for name in names]

    def __eq__(self, other: object) -> bool:
        return (
            type(self) is type(other) and isinstance(other, ComparableMixin) and self.__compared() == other.__compared()
        )

    def __hash__(self) -> int:
        return hash(type(self))
