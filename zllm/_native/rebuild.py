"""Streams of deflate, taken apart and made again, by C (``docs/media.md``)."""

from __future__ import annotations

from zllm._native.core import RoomError, checked, ffi, lib
from zllm._native.watching import Cancel, watched
from zllm.errors import DamagedError

NO_HINT = b"\xff\xff"
_FREE_RECIPE = 64


def deflate_find(
    coded: bytes | memoryview,
    data: bytes | memoryview,
    *,
    window: int = 15,
    hint: bytes = NO_HINT,
    share: int = 8,
    cancel: Cancel | None = None,
) -> bytes | None:
    """The recipe by which ``coded``, a stream of deflate, is made again of ``data``, which it unpacks to.

    Args:
        window: log2 of the encoder's window.
        hint: the first two bytes of the recipe of a stream by the same program.
        share: of the stream's bytes, one of so many the recipe may have, and 64 more.

    Returns:
        None if there is no such recipe.
    """
    room = len(coded) // share + _FREE_RECIPE
    out, size = ffi.new("uint8_t[]", room), ffi.new("size_t *", room)
    flag, _ = watched(cancel, None)
    with ffi.from_buffer("uint8_t[]", coded) as stream, ffi.from_buffer("uint8_t[]", data) as unpacked:
        rc = lib.zllm_deflate_find(stream, len(coded), unpacked, len(data), window, hint, out, size, flag, ffi.NULL)
    try:
        checked(rc)
    except (RoomError, DamagedError):
        return None
    return bytes(ffi.buffer(out, size[0]))


def png_unfilter(filtered: bytes | memoryview, rows: int, row: int, pixel: int) -> tuple[bytes, bytes] | None:
    """Filters and pixels of ``rows`` rows of ``row`` bytes and a filter each; None if there is no such filter.

    Args:
        filtered: the rows.
        rows: how many there are.
        row: bytes of one, the filter apart.
        pixel: bytes between a byte and its left neighbour.
    """
    filters, pixels = ffi.new("uint8_t[]", max(1, rows)), ffi.new("uint8_t[]", max(1, rows * row))
    with ffi.from_buffer("uint8_t[]", filtered) as view:
        rc = lib.zllm_png_unfilter(view, rows, row, pixel, filters, pixels)
    try:
        checked(rc)
    except DamagedError:
        return None
    return bytes(ffi.buffer(filters, rows)), bytes(ffi.buffer(pixels, rows * row))


def rebuild_join(
    plan: bytes | memoryview, unpacked: bytes | memoryview, size: int, *, cancel: Cancel | None = None
) -> bytes:
    """The ``size`` bytes that a plan makes of unpacked ones.

    Raises:
        DamagedError: it makes others.
        KeyboardInterrupt: ``cancel`` was set.
    """
    out = ffi.new("uint8_t[]", max(1, size))
    flag, _ = watched(cancel, None)
    with ffi.from_buffer("uint8_t[]", plan) as steps, ffi.from_buffer("uint8_t[]", unpacked) as data:
        checked(lib.zllm_rebuild_join(steps, len(plan), data, len(unpacked), out, size, flag, ffi.NULL))
    return bytes(ffi.buffer(out, size))


def rebuild_memory(size: int, unpacked: int) -> int:
    """Bytes of memory that :func:`rebuild_join` takes, its arguments and result apart."""
    return int(lib.zllm_rebuild_memory(size, unpacked))
