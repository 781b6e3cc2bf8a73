"""The writing end: members and streams, what happens when something goes wrong, or no thread can be had."""

from __future__ import annotations

import errno
import io
import os
import random
import tarfile
import threading
import time

import pytest

import zllm
from zllm.archive.options import WriteOptions
from zllm.archive.writer import Writer
from zllm.errors import UsageError
from zllm.format.headerunits import Plain

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


class Data(io.BytesIO):
    """A source that gives a few bytes at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 1000))


def headers(**fields: object) -> Plain:
    info = zllm.ZllmInfo("name")
    for field, value in fields.items():
        setattr(info, field, value)
    return info.headers(info.get_info(), "utf-8")


MEMBERS = [
    headers(), headers(size=5000, mtime=5.5), headers(size=512, name="long/" * 40 + "name"),
    headers(name="folder/", type=tarfile.DIRTYPE), headers(mtime=1 << 33), headers(size=3, pax_headers={"a=b": "c"}),
    headers(type=b"S", size=700), headers(uid=1 << 30, uname="ü" * 20),
    headers(type=tarfile.SYMTYPE, linkname="l" * 150),
]  # fmt: skip


def test_members_are_the_stream_that_they_would_be() -> None:
    """Whether headers go straight into columns or their bytes are written, the archive is the same."""
    direct, stream = io.BytesIO(), io.BytesIO()
    one, other = (Writer(out, WriteOptions(level=5, threads=1)) for out in (direct, stream))
    for member in MEMBERS:
        data = random.Random(member.size).randbytes(member.data_size)
        written = one.add(member, Data(data))
        padded = member.build() + data + bytes(-len(data) % 512)
        other.write(padded)
        assert written == len(padded)
    for writer in (one, other):
        writer.write(bytes(1024))
        writer.close()
    assert direct.getvalue() == stream.getvalue()
    assert one.tell() == other.tell()


def test_a_member_behind_half_a_header() -> None:
    """A global header waits for the member that follows it."""
    out = io.BytesIO()
    writer = Writer(out, WriteOptions(level=1))
    writer.write(tarfile.TarInfo.create_pax_global_header({"comment": "of all"}))
    writer.add(headers(size=3), io.BytesIO(b"abc"))
    writer.close()
    with zllm.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        (member,) = archive.getmembers()
        assert (member.name, member.pax_headers) == ("name", {"comment": "of all"})


def test_a_source_that_ends_too_early() -> None:
    writer = Writer(io.BytesIO(), WriteOptions(level=1))
    with pytest.raises(EOFError, match="name: 2 bytes of its data are missing"):
        writer.add(headers(size=5), io.BytesIO(b"abc"))
    assert writer.failed
    writer.abort()
    with pytest.raises(UsageError, match="closed"):
        writer.add(headers())
