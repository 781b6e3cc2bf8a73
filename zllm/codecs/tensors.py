"""Codec 7: numbers of some bytes each, a plane of each byte, and each plane by what suits it: stored, or a zstd frame.

What repeats in floating-point numbers is in their exponents, which stand in one byte of each number, or nearly: numbers
of type bfloat16 and float32 are turned by one bit first, so that the exponent fills a byte and the sign joins the
mantissa.
Exponents of trained weights have 2 to 3 bits of information, mantissas all of theirs.

Payload::

    u8 bytes of a number, 1 to 8; 16 more if numbers are turned
    varint bytes before the first number
    for each plane, the highest first: varint bytes of its zstd frame, or 0 if it is stored
    the planes; then the bytes before the first number and behind the last, as they are
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from zllm.codecs.base import Buffer, Codec, Cost
from zllm.errors import DamagedError
from zllm.format import payloads
from zllm.format.category import Category
from zllm.format.wire import Reader, varints

_WHAT = "a frame of tensors"
_TURNED = 16
_FORMS = ((2, True), (4, True), (2, False), (4, False), (8, False))
"""(bytes of a number, whether it is turned) that are tried."""
_SAMPLE = 64 << 10
_LEVEL = 9
_LEAST = 1 << 10
"""Bytes whose frequencies say something."""
_CLEARLY = 0.95
_HALVES = bytes(n >> 1 for n in range(256))
_DOUBLES = bytes(n << 1 & 255 for n in range(256))
_TOP = bytes(n & 128 for n in range(256))
_BELOW = bytes(n & 127 for n in range(256))
_TOP_TO_LOWEST = bytes(n >> 7 for n in range(256))
_LOWEST_TO_TOP = bytes((n & 1) << 7 for n in range(256))


class TensorsCodec(Codec):
    """Planes of bytes, for floating-point numbers above all; 100 MB/s and more, both ways."""

    name: ClassVar[str] = "tensors"
    id: ClassVar[int] = 7
    categories: ClassVar[frozenset[Category]] = frozenset({Category.TENSOR, Category.BINARY, Category.COMPRESSED})
    cost: ClassVar[Cost] = Cost(encode=50, decode=20)

    def encoder_memory(self, size: int) -> int:
        """See :meth:`Codec.encoder_memory`: planes, and the numbers that they are joined by."""
        return 5 * size

    def decoder_memory(self, size: int) -> int:
        """See :meth:`Codec.decoder_memory`."""
        return 4 * size

    def recognises(self, data: Buffer, boundaries: Sequence[int] = ()) -> bool:
        """See :meth:`Codec.recognises`: whether planes have clearly less entropy than bytes have."""
        sample = _middle(memoryview(data))
        plain = _entropy(sample) * len(sample)
        return len(sample) >= _LEAST and min(_cost(sample, *form) for form in _FORMS) < _CLEARLY * plain

    def encode(self, data: Buffer, boundaries: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.encode`."""
        view = memoryview(data)
        if not view:
            return b""
        sample = _middle(view)
        size, turned = min(_FORMS, key=lambda form: _cost(sample, *form))
        start = _start(view, size)
        planes = _planes(bytes(view[start : len(view) - (len(view) - start) % size]), size, turned=turned)
        coded = [payloads.compress(plane, _LEVEL) if plane else b"" for plane in planes]
        lengths = [len(code) if len(code) < len(plane) else 0 for code, plane in zip(coded, planes, strict=True)]
        kept = [code if length else plane for code, length, plane in zip(coded, lengths, planes, strict=True)]
        rest = bytes(view[:start]) + bytes(view[len(view) - (len(view) - start) % size :])
        head = bytes([size + _TURNED * turned]) + varints([start, *lengths])
        return b"".join([head, *kept, rest])

    def decode(self, payload: Buffer, size: int, boundaries: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.decode`."""
        if not size and not len(payload):
            return b""
        if size > payloads.MAX_DATA:
            raise DamagedError(f"{_WHAT} is damaged: {size} bytes are more than one may have")
        reader = Reader(bytes(payload), _WHAT)
        form = reader.byte()
        width, turned = form & ~_TURNED, bool(form & _TURNED)
        if (width, turned) not in _FORMS or not size:
            raise DamagedError(f"{_WHAT} is damaged: numbers of kind {form}")
        start = reader.varint(size)
        count = (size - start) // width
        lengths = [reader.varint(count) for _ in range(width)]
        kept = [reader.take(length or count) for length in lengths]
        planes = [
            payloads.decompress(plane, count, _WHAT) if length else plane
            for length, plane in zip(lengths, kept, strict=True)
        ]
        before, behind = reader.take(start), reader.take(size - start - count * width)
        if reader.left:
            raise DamagedError(f"{_WHAT} is damaged: {reader.left} bytes too many")
        return before + _numbers(planes, turned=turned) + behind


def _middle(data: memoryview) -> bytes:
    """A sample whose first byte begins a number, if those of the data do at a multiple of 8."""
    return bytes(data[max(0, len(data) - _SAMPLE) // 2 & ~7 :][:_SAMPLE])


def _start(data: memoryview, size: int) -> int:
    """Bytes of a header before the numbers, at most those that do not fill one."""
    head = int.from_bytes(data[8:10], "little") + 10 if bytes(data[:6]) == b"\x93NUMPY" else 0
    if bytes(data[8:9]) == b"{":
        head = int.from_bytes(data[:8], "little") + 8
    return min(len(data), head % size)


def _entropy(data: bytes) -> float:
    """Bytes a byte, by frequencies alone."""
    total = len(data)
    return -sum(n / total * math.log2(n / total) for n in Counter(data).values()) / 8


def _cost(sample: bytes, size: int, turned: bool) -> float:
    """About how many bytes the planes of a sample take."""
    planes = _planes(sample[: len(sample) // size * size], size, turned=turned)
    return sum(len(plane) * _entropy(plane) for plane in planes)


def _join(high: bytes, low: bytes) -> bytes:
    """Bytes that have bits of one or the other."""
    return (int.from_bytes(high, "little") | int.from_bytes(low, "little")).to_bytes(len(high), "little")


def _planes(data: bytes, size: int, *, turned: bool) -> list[bytes]:
    """Of little-endian numbers, the highest byte's first."""
    planes = [data[size - 1 - k :: size] for k in range(size)]
    if turned:  # sign, exponent, mantissa become exponent, sign, mantissa
        top, next_ = planes[0], planes[1]
        planes[0] = _join(top.translate(_DOUBLES), next_.translate(_TOP_TO_LOWEST))
        planes[1] = _join(top.translate(_TOP), next_.translate(_BELOW))
    return planes


def _numbers(planes: list[bytes], *, turned: bool) -> bytes:
    """The inverse of :func:`_planes`."""
    planes = list(planes)
    if turned:
        exponent, rest = planes[0], planes[1]
        planes[0] = _join(rest.translate(_TOP), exponent.translate(_HALVES))
        planes[1] = _join(exponent.translate(_LOWEST_TO_TOP), rest.translate(_BELOW))
    out = bytearray(len(planes) * len(planes[0]))
    for k, plane in enumerate(planes):
        out[len(planes) - 1 - k :: len(planes)] = plane
    return bytes(out)
