"""The index: one row per section, so that a reader can go anywhere, and the manifest."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any

from zllm.errors import DamagedError
from zllm.format import limits, section
from zllm.format.columns import deflate, inflate
from zllm.format.section import ModelRef, SectionHeader
from zllm.format.wire import Reader, put_varint

MAGIC = b"\xb5ZLI"
FRONT_SIZE = len(MAGIC) + 5
"""Bytes that tell the length of an index block (:func:`size_of`)."""
REPEATED_FROM = 64 << 10
"""Sections with so many bytes of frames have their header in the index once more: if the first one is damaged, nothing
is lost. For a smaller section it would be a tenth of a percent and more."""
_WHAT = "the index"
_LEAST_ROW = 3
_BRACKETS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{}]', re.DOTALL)  # strings are passed over


@dataclass(frozen=True)
class SectionRow:
    """``offset`` is the section header's place in the file, ``header_size`` its length; ``members`` of the section."""

    offset: int
    header_size: int
    members: int
    header: SectionHeader


@dataclass(frozen=True)
class Entry:
    """What the index has of a row; without a header, that stands at ``offset`` only, and ``header_size`` is 0."""

    offset: int
    members: int
    header_size: int = 0
    header: SectionHeader | None = None


@dataclass
class Index:
    """``manifest`` is what the JSON says (see ``docs/zllm-format.md``)."""

    entries: list[Entry]
    manifest: dict[str, Any] = field(default_factory=dict)


def pack(rows: list[SectionRow], manifest: dict[str, Any]) -> bytes:
    """Magic, length, models, the deflated rows and manifest."""
    models: dict[ModelRef, int] = {}
    text = bytearray()
    put_varint(text, len(rows))
    for row in rows:
        repeated = row.header.frames_size >= REPEATED_FROM
        put_varint(text, row.offset)
        put_varint(text, row.members)
        put_varint(text, row.header_size if repeated else 0)
        if repeated:
            text += section.pack_fields(row.header)
            put_varint(text, len(row.header.models))
            for model in row.header.models:
                put_varint(text, models.setdefault(model, len(models)))
    text += json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    body = bytearray()
    put_varint(body, len(models))
    for model in models:
        section.pack_model(body, model)
    put_varint(body, len(text))
    body += deflate(bytes(text))
    front = bytearray(MAGIC)
    put_varint(front, len(body))
    return bytes(front + body)


def size_of(front: bytes) -> int:
    """Length of the whole block, from its first :data:`FRONT_SIZE` bytes.

    Raises:
        DamagedError: not an index, or beyond the limit.
    """
    if front[: len(MAGIC)] != MAGIC:
        raise DamagedError(f"{_WHAT} is damaged: it is not where it should be")
    reader = Reader(front[len(MAGIC) :], _WHAT)
    size = reader.varint(limits.MAX_INDEX)
    return len(MAGIC) + reader.pos + size


def unpack(block: bytes) -> Index:
    """The whole block, whose checksum in the footer holds.

    Raises:
        DamagedError: it contradicts itself or a limit.
    """
    models, size, outer = _front(block)
    reader = Reader(inflate(outer.rest(), size, _WHAT), _WHAT)
    entries: list[Entry] = []
    for _ in range(reader.varint(reader.left // _LEAST_ROW)):
        entries.append(_entry(reader, models))
        if len(entries) > 1 and entries[-1].offset <= entries[-2].offset:
            raise DamagedError(f"{_WHAT} is damaged: its sections are not in order")
    return Index(entries, _manifest(reader.rest()))


def text_size(block: bytes) -> int:
    """How many bytes :func:`unpack` would unpack, as the block says.

    Raises:
        DamagedError: the block is damaged before it says so, or claims more than its limit.
    """
    return _front(block)[1]


def _front(block: bytes) -> tuple[list[ModelRef], int, Reader]:
    """The models, the length of the text, and what has the deflated text left to read."""
    if size_of(block[:FRONT_SIZE]) != len(block):
        raise DamagedError(f"{_WHAT} is damaged: its length is wrong")
    reader = Reader(block[len(MAGIC) :], _WHAT)
    reader.varint()
    models = [section.read_model(reader) for _ in range(reader.varint(reader.left))]
    size = reader.varint(min(limits.MAX_INDEX, limits.FREE_INDEX + limits.MAX_INDEX_RATIO * len(block)))
    return models, size, reader


def _manifest(text: bytes) -> dict[str, Any]:
    """The JSON, of which every object costs memory that its two bytes do not tell of."""
    if len(text) > limits.MAX_MANIFEST:
        raise DamagedError(f"{_WHAT} is damaged: a manifest of {len(text)} bytes, {limits.MAX_MANIFEST} at most")
    depth = deepest = 0
    for bracket in _BRACKETS.findall(text):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(bracket, 0)
        deepest = max(deepest, depth)
    if deepest > limits.MAX_DEPTH:
        raise DamagedError(f"{_WHAT} is damaged: its manifest has {deepest} levels, {limits.MAX_DEPTH} at most")
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        raise DamagedError(f"{_WHAT} is damaged: its manifest is not JSON") from None
    if not isinstance(manifest, dict):
        raise DamagedError(f"{_WHAT} is damaged: its manifest is not an object")
    return manifest


def _entry(reader: Reader, models: list[ModelRef]) -> Entry:
    offset, members = reader.varint(1 << 63), reader.varint()
    size = reader.varint(limits.MAX_SECTION_HEADER)
    if not size:
        return Entry(offset, members)
    fields = section.read_fields(reader)
    numbers = [reader.varint() for _ in range(reader.varint(limits.MAX_MODELS))]
    if any(number >= len(models) for number in numbers):
        raise DamagedError(f"{_WHAT} is damaged: a section needs a model that it does not name")
    return Entry(offset, members, size, replace(fields, models=tuple(models[number] for number in numbers)))
