"""A frame of text in work, and its payload: repeats, sizes of streams, code string.

Payload::

    repeats, which are taken out of the text first (zllm/codecs/repeats.py)
    varint streams - 1
    per stream but the last: varint size in bytes of text
    the code string
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from zllm.codecs.base import Buffer
from zllm.codecs.repeats import Repeats, find, read
from zllm.codecs.varint import read_varint, varint
from zllm.errors import DamagedError
from zllm.format import limits

MAX_SIZE = 64 << 20
"""The container's limit for one frame: a few bytes may claim, and be, any amount of text."""


@dataclass
class Frame:
    """One frame of a batch."""

    number: int
    data: memoryview
    """Text, or code string."""
    size: int
    """Of the text without its repeats."""
    boundaries: Sequence[int]
    repeats: Repeats
    ends: list[int] = field(default_factory=list)
    """Decoding: where its streams end in the text."""
    header: bytes = b""
    """Encoding: what stands before the code string."""
    streams: int = 1
    """Encoding: how many it has."""
    result: bytes = b""


def size_of(unit: list[Frame]) -> int:
    """Bytes of their text without its repeats."""
    return sum(frame.size for frame in unit)


def header(repeats: Repeats, sizes: Sequence[int]) -> bytes:
    """What stands before the code string; ``sizes``: the streams', in bytes of text."""
    return repeats.to_bytes() + varint(len(sizes) - 1) + b"".join(map(varint, sizes[:-1]))


def take_apart(number: int, data: Buffer, boundaries: Sequence[int]) -> Frame:
    """A text as its repeats and what is left."""
    whole = memoryview(data)
    found = find(whole)
    left = found.take_out(whole)
    return Frame(number, left, len(left), found.move(boundaries, len(left)), found)


def _code_for(size: int, streams: int) -> int:
    """How long the code string of a text of so many bytes and streams is at least: readers refuse a shorter one, which
    would ask for memory or time out of proportion.
    """
    for_size = -(-(size - limits.FREE_MODEL_TEXT) // limits.MAX_MODEL_TEXT_RATIO)
    return max(0, for_size, (streams - limits.FREE_STREAMS) * limits.STREAM_CODE)


def long_enough(frame: Frame) -> bytes:
    """The code string, with zeros after it that change nothing if it is too short for readers."""
    return frame.result.ljust(_code_for(frame.size, frame.streams), b"\0") if frame.size else frame.result


def parse(number: int, payload: Buffer, size: int, boundaries: Sequence[int]) -> Frame:
    """A payload's streams and code string."""
    view = memoryview(payload)
    if size == 0:
        return Frame(number, view, 0, boundaries, Repeats())
    if size > MAX_SIZE:
        raise DamagedError(f"damaged text frame: {size} bytes are more than one may have")
    found, at = read(view, 0, size)
    left = size - found.size
    count, at = read_varint(view, at)
    if count >= min(left, limits.MAX_STREAMS):
        raise DamagedError("damaged text frame: too many streams")
    ends, end = [], 0
    for _ in range(count):
        length, at = read_varint(view, at)
        end += length
        ends.append(end)
        if not length or end >= left:
            raise DamagedError("damaged text frame: its streams do not fit it")
    if len(view) - at < _code_for(left, count + 1):
        raise DamagedError(f"damaged text frame: {len(view) - at} bytes claim to be {left} in {count + 1} streams")
    return Frame(number, view[at:], left, found.move(boundaries, left), found, [*ends, left])
