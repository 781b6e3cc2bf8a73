"""Codec 9: JPEG files as JPEG XL (ISO/IEC 18181-2, reconstruction of JPEG bitstreams), by libjxl; an extra.

Payload::

    u8 version
    varint parts; for each: varint 2 * bytes of data, 1 more if it was a JPEG file, then varint bytes of JPEG XL
    the parts, one behind the other: JPEG XL, or the data as it is

What the library makes of a file is unpacked again before it is kept.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

from zllm.codecs.base import Buffer, Codec, Cost
from zllm.errors import DamagedError, UnsupportedVersionError
from zllm.format.category import Category
from zllm.format.payloads import MAX_DATA
from zllm.format.wire import Reader, varints

_WHAT = "a frame of JPEG files"
_VERSION = 1
_START = b"\xff\xd8\xff"
_LEAST = 256
"""Bytes of a file that is worth trying."""
_FREE_PIXELS, _PIXELS_OF_BYTE, _MOST_PIXELS = 1 << 16, 1 << 10, 1 << 28
"""Pixels that a JPEG file of some size may have: the library would ask for memory for as many as a payload states."""
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIZES = (9, 13, 18, 30)


@functools.cache
def _library() -> Any:
    return importlib.import_module("imagecodecs")


class JpegCodec(Codec):
    """JPEG files without loss, about a fifth smaller."""

    name: ClassVar[str] = "jpeg"
    id: ClassVar[int] = 9
    extra: ClassVar[tuple[str, str]] = ("imagecodecs", "media")
    categories: ClassVar[frozenset[Category]] = frozenset({Category.COMPRESSED})
    cost: ClassVar[Cost] = Cost(encode=410, decode=200)
    whole: ClassVar[bool] = True

    def encoder_memory(self, size: int) -> int:
        """See :meth:`Codec.encoder_memory`: coefficients, of which a file has some per byte."""
        return 40 * size

    def decoder_memory(self, size: int) -> int:
        """See :meth:`Codec.decoder_memory`."""
        return 40 * size

    def recognises(self, data: Buffer, boundaries: Sequence[int] = ()) -> bool:
        """See :meth:`Codec.recognises`: whether JPEG files are most of the data."""
        found = sum(len(part) for part in _parts(memoryview(data), boundaries) if _is_jpeg(part))
        return 2 * found > len(data)

    def encode(self, data: Buffer, boundaries: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.encode`."""
        if not len(data):
            return b""
        head, kept = [], []
        for part in _parts(memoryview(data), boundaries):
            packed = _packed(bytes(part)) if _is_jpeg(part) else None
            head += [2 * len(part)] if packed is None else [2 * len(part) + 1, len(packed)]
            kept.append(bytes(part) if packed is None else packed)
        return b"".join([bytes([_VERSION]), varints([len(kept), *head]), *kept])

    def decode(self, payload: Buffer, size: int, boundaries: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.decode`."""
        if not size and not len(payload):
            return b""
        if size > MAX_DATA or not len(payload):
            raise DamagedError(f"{_WHAT} is damaged: {len(payload)} bytes claim to be {size}")
        reader = Reader(bytes(payload), _WHAT)
        version = reader.byte()
        if version != _VERSION:
            raise UnsupportedVersionError(f"{_WHAT} has version {version}, this program has {_VERSION}")
        table = []
        for _ in range(reader.varint(len(payload))):
            number = reader.varint(2 * size + 1)
            table.append((number >> 1, reader.varint(len(payload)) if number & 1 else None))
        if sum(length for length, _ in table) != size:
            raise DamagedError(f"{_WHAT} is damaged: its parts are not {size} bytes")
        parts = [
            reader.take(length) if taken is None else _unpacked(reader.take(taken), length) for length, taken in table
        ]
        reader.end()
        return b"".join(parts)


def _parts(data: memoryview, boundaries: Sequence[int]) -> list[memoryview]:
    return [data[start:stop] for start, stop in pairwise([0, *boundaries, len(data)])]


def _is_jpeg(data: memoryview) -> bool:
    return len(data) >= _LEAST and bytes(data[:3]) == _START


def _packed(data: bytes) -> bytes | None:
    """None: the library does not take it, or it gains nothing, or does not give it back."""
    library = _library()
    try:
        packed = bytes(library.jpegxl_encode_jpeg(data, numthreads=1))
        same = len(packed) < len(data) and _fits(packed, len(data))
        return packed if same and library.jpegxl_decode_jpeg(packed, numthreads=1) == data else None
    except (library.JpegxlError, ValueError):
        return None


def _unpacked(packed: bytes, size: int) -> bytes:
    library = _library()
    if not size or not _fits(packed, size):
        raise DamagedError(f"{_WHAT} is damaged: no picture of {size} bytes is so large")
    try:
        data = bytes(library.jpegxl_decode_jpeg(packed, numthreads=1, out=bytearray(size)))
    except (library.JpegxlError, ValueError, MemoryError) as exc:
        raise DamagedError(f"{_WHAT} is damaged: {exc}") from None
    if len(data) != size:
        raise DamagedError(f"{_WHAT} is damaged: it unpacks to {len(data)} bytes instead of {size}")
    return data


def _fits(packed: bytes, size: int) -> bool:
    """Whether the picture has no more pixels than a JPEG file of ``size`` bytes may have."""
    pixels = _pixels(packed)
    return pixels is not None and pixels <= min(_MOST_PIXELS, _FREE_PIXELS + _PIXELS_OF_BYTE * size)


def _pixels(packed: bytes) -> int | None:
    """Pixels by the header of the codestream, in the first box that has any of it (ISO/IEC 18181-1 and -2)."""
    at = 0
    while at + 8 <= len(packed):
        length, kind = int.from_bytes(packed[at : at + 4], "big"), packed[at + 4 : at + 8]
        if kind in (b"jxlc", b"jxlp"):
            code = packed[at + (12 if kind == b"jxlp" else 8) :][:18]
            return _area(int.from_bytes(code[2:], "little")) if code[:2] == b"\xff\x0a" else None
        if length < 8:
            return None
        at += length
    return None


def _area(bits: int) -> int:
    """Of a SizeHeader, from the lowest bit on."""

    def take(count: int) -> int:
        nonlocal bits
        value = bits & (1 << count) - 1
        bits >>= count
        return value

    small = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if small else take(_SIZES[take(2)]) + 1

    height = side()
    ratio = take(3)
    if not ratio:
        return height * side()
    wide, high = _RATIOS[ratio - 1]
    return height * (height * wide // high)
