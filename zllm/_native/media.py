"""Audio samples and pixels, by C; what they are is said by the caller, as runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from zllm._native.core import RoomError, checked, ffi, lib
from zllm._native.watching import Cancel, Counter, watched

_WORST = 24
"""Bytes of code a byte of data, at most: 8 decisions of 24 bits."""
_FRONT = 64
"""Bytes before the code string, and for each run at most."""


class PcmRun(NamedTuple):
    """``frames`` times one sample of each channel, after ``raw`` other bytes; see ``zllm_pcm_run`` in ``zllm.h``."""

    raw: int
    frames: int
    width: int
    channels: int
    shift: int = 0
    big: bool = False
    centred: bool = False

    @property
    def frame(self) -> int:
        """Bytes of one sample of each channel."""
        return self.width * self.channels


def pcm_measure(data: bytes | bytearray | memoryview) -> PcmRun | None:
    """The samples that fill ``data`` but for the bytes before the first whole one; None if there are none."""
    out = ffi.new("zllm_pcm_run *")
    with ffi.from_buffer("uint8_t[]", data) as view:
        lib.zllm_pcm_measure(view, len(data), out)
    if not out.count:
        return None
    return PcmRun(out.raw, out.count, out.width, out.channels, out.shift, bool(out.big), bool(out.centred))


def pcm_memory(*, fast: bool) -> int:
    """Bytes of memory that coding a frame takes, its data and payload apart."""
    return int(lib.zllm_pcm_memory(fast))


def pcm_encode(
    data: bytes | bytearray | memoryview,
    runs: Sequence[PcmRun],
    *,
    fast: bool = False,
    cancel: Cancel | None = None,
    counter: Counter | None = None,
) -> bytes:
    """The payload of codec pcm.

    Raises:
        UsageError: the runs do not fit the data.
        KeyboardInterrupt: ``cancel`` was set.
    """
    given = ffi.new("zllm_pcm_run[]", [tuple(run) for run in runs])

    def call(view: Any, out: Any, size: Any, *watching: Any) -> int:
        return int(lib.zllm_pcm_encode(view, len(data), given, len(runs), fast, out, size, *watching, ffi.NULL))

    return _encoded(call, data, len(runs), cancel, counter)


def pcm_decode(
    coded: bytes | bytearray | memoryview, size: int, *, cancel: Cancel | None = None, counter: Counter | None = None
) -> bytes:
    """The ``size`` bytes that :func:`pcm_encode` was given; of a damaged code string, others.

    Raises:
        DamagedError: what stands before the code string does not fit so many bytes.
        KeyboardInterrupt: ``cancel`` was set.
    """
    return _decoded(lib.zllm_pcm_decode, coded, size, cancel, counter)


class ImageRun(NamedTuple):
    """``rows`` rows of pixels, after ``raw`` other bytes; see ``zllm_image_run`` in ``zllm.h``."""

    raw: int
    rows: int
    columns: int
    planes: int
    width: int = 1
    big: bool = False
    padding: int = 0

    @property
    def row(self) -> int:
        """Bytes of a row and its padding."""
        return self.columns * self.planes * self.width + self.padding


def image_measure(data: bytes | bytearray | memoryview) -> ImageRun | None:
    """The rows that fill ``data``, of a length that it tells, but for bytes at the ends; None if there are none."""
    out = ffi.new("zllm_image_run *")
    with ffi.from_buffer("uint8_t[]", data) as view:
        lib.zllm_image_measure(view, len(data), out)
    if not out.rows:
        return None
    return ImageRun(out.raw, out.rows, out.columns, out.planes, out.width, bool(out.big), out.padding)


def image_memory(size: int) -> int:
    """Bytes of memory that coding a frame of ``size`` bytes takes, its data and payload apart."""
    return int(lib.zllm_image_memory(size))


def image_encode(
    data: bytes | bytearray | memoryview,
    runs: Sequence[ImageRun],
    *,
    cancel: Cancel | None = None,
    counter: Counter | None = None,
) -> bytes:
    """The payload of codec image. It raises the same as :func:`pcm_encode`."""
    given = ffi.new("zllm_image_run[]", [tuple(run) for run in runs])

    def call(view: Any, out: Any, size: Any, *watching: Any) -> int:
        return int(lib.zllm_image_encode(view, len(data), given, len(runs), out, size, *watching, ffi.NULL))

    return _encoded(call, data, len(runs), cancel, counter)


def image_decode(
    coded: bytes | bytearray | memoryview, size: int, *, cancel: Cancel | None = None, counter: Counter | None = None
) -> bytes:
    """The ``size`` bytes that :func:`image_encode` was given. It raises the same as :func:`pcm_decode`."""
    return _decoded(lib.zllm_image_decode, coded, size, cancel, counter)


def _encoded(
    call: Callable[..., int],
    data: bytes | bytearray | memoryview,
    runs: int,
    cancel: Cancel | None,
    counter: Counter | None,
) -> bytes:
    """What ``call`` writes; where the usual room is not enough it is called again, with room for anything."""
    done = counter.value if counter else 0
    front = _FRONT * (runs + 1)
    try:
        return _once(call, data, len(data) + len(data) // 4 + front, cancel, counter)
    except RoomError:  # what is counted stays counted, and is not counted again
        coded = _once(call, data, _WORST * len(data) + front, cancel, None)
    if counter:
        counter._count[0] = done + len(data)
    return coded


def _once(
    call: Callable[..., int],
    data: bytes | bytearray | memoryview,
    room: int,
    cancel: Cancel | None,
    counter: Counter | None,
) -> bytes:
    out, size = ffi.new("uint8_t[]", room), ffi.new("size_t *", room)
    with ffi.from_buffer("uint8_t[]", data) as view:
        rc = call(view, out, size, *watched(cancel, counter))
    checked(rc)
    return bytes(ffi.buffer(out, size[0]))


def _decoded(
    call: Callable[..., int],
    coded: bytes | bytearray | memoryview,
    size: int,
    cancel: Cancel | None,
    counter: Counter | None,
) -> bytes:
    data = ffi.new("uint8_t[]", max(1, size))
    source = bytes(coded)
    checked(call(source, len(source), data, size, *watched(cancel, counter), ffi.NULL))
    return bytes(ffi.buffer(data, size))
