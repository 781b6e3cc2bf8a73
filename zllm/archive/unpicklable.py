"""Objects that hold files, threads or memory of the C core say that they cannot be pickled or copied."""

from __future__ import annotations

from typing import Any, SupportsIndex


class Unpicklable:
    """A base of their classes."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Neither pickle nor copy it.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"cannot pickle or copy {type(self).__name__!r} object")
