"""Where time and bytes go. Nothing is measured unless a :class:`Stats` is handed down to the code that works."""

from __future__ import annotations

import threading
import time
from types import TracebackType

HEADERS = "headers, index"
"""Name of the row for all bytes that are not in frames, in the table by codec."""


EMBEDDED = "embedded model"
"""Name of the row for a model that is inside the archive, in the table by codec."""


class Row:
    """Seconds by the clock, added up over threads, and bytes that went in and came out."""

    __slots__ = ("bytes_in", "bytes_out", "count", "seconds")

    def __init__(self) -> None:
        self.count = self.bytes_in = self.bytes_out = 0
        self.seconds = 0.0


class Stage:
    """A timer for a piece of work; ``bytes_out`` may be set before it ends. A no-op when ``stats`` is None."""

    __slots__ = ("_began", "_name", "_stats", "bytes_in", "bytes_out")

    def __init__(self, stats: Stats | None, name: str, bytes_in: int) -> None:
        self._stats = stats
        self._name = name
        self._began = 0.0
        self.bytes_in = bytes_in
        self.bytes_out = 0

    def __enter__(self) -> Stage:
        if self._stats is not None:
            self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stats is not None:
            seconds = time.perf_counter() - self._began
            self._stats.add(self._name, seconds, self.bytes_in, self.bytes_out)


class Stats:
    """Rows by stage, and rows by codec of what is in the archive. Any thread may add.

    A stage named ``a/b`` is a part of the stage ``a``, and its time is in that of ``a`` already.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.began = time.perf_counter()
        self.stages: dict[str, Row] = {}
        self.codecs: dict[str, Row] = {}

    def stage(self, name: str, bytes_in: int = 0) -> Stage:
        """A timer for the block that it is used for with ``with``."""
        return Stage(self, name, bytes_in)

    def add(self, name: str, seconds: float, bytes_in: int = 0, bytes_out: int = 0) -> None:
        """Add work of a stage that was measured by other means: seconds by the clock, bytes in and out."""
        self._add(self.stages, name, seconds, bytes_in, bytes_out)

    def stored(self, codec: str, size: int, coded: int) -> None:
        """Add ``size`` bytes of data that take ``coded`` bytes in the archive."""
        self._add(self.codecs, codec, 0.0, size, coded)

    @property
    def seconds(self) -> float:
        """Seconds of all stages together."""
        return sum(row.seconds for name, row in self.stages.items() if "/" not in name)

    def _add(self, rows: dict[str, Row], name: str, seconds: float, bytes_in: int, bytes_out: int) -> None:
        with self._lock:
            row = rows.setdefault(name, Row())
            row.count += 1
            row.seconds += seconds
            row.bytes_in += bytes_in
            row.bytes_out += bytes_out


def measure(stats: Stats | None, name: str, bytes_in: int = 0) -> Stage:
    """A timer for the stage ``name``; a no-op when ``stats`` is None."""
    return _IDLE if stats is None else Stage(stats, name, bytes_in)


_IDLE = Stage(None, "", 0)
