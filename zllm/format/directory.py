"""Directories: rows of sections, so that a reader can go anywhere, and what is said of the archive as a whole.

Each generation of an archive has one. It speaks of the parts between the footer before it, or the archive's header, and
itself.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from zllm.errors import DamagedError, UsageError
from zllm.format import limits, sealing, section
from zllm.format.columns import deflate, inflate
from zllm.format.ends import FORMAT_VERSION
from zllm.format.envelope import LEAST_PART, Envelope, Kind
from zllm.format.limits import DEFAULT, Limits
from zllm.format.names import NameFilter
from zllm.format.section import ModelRef, SectionHeader
from zllm.format.wire import MAX_VARINT_BYTES, Reader, put_varint

REPEATED_FROM = 64 << 10
"""The only section of an archive has its header in the directory once more if its frames have so many bytes: if the
section is damaged there, nothing is lost. For a smaller one it would be a tenth of a percent and more."""
_WHAT = "the directory"
_LEAST_ROW, _LEAST_OTHER = 4, 5
_BRACKETS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{}]', re.DOTALL)  # strings are passed over


@dataclass(frozen=True)
class Row:
    """A section. ``offset`` is its envelope's place, from the archive's header on; ``members`` begin in the section.

    Where the header stands in the section only, it is None, and so are the sizes: ``length`` of the section's body,
    ``frames`` and the bytes of all of them. ``flags``: of its envelope.
    """

    offset: int
    sequence: int
    members: int
    header: SectionHeader | None = None
    length: int = 0
    frames: int = 0
    frames_size: int = 0
    names: NameFilter | None = field(default=None, compare=False)
    flags: int = field(default=0, compare=False)

    @property
    def envelope(self) -> Envelope:
        """The section's, if its length is known."""
        return Envelope(Kind.SECTION, self.sequence, self.length, self.flags)

    @property
    def frames_at(self) -> int:
        """Where its first frame begins."""
        return self.offset + self.envelope.whole

    @property
    def end(self) -> int:
        """Where the part behind its last frame begins."""
        return self.frames_at + self.frames_size


@dataclass(frozen=True)
class OtherPart:
    """A part that is neither of a section nor a directory or a footer, and its place, from the archive's header on."""

    offset: int
    envelope: Envelope


class DeletedNames(Collection[bytes]):
    """Names as they stand in a directory, each made when its turn comes: short ones as objects take 30 times the bytes.

    They are ascending, so none is there twice.
    """

    def __init__(self, coded: bytes = b"", count: int = 0) -> None:
        self._coded = coded
        self._count = count
        self._end = 0

    @classmethod
    def read(cls, reader: Reader, most: int) -> DeletedNames:
        """The names that come next, ``most`` at most.

        Raises:
            DamagedError: there are more, or they are not ascending.
        """
        count = reader.varint(min(reader.left, most))
        found = cls(bytes(reader.data[reader.pos :]), count)
        last: bytes | None = None
        for name in found:
            if last is not None and name <= last:
                raise DamagedError(f"{_WHAT} is damaged: its deleted names are not in order")
            last = name
        found._coded = reader.take(found._end)
        return found

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        coded, at = self._coded, 0
        for _ in range(self._count):
            size = coded[at] if at < len(coded) else 0x80
            at += 1
            if size >= 0x80:  # seldom: names are short, and there may be millions
                reader = Reader(coded[at - 1 : at + MAX_VARINT_BYTES], _WHAT)
                size = reader.varint(limits.MAX_EXTENDED)
                at += reader.pos - 1
            name = coded[at : at + size]
            if len(name) < size:
                raise DamagedError(f"{_WHAT} is damaged: {size} bytes wanted, {len(name)} left")
            at += size
            yield name
        self._end = at

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Collection) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __contains__(self, name: object) -> bool:
        return any(one == name for one in self)


@dataclass
class Directory:
    """``manifest`` is what the JSON says (see ``docs/zllm-format.md``), and ``format``.

    ``generation`` counts from 0; ``time`` is in seconds since 1970, 0 if it is not known; ``back`` is how many bytes
    before this directory that of the generation before begins, 0 if there is none. ``deleted``: names of members of
    earlier generations that are not members any more, without slashes at their ends.
    """

    rows: list[Row]
    others: list[OtherPart] = field(default_factory=list)
    manifest: dict[str, Any] = field(default_factory=dict)
    generation: int = 0
    time: int = 0
    back: int = 0
    deleted: Collection[bytes] = ()


def pack(directory: Directory) -> bytes:
    """The body: models, the deflated text, filters of names if all rows have one.

    Raises:
        UsageError: more names are deleted than a directory can hold.
    """
    rows = directory.rows
    models: dict[ModelRef, int] = {}
    text = bytearray()
    for number in (directory.generation, directory.time, directory.back, len(rows)):
        put_varint(text, number)
    whole = len(rows) > 1 or any(row.frames_size >= REPEATED_FROM for row in rows)
    for row in rows:
        _put_row(text, row, models, whole=whole)
    put_varint(text, len(directory.others))
    for other in directory.others:
        text += bytes((other.envelope.kind, other.envelope.flags))
        for number in (other.offset, other.envelope.sequence, other.envelope.length):
            put_varint(text, number)
    put_varint(text, len(directory.deleted))
    for name in sorted(directory.deleted):
        put_varint(text, len(name))
        text += name
    manifest = {key: value for key, value in directory.manifest.items() if key != "format"}
    text += json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    out = bytearray()
    put_varint(out, len(models))
    for model in models:
        section.pack_model(out, model)
    packed = _packed(bytes(text), len(directory.deleted))
    put_varint(out, len(text))
    put_varint(out, len(packed))
    out += packed
    filters = [row.names for row in rows if row.names is not None]
    if len(filters) == len(rows) and len(out) + sum(len(names.bits) for names in filters) <= limits.MAX_DIRECTORY:
        out += b"".join(names.bits for names in filters)
    return bytes(out)


def _packed(text: bytes, deleted: int) -> bytes:
    """The text deflated; names that repeat so much that readers would take them for a bomb, less well."""
    if len(text) > limits.MAX_DIRECTORY or deleted > limits.MAX_DELETED:
        raise UsageError(f"{deleted} names are too many to delete at once: delete some of them first")
    packed = deflate(text)
    if len(text) > DEFAULT.directory_text(len(packed)):
        coder = zlib.compressobj(0, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = coder.compress(text) + coder.flush()
    return packed


def _put_row(text: bytearray, row: Row, models: dict[ModelRef, int], *, whole: bool) -> None:
    header = row.header if whole else None
    for number in (row.offset, row.sequence, row.members, row.length if header is not None else 0):
        put_varint(text, number)
    if header is None:
        return
    put_varint(text, row.frames)
    put_varint(text, row.frames_size)
    text += section.pack_facts(header)
    put_varint(text, len(header.models))
    for model in header.models:
        put_varint(text, models.setdefault(model, len(models)))


def unpack(
    body: bytes, seed: int = 0, allowed: Limits = DEFAULT, before: int = 1 << 62, flags: int = 0
) -> Directory:
    """A directory, whose checksum holds. ``seed`` is that of the archive, of which ``before`` bytes come before the
    directory: so many parts as fit into them can be named. ``flags``: of sections' envelopes.

    Raises:
        DamagedError: it contradicts itself or a limit.
        UnsupportedVersionError: a section needs features that this version does not have.
    """
    models, size, outer = _front(body, allowed)
    packed = outer.take(outer.varint(limits.MAX_DIRECTORY))
    reader = Reader(inflate(packed, size, _WHAT), _WHAT)
    generation, time, back = reader.varint(1 << 32), reader.varint(1 << 62), reader.varint(1 << 62)
    rows: list[Row] = []
    most = before // LEAST_PART
    for _ in range(reader.varint(min(reader.left // _LEAST_ROW, most))):
        rows.append(replace(_row(reader, models), flags=flags))
        if len(rows) > 1 and rows[-1].offset <= rows[-2].offset:
            raise DamagedError(f"{_WHAT} is damaged: its sections are not in order")
    others = []
    for _ in range(reader.varint(min(reader.left // _LEAST_OTHER, most))):
        kind, flags, offset = reader.byte(), reader.byte(), reader.varint(1 << 62)
        others.append(OtherPart(offset, Envelope(kind, reader.varint(1 << 62), reader.varint(1 << 62), flags)))
    deleted = DeletedNames.read(reader, allowed.deleted)
    manifest = _manifest(reader.rest())
    rows = _with_filters(rows, outer.rest(), seed)
    return Directory(rows, others, {**manifest, "format": FORMAT_VERSION}, generation, time, back, deleted)


def _front(body: bytes, allowed: Limits) -> tuple[list[ModelRef], int, Reader]:
    """The models, the length of the text, and what has the rest left to read."""
    if len(body) > allowed.directory_bytes:
        raise DamagedError(f"{_WHAT} is damaged: it has {len(body)} bytes, {allowed.directory_bytes} at most")
    reader = Reader(body, _WHAT)
    models = [section.read_model(reader) for _ in range(reader.varint(reader.left))]
    size = reader.varint(allowed.directory_text(len(body)))
    return models, size, reader


def _row(reader: Reader, models: Sequence[ModelRef]) -> Row:
    offset, sequence, members = reader.varint(1 << 62), reader.varint(1 << 62), reader.varint(limits.MAX_RECORDS)
    length = reader.varint(sealing.sealed_size(limits.MAX_SECTION_HEADER + limits.MAX_MAP))
    if not length:
        return Row(offset, sequence, members)
    frames, frames_size = reader.varint(limits.MAX_FRAMES), reader.varint(1 << 62)
    facts = section.read_facts(reader)
    numbers = [reader.varint() for _ in range(reader.varint(limits.MAX_MODELS))]
    if any(number >= len(models) for number in numbers):
        raise DamagedError(f"{_WHAT} is damaged: a section needs a model that it does not name")
    header = replace(facts, models=tuple(models[number] for number in numbers))
    return Row(offset, sequence, members, header, length, frames, frames_size)


def _with_filters(rows: list[Row], bits: bytes, seed: int) -> list[Row]:
    """The rows with their filters: as many bytes each as it has members."""
    if not bits:
        return rows
    reader = Reader(bits, _WHAT)
    found = [replace(row, names=NameFilter(reader.take(row.members), seed)) for row in rows]
    reader.end()
    return found


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
