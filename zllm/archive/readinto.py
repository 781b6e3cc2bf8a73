"""``readinto`` for files that have ``read``."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class ReadInto:
    """A base of file classes whose :meth:`read` is the one way to their bytes."""

    @abstractmethod
    def read(self, size: int = -1, /) -> bytes:
        """The next ``size`` bytes, fewer only at the end."""

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer``; fewer bytes only at the end."""
        target = memoryview(buffer).cast("B")
        data = self.read(len(target))
        target[: len(data)] = data
        return len(data)
