"""The writing end when something goes wrong, or no thread can be had."""

from __future__ import annotations

import errno
import io
import os
import threading
import time

import pytest

from zllm.archive.options import WriteOptions
from zllm.archive.writer import Writer

SECTION = 33 << 20
"""Bytes that are more than a section."""


class Full(io.RawIOBase):
    """A disk with room for so many writes."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.failed = threading.Event()

    def write(self, data: object, /) -> int:
        if not self.room:
            self.failed.set()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= 1
        return len(data)  # type: ignore[arg-type]


def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


def test_a_full_disk_is_noticed_at_once() -> None:
    """Not when the next section is due."""
    out = Full(1)
    sink = Writer(out, WriteOptions(level=1))
    sink.write(bytes(SECTION))
    assert out.failed.wait(60)
    with pytest.raises(OSError, match="No space left"):
        for _ in range(1000):
            sink.write(b"one byte more")
            time.sleep(0.01)
    assert sink.failed
    started = time.monotonic()
    sink.abort()
    assert time.monotonic() - started < 30  # it waits for nothing


def test_a_full_disk_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    no_threads(monkeypatch)
    sink = Writer(Full(1), WriteOptions(level=1))
    with pytest.raises(OSError, match="No space left"):
        sink.write(bytes(SECTION))
    started = time.monotonic()
    sink.abort()
    assert time.monotonic() - started < 30  # it waits for nothing


@pytest.mark.parametrize("level", [1, 2])
def test_sections_without_threads(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(1 << 20) * 33

    def archive() -> bytes:
        out = io.BytesIO()
        sink = Writer(out, WriteOptions(level=level, threads=3))
        sink.write(data)
        sink.close()
        return out.getvalue()

    expected = archive()
    no_threads(monkeypatch)
    assert archive() == expected
