"""Text without a model, by the adaptive predictor alone; and its repeats, which are taken out before."""

from __future__ import annotations

from collections.abc import Sequence

from zllm._native.core import RoomError, checked, ffi, lib, usual_room
from zllm._native.kernels import demanded
from zllm._native.watching import Cancel, Counter, watched

CM_WORST = 24
"""Bytes of code a byte of text, at most: 8 decisions of 24 bits."""


def repeats(data: bytes | bytearray | memoryview, least: int) -> list[tuple[int, int, int]]:
    """(offset, length, distance) of parts of ``data``, at least ``least`` bytes long, that stand earlier in it as well;
    ascending, and apart from each other."""
    room = len(data) // least + 1
    out, count = ffi.new("zllm_repeat[]", room), ffi.new("size_t *", room)
    checked(lib.zllm_repeats(ffi.from_buffer("uint8_t[]", data), len(data), least, out, count, ffi.NULL))
    return [(int(r.at), int(r.length), int(r.distance)) for r in out[0 : count[0]]]


def cm_encode(
    data: bytes | bytearray | memoryview,
    boundaries: Sequence[int] = (),
    *,
    cancel: Cancel | None = None,
    counter: Counter | None = None,
    kernel: str | None = None,
) -> bytes:
    """Text by the adaptive predictor alone; a new document starts at each of the ascending offsets ``boundaries``.

    Raises:
        KernelError: the kernel that ``kernel`` or ``ZLLM_KERNEL`` demands cannot be had.
        KeyboardInterrupt: ``cancel`` was set.
    """
    done = counter.value if counter else 0
    try:
        return _cm_encode(data, boundaries, usual_room(len(data)), cancel, counter, kernel=kernel)
    except RoomError:  # what is counted stays counted, and is not counted again
        coded = _cm_encode(data, boundaries, CM_WORST * len(data) + 16, cancel, None, kernel=kernel)
    if counter:
        counter._count[0] = done + len(data)
    return coded


def _cm_encode(
    data: bytes | bytearray | memoryview,
    boundaries: Sequence[int],
    room: int,
    cancel: Cancel | None,
    counter: Counter | None,
    *,
    kernel: str | None,
) -> bytes:
    name, watching = demanded(kernel), watched(cancel, counter)
    out, size = ffi.new("uint8_t[]", room), ffi.new("size_t *", room)
    # Given back at once, even on an error, whose traceback would keep it: see Model.decoder for what comes of that.
    with ffi.from_buffer("uint8_t[]", data) as text:
        rc = lib.zllm_cm_encode(
            text, len(data), list(boundaries), len(boundaries), out, size, *watching, name, ffi.NULL
        )
    checked(rc)
    return bytes(ffi.buffer(out, size[0]))


def cm_decode(
    coded: bytes | bytearray | memoryview,
    size: int,
    boundaries: Sequence[int] = (),
    *,
    cancel: Cancel | None = None,
    counter: Counter | None = None,
    kernel: str | None = None,
) -> bytes:
    """The ``size`` bytes that :func:`cm_encode` was given; of damaged data, something else. It raises the same."""
    name, watching = demanded(kernel), watched(cancel, counter)
    data = ffi.new("uint8_t[]", max(1, size))
    source = bytes(coded)
    rc = lib.zllm_cm_decode(
        source, len(source), data, size, list(boundaries), len(boundaries), *watching, name, ffi.NULL
    )
    checked(rc)
    return bytes(ffi.buffer(data, size))
