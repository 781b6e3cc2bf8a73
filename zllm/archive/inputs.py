"""Input files that change, shrink or fail while they are being archived."""

from __future__ import annotations

from typing import Protocol

from zllm.stats import Stats, measure


class Source(Protocol):
    """What has ``read``, as binary files do."""

    def read(self, count: int, /) -> bytes:
        """Up to ``count`` bytes, none only at the end."""


class Padded:
    """Gives exactly ``size`` bytes of a file: what the file does not have any more becomes zeros, as in GNU tar.

    The header with the size is written before the data is read, so there is no other way to keep an archive valid.
    """

    def __init__(self, file: Source, size: int, stats: Stats | None = None) -> None:
        self._file = file
        self._stats = stats
        self._left = size
        self.short = 0
        """Bytes that were missing."""
        self.error: OSError | None = None
        """Why, if reading failed."""

    def read(self, count: int = -1) -> bytes:
        """The next ``count`` bytes, fewer only at the end of ``size`` bytes."""
        count = self._left if count < 0 else min(count, self._left)
        data = b"" if self.short else self._some(count)
        self.short += count - len(data)
        self._left -= count
        return data if len(data) == count else data + bytes(count - len(data))

    def _some(self, count: int) -> bytes:
        parts: list[bytes] = []
        left = count
        try:
            with measure(self._stats, "reading", count):
                while left and (part := self._file.read(left)):
                    parts.append(part)
                    left -= len(part)
        except OSError as exc:
            self.error = exc
        return b"".join(parts)

    def problem(self) -> str:
        """What went wrong, or nothing."""
        if self.error is not None:
            return f"{self.error.strerror or self.error}: the rest is stored as zeros"
        if self.short:
            return f"it shrank while it was read: {self.short} bytes are stored as zeros"
        return ""
