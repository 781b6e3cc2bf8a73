"""The index: one row per section, so that a reader can go anywhere, and the manifest."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any

from zllm.container import limits, section
from zllm.container.columns import compress, decompress
from zllm.container.section import ModelRef, SectionHeader
from zllm.container.wire import Reader, put_varint
from zllm.errors import DamagedError

MAGIC = b"\xb5ZLI"
FRONT_SIZE = len(MAGIC) + 8
_WHAT = "the index"
# Bytes of a hash in the manifest, by the byte that stands for it there; JSON text never has these.
_HASH_SIZES = {1: 32, 2: 8}
_HASH = re.compile(rb'"([0-9a-f]{64}|[0-9a-f]{16})"')
_MARK = re.compile(rb"[\1\2]")
_MAX_HASHES = 255


@dataclass(frozen=True)
class SectionRow:
    """``offset`` is the section header's place in the file, ``header_size`` its length; ``members`` of the section."""

    offset: int
    header_size: int
    members: int
    header: SectionHeader


@dataclass
class Index:
    """``manifest`` is what the JSON says (see ``docs/zllm-format.md``)."""

    rows: list[SectionRow]
    manifest: dict[str, Any] = field(default_factory=dict)


def pack(index: Index) -> bytes:
    """Magic, coded length, length of the text, size of the hashes, hashes, zstd of the rows and the manifest.

    Strings of 64 or 16 hexadecimal digits in the manifest are kept as hashes: they would cost more in the text.
    """
    out = bytearray()
    numbers = {model.sha256: number for number, model in enumerate(models_of(index.manifest))}
    put_varint(out, len(index.rows))
    for row in index.rows:
        put_varint(out, row.offset)
        put_varint(out, row.header_size)
        put_varint(out, row.members)
        out += section.pack_fields(row.header)
        put_varint(out, len(row.header.models))
        for model in row.header.models:
            put_varint(out, numbers[model.sha256])
    text = json.dumps(index.manifest, sort_keys=True, separators=(",", ":")).encode()
    hashes = [bytes.fromhex(found.decode()) for found in _HASH.findall(text)[:_MAX_HASHES]]
    out += _HASH.sub(lambda found: b"\1" if len(found[1]) == 64 else b"\2", text, count=_MAX_HASHES)
    coded = bytearray()
    put_varint(coded, sum(map(len, hashes)))
    coded += b"".join(hashes) + compress(bytes(out), dictionary=True)
    return MAGIC + len(coded).to_bytes(4, "little") + len(out).to_bytes(4, "little") + coded


def coded_size(front: bytes) -> int:
    """Bytes that follow the first :data:`FRONT_SIZE` of the index block.

    Raises:
        DamagedError: not an index, or beyond the limit.
    """
    size, raw = int.from_bytes(front[4:8], "little"), int.from_bytes(front[8:12], "little")
    if front[:4] != MAGIC or len(front) < FRONT_SIZE or size > limits.MAX_INDEX or raw > limits.MAX_INDEX:
        raise DamagedError(f"{_WHAT} is damaged: impossible length")
    return size


def unpack(block: bytes) -> Index:
    """The whole block, whose hash in the footer holds.

    Raises:
        DamagedError: it contradicts itself or a limit.
    """
    if coded_size(block[:FRONT_SIZE]) != len(block) - FRONT_SIZE:
        raise DamagedError(f"{_WHAT} is damaged: its length is wrong")
    outer = Reader(block[FRONT_SIZE:], _WHAT)
    hashes = outer.take(outer.varint(outer.left))
    raw = decompress(outer.rest(), int.from_bytes(block[8:12], "little"), _WHAT, dictionary=True)
    reader = Reader(raw, _WHAT)
    rows, used = _rows(reader)
    text = _with_hashes(reader.rest(), Reader(hashes, _WHAT))
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        raise DamagedError(f"{_WHAT} is damaged: its manifest is not JSON") from None
    if not isinstance(manifest, dict):
        raise DamagedError(f"{_WHAT} is damaged: its manifest is not an object")
    models = models_of(manifest)
    if any(number >= len(models) for numbers in used for number in numbers):
        raise DamagedError(f"{_WHAT} is damaged: a section needs a model that the manifest does not name")
    complete = [
        replace(row, header=replace(row.header, models=tuple(models[number] for number in numbers)))
        for row, numbers in zip(rows, used, strict=True)
    ]
    return Index(complete, manifest)


def _with_hashes(text: bytes, hashes: Reader) -> bytes:
    """The manifest with its hashes where their marks are."""
    out = _MARK.sub(lambda mark: b'"%s"' % hashes.take(_HASH_SIZES[mark[0][0]]).hex().encode(), text)
    if hashes.left:
        raise DamagedError(f"{_WHAT} is damaged: the number of hashes is wrong")
    return out


def _rows(reader: Reader) -> tuple[list[SectionRow], list[list[int]]]:
    """The rows, and for each the numbers of its models in the manifest."""
    rows, used = [], []
    stream = 0
    for _ in range(reader.varint(reader.left)):
        offset, size, members = reader.varint(1 << 63), reader.varint(limits.MAX_SECTION_HEADER), reader.varint()
        row = SectionRow(offset, size, members, section.read_fields(reader))
        if row.header.stream_offset != stream:
            raise DamagedError(f"{_WHAT} is damaged: its sections do not follow each other")
        stream += row.header.stream_size
        rows.append(row)
        used.append([reader.varint(limits.MAX_MODELS) for _ in range(reader.varint(limits.MAX_MODELS))])
    return rows, used


def embedded(manifest: dict[str, Any]) -> dict[bytes, int]:
    """Where the blocks of embedded models are in the file, by the models' SHA-256.

    Raises:
        DamagedError: an entry makes no sense.
    """
    refs = models_of(manifest)
    try:
        places = [int(e["offset"]) if e.get("embedded") else -1 for e in manifest.get("models", [])]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise DamagedError(f"{_WHAT} is damaged: its list of models makes no sense") from None
    return {ref.sha256: place for ref, place in zip(refs, places, strict=True) if 0 <= place < 1 << 63}


def models_of(manifest: dict[str, Any]) -> list[ModelRef]:
    """The models that a manifest names, in order.

    Raises:
        DamagedError: an entry makes no sense.
    """
    entries = manifest.get("models", [])
    try:
        return [
            ModelRef(bytes.fromhex(entry["sha256"]), str(entry["name"]), int(entry["size"]), int(entry["arithmetic"]))
            for entry in entries
        ]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DamagedError(f"{_WHAT} is damaged: its list of models makes no sense") from None
