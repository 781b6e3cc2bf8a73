"""Memory that the encoders and decoders of the process share: those that do not fit wait, so that many threads, and
large frames, take no more than a few small ones. It changes when a frame is coded, and no byte of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

SHARED_BYTES = 96 << 20
"""zstd -19 takes 90 MB for a frame of 8 MiB or more, 37 for 2 MiB, cm 46 for 4 MiB. With so much, and two sections of
32 MiB in work, packing stays below 300 MB in all (``tests/test_memory.py``)."""


class Workspace:
    """A budget of ``size`` bytes."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Wait until ``size`` bytes are free, or no other frame is in work; take them for the block.

        A frame that needs more than the whole budget is so coded alone. Not to be called inside such a block.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + size <= self._size)
            self._used += size
        try:
            yield
        finally:
            with self._changed:
                self._used -= size
                self._changed.notify_all()


shared = Workspace(SHARED_BYTES)
