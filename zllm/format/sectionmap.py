"""The section map: where every byte of a section's part of the tar stream comes from. Everything but the data.

A section is a list of *records*: header bytes, then data, then zeros. The data of a record is either a *piece* of a
group or the same as that of an earlier record. Pieces are sorted into *buckets*, buckets into *groups*; a group's bytes
are its pieces in the order of buckets, then of the stream, so places need no storage. Frames cut each group's bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from zllm.errors import DamagedError
from zllm.format import columns, headers, headerunits, limits
from zllm.format.frames import HASH_SIZE as FRAME_HASH_SIZE
from zllm.format.frames import FrameRow
from zllm.format.headerunits import Headers
from zllm.format.limits import DEFAULT, Limits
from zllm.format.section import SectionHeader
from zllm.format.tarscan import padded
from zllm.format.wire import Reader, read_varints, varints

HASH_SIZE = 32
# A small text codes to some hundred bytes: hashes, even short ones, would be a tenth of an archive of many. Such a
# member shares a frame with others or has one of its own, and that frame has a hash of its data.
SMALL_UP_TO = 8 << 10
RUN, RUN_HASH_SIZE = 32 << 10, 4
"""Of a damaged frame, a run proves its members: so many bytes of them, whose hash takes so many. Such hashes are an
eighth of a percent of small files that are coded to a tenth."""
_WHAT = "the section map"
_HAS_HEADER, _DATA_AS_SAID, _ZEROS_AS_SAID = 1, 2, 4
_FIXED_COLUMNS = 16


@dataclass(slots=True)
class Record:
    """Headers of a member, if any, then ``data_size`` bytes of data, then ``zeros``.

    ``bucket`` says where the data is (-1: no data, or that of record number ``duplicate_of``, which comes before).
    ``sha256`` is of the whole member's data, in the record that holds its last part; else empty. Archives have none of
    small members, whose frames have hashes.
    """

    headers: Headers = b""
    data_size: int = 0
    zeros: int = 0
    bucket: int = -1
    duplicate_of: int = -1
    sha256: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of the stream."""
        return self.header_size + self.data_size + self.zeros

    @property
    def header(self) -> bytes:
        """The header blocks."""
        return headerunits.built(self.headers)

    @property
    def header_size(self) -> int:
        """Bytes of the header blocks."""
        return headerunits.header_size(self.headers)

    @property
    def said_size(self) -> int:
        """Bytes of data as the headers say."""
        return headerunits.data_size(self.headers) if self.headers else 0

    @property
    def name(self) -> str:
        """The member's name, empty if it has no header here."""
        return headerunits.member_name(self.headers) if self.headers else ""


@dataclass(slots=True)
class Group:
    """Pieces that are coded one after the other: those in ``buckets`` consecutive buckets. ``category``: for lists."""

    category: int
    buckets: int
    frames: list[FrameRow] = field(default_factory=list)


@dataclass
class SectionMap:
    """All of it."""

    records: list[Record]
    groups: list[Group]
    runs: bytes = b""
    """Hashes of the runs of frames that have hashes, :data:`RUN_HASH_SIZE` bytes each (:func:`runs`)."""

    def size(self) -> int:
        """Bytes of the tar stream."""
        return sum(record.size for record in self.records)

    def members(self) -> int:
        """How many members begin in it."""
        return sum(bool(record.headers) for record in self.records)


def is_small(record: Record) -> bool:
    """Whether a whole member with this record's data has no SHA-256 in an archive."""
    return record.data_size <= SMALL_UP_TO


def with_small(groups: list[Group], records: list[Record]) -> list[bool]:
    """Of each group, whether it has data of small records: then its frames have hashes."""
    small = {record.bucket for record in records if is_small(record)}
    ends = accumulate(group.buckets for group in groups)
    return [not small.isdisjoint(range(end - group.buckets, end)) for group, end in zip(groups, ends, strict=True)]


def runs(size: int, boundaries: Sequence[int]) -> list[tuple[int, int]]:
    """Where the runs of a frame begin and end: whole members of :data:`RUN` bytes together, or a little more.

    What is behind the last of them is less than one. ``boundaries``: where members begin inside the frame.
    """
    found, start = [], 0
    for boundary in (*boundaries, size):
        if boundary - start >= RUN and boundary < size:
            found.append((start, boundary))
            start = boundary
    return found


def run_hash(data: bytes | memoryview) -> bytes:
    """What a map has of a run's SHA-256."""
    return hashlib.sha256(data).digest()[:RUN_HASH_SIZE]


def encode(
    section: SectionMap, *, continued: bool, continues: bool, mixed: bool = False, bounded: bool = False
) -> tuple[bytes, int]:
    """The map's bytes, and how many its columns take unpacked.

    ``continued``: the first record's data continues that of the section before. ``continues``: the last record's goes
    on in the next section, where its SHA-256 is stored then. ``mixed``: see :func:`columns.pack`. ``bounded``: never so
    short that readers take it for a bomb.
    """
    records = section.records
    expected = [_expected(record) for record in records]
    shapes = bytes(
        (_HAS_HEADER if r.headers else 0)
        | (_DATA_AS_SAID if r.data_size == data else 0)
        | (_ZEROS_AS_SAID if r.zeros == zeros else 0)
        for r, (data, zeros) in zip(records, expected, strict=True)
    )
    with_data = [(number, record) for number, record in enumerate(records) if record.data_size]
    frames = [frame for group in section.groups for frame in group.frames]
    fixed = [
        varints([len(records)]),
        b"" if set(shapes) == {7} else shapes,
        varints([r.data_size for r, e in zip(records, expected, strict=True) if r.data_size != e[0]]),
        varints([r.zeros for r, e in zip(records, expected, strict=True) if r.zeros != e[1]]),
        varints([r.bucket + 1 for _, r in with_data]),
        varints([number - r.duplicate_of - 1 for number, r in with_data if r.bucket < 0]),
        b"".join(r.sha256 for n, r in with_data if _hashed(records, n, continued, continues)),
        varints([g.category for g in section.groups]),
        varints([g.buckets for g in section.groups]),
        *_frame_columns(frames),
    ]
    fixed[-1] += section.runs
    units = [record.headers for record in records if record.headers]
    every = fixed + headers.encode(units)
    size = sum(map(len, every))
    blob = columns.pack(every, mixed=mixed)
    parts = len(records) + len(frames) + headers.parts_of(every[_FIXED_COLUMNS:])
    if bounded and (size > DEFAULT.unpacked_map(len(blob)) or parts > DEFAULT.parts_of_map(len(blob))):
        blob = columns.pack_plain(every)  # thousands of members that are all alike
    return blob, size


def _frame_columns(frames: list[FrameRow]) -> list[bytes]:
    return [
        varints([f.raw_size for f in frames]),
        varints([f.payload_size for f in frames]),
        bytes(f.codec for f in frames),
        bytes(f.slot for f in frames),
        bytes(f.reason for f in frames),
        varints([f.rival for f in frames]),
        b"".join(f.sha256 for f in frames),
    ]


def _expected(record: Record) -> tuple[int, int]:
    """The sizes of data and zeros that the header speaks of."""
    data = record.said_size
    return data, padded(data) - data


def _hashed(records: list[Record], number: int, continued: bool, continues: bool) -> bool:
    """Whether the SHA-256 of this record's member is stored with it. A large member may end with a small record."""
    whole = not (continues and number == len(records) - 1)
    large = (continued and number == 0) or not is_small(records[number])
    return records[number].duplicate_of < 0 and whole and large


def decode(
    blob: bytes, header: SectionHeader, sequence: int = 0, allowed: Limits = DEFAULT, *, sealed: bool = False
) -> SectionMap:
    """The map of a section, from bytes whose checksum holds. ``sequence`` is the number of its first frame; ``sealed``:
    its frames are encrypted.

    Raises:
        DamagedError: it contradicts itself or a limit.
    """
    if header.columns_size > allowed.unpacked_map(len(blob)):
        raise DamagedError(f"{_WHAT} is damaged: {len(blob)} bytes claim to unpack to {header.columns_size}")
    cols = columns.unpack(blob, header.columns_size, _WHAT)
    if len(cols) != _FIXED_COLUMNS + headers.COLUMNS:
        raise DamagedError(f"{_WHAT} is damaged: {len(cols)} columns")
    fixed = cols[:_FIXED_COLUMNS]
    most = allowed.parts_of_map(len(blob)) - len(fixed[11])
    records = _records(fixed, cols[_FIXED_COLUMNS:], header.stream_size, most, allowed)
    _place(records, fixed[4], fixed[5])
    _hashes(records, fixed[6], header)
    groups = _groups(fixed[7], fixed[8], _rows(fixed[9:15], sequence, sealed=sealed), records)
    return SectionMap(records, groups, _frame_hashes(groups, records, fixed[15]))


def _records(
    fixed: list[bytes], header_columns: list[bytes], stream_size: int, most: int, allowed: Limits
) -> list[Record]:
    count = _one(fixed[0])
    parts = count + headers.parts_of(header_columns)
    if parts > most:
        raise DamagedError(f"{_WHAT} is damaged: it claims {parts} records and header blocks, at most {most} fit it")
    if count > min(stream_size, allowed.records):
        raise DamagedError(f"{_WHAT} is damaged: {count} records in {stream_size} bytes")
    shapes = fixed[1] or bytes([7]) * count
    if len(shapes) != count or max(shapes, default=0) > 7:
        raise DamagedError(f"{_WHAT} is damaged: its records make no sense")
    units = iter(headers.decode(header_columns, sum(shape & _HAS_HEADER for shape in shapes), allowed.name_bytes))
    sizes, zeros = iter(read_varints(fixed[2], _WHAT, count)), iter(read_varints(fixed[3], _WHAT, count))
    records: list[Record] = []
    left = stream_size
    if not fixed[1]:
        records, left = _regular(units, stream_size)
        shapes = b""
    for shape in shapes:
        record = Record(next(units) if shape & _HAS_HEADER else b"")
        said = _expected(record)
        record.data_size = said[0] if shape & _DATA_AS_SAID else _next(sizes)
        record.zeros = said[1] if shape & _ZEROS_AS_SAID else _next(zeros)
        left -= record.size
        if left < 0:
            break
        records.append(record)
    if left or next(sizes, None) is not None or next(zeros, None) is not None:
        raise DamagedError(f"{_WHAT} is damaged: its records are not {stream_size} bytes")
    return records


def _regular(units: Iterator[Headers], stream_size: int) -> tuple[list[Record], int]:
    """Records as nearly all are, with data and zeros as their headers say, and what of the stream is left."""
    records: list[Record] = []
    left = stream_size
    for unit in units:
        if isinstance(unit, bytes):
            size, data = len(unit), headerunits.data_size(unit)
        else:
            size, data = unit[:2]
        zeros = -data % limits.BLOCK
        left -= size + data + zeros
        if left < 0:
            break
        records.append(Record(unit, data, zeros))
    return records, left


def _place(records: list[Record], buckets: bytes, sames: bytes) -> None:
    """Set ``bucket`` and ``same``."""
    count = len(records)
    places, distances = iter(read_varints(buckets, _WHAT, count)), iter(read_varints(sames, _WHAT, count))
    for number, record in enumerate(records):
        if not record.data_size:
            continue
        record.bucket = _next(places) - 1
        if record.bucket >= 0:
            continue
        record.duplicate_of = number - _next(distances) - 1
        first = records[record.duplicate_of] if record.duplicate_of >= 0 else None
        if first is None or first.bucket < 0 or first.data_size != record.data_size:
            raise DamagedError(f"{_WHAT} is damaged: a repeated member repeats nothing")
    if next(places, None) is not None or next(distances, None) is not None:
        raise DamagedError(f"{_WHAT} is damaged: more pieces than records with data")


def _hashes(records: list[Record], blob: bytes, header: SectionHeader) -> None:
    """Set ``sha256`` of records."""
    hashes = Reader(blob, _WHAT)
    for number, record in enumerate(records):
        if not record.data_size:
            continue
        if record.duplicate_of >= 0:
            record.sha256 = records[record.duplicate_of].sha256
        elif _hashed(records, number, header.continued, header.continues):
            record.sha256 = hashes.take(HASH_SIZE)
    hashes.end()


def _frame_hashes(groups: list[Group], records: list[Record], blob: bytes) -> bytes:
    """Set ``sha256`` of frames. What follows is of runs: which ones, nobody needs to know before one is damaged."""
    hashes = Reader(blob, _WHAT)
    for group, small in zip(groups, with_small(groups, records), strict=True):
        if small:
            group.frames = [replace(frame, sha256=hashes.take(FRAME_HASH_SIZE)) for frame in group.frames]
    if hashes.left % RUN_HASH_SIZE:
        raise DamagedError(f"{_WHAT} is damaged: its hashes do not fit its frames")
    return hashes.rest()


def _rows(frame_columns: list[bytes], sequence: int, *, sealed: bool) -> list[FrameRow]:
    raw, payload, rival = (read_varints(frame_columns[k], _WHAT, limits.MAX_FRAMES) for k in (0, 1, 5))
    codecs, slots, reasons = frame_columns[2:5]
    if len({len(column) for column in (raw, payload, codecs, slots, reasons, rival)}) != 1:
        raise DamagedError(f"{_WHAT} is damaged: its columns differ in length")
    if sum(payload) > limits.MAX_PAYLOAD or not all(raw):
        raise DamagedError(f"{_WHAT} is damaged: impossible size of a frame")
    rows = zip(raw, payload, codecs, slots, reasons, rival, strict=True)
    return [
        FrameRow(size, coded, codec, slot, reason, other, sequence=number, sealed=sealed)
        for number, (size, coded, codec, slot, reason, other) in enumerate(rows, sequence)
    ]


def _groups(categories: bytes, buckets: bytes, rows: list[FrameRow], records: list[Record]) -> list[Group]:
    """The groups with their frames: as many each as its pieces' sizes add up to."""
    kinds, counts = (read_varints(column, _WHAT, len(records)) for column in (categories, buckets))
    total = sum(counts)
    if len(kinds) != len(counts) or len(kinds) > len(rows) or total > len(records):
        raise DamagedError(f"{_WHAT} is damaged: its groups make no sense")
    filled = [0] * total
    for record in records:
        if record.bucket >= total:
            raise DamagedError(f"{_WHAT} is damaged: a piece is in no group")
        if record.bucket >= 0:
            filled[record.bucket] += record.data_size
    groups = []
    frames, bucket = iter(rows), 0
    for kind, count in zip(kinds, counts, strict=True):
        group = Group(kind, count)
        left = sum(filled[bucket : bucket + count])
        bucket += count
        while left > 0:
            row = next(frames, None)
            if row is None or row.raw_size > left:
                raise DamagedError(f"{_WHAT} is damaged: frames and members differ in size")
            left -= row.raw_size
            group.frames.append(row)
        groups.append(group)
    if next(frames, None) is not None:
        raise DamagedError(f"{_WHAT} is damaged: frames that belong to no group")
    return groups


def _one(column: bytes) -> int:
    values = read_varints(column, _WHAT, 1)
    if len(values) != 1:
        raise DamagedError(f"{_WHAT} is damaged: one number wanted")
    return values[0]


def _next(values: Iterator[int]) -> int:
    value = next(values, None)
    if value is None:
        raise DamagedError(f"{_WHAT} is damaged: a column is too short")
    return value
