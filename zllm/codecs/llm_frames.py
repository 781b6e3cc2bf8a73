"""A frame of text in work; :mod:`zllm.format.payloads` has the bytes of its payload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from zllm.codecs.base import Buffer
from zllm.codecs.repeats import Repeats, find
from zllm.format import payloads


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
    return payloads.pack_text_front(repeats.found, sizes)


def take_apart(number: int, data: Buffer, boundaries: Sequence[int]) -> Frame:
    """A text as its repeats and what is left."""
    whole = memoryview(data)
    found = find(whole)
    left = found.take_out(whole)
    return Frame(number, left, len(left), found.move(boundaries, len(left)), found)


def long_enough(frame: Frame) -> bytes:
    """The code string, with zeros after it that change nothing if it is too short for readers."""
    return (
        frame.result.ljust(payloads.least_text_code(frame.size, frame.streams), b"\0") if frame.size else frame.result
    )


def parse(number: int, payload: Buffer, size: int, boundaries: Sequence[int]) -> Frame:
    """A payload's streams and code string."""
    view = memoryview(payload)
    if size == 0:
        return Frame(number, view, 0, boundaries, Repeats())
    found = payloads.read_text(view, size)
    repeats, left = Repeats(found.repeats), found.ends[-1]
    return Frame(number, found.code, left, repeats.move(boundaries, left), repeats, found.ends)
