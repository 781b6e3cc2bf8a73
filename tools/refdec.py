"""An educational decoder of .zllm archives: one file, in the order of the specifications, and as slow as it is plain.

    python tools/refdec.py ARCHIVE [--model FILE.zlm] [--json | --tar OUT | -x DIR]

It was written from docs/zllm-format.md, docs/model-format.md, docs/arithmetic.md and docs/media.md, and shares nothing
with the program. Headings below name the sections there; read both side by side. It verifies every checksum and hash,
and stops at the first thing that is wrong: it corrects nothing, and passes over parity.

Beside the standard library it needs xxhash; and zstandard (or Python 3.14), for zstd frames, and lz4, for lz4 blocks.
"""

from __future__ import annotations

import argparse
import bisect
import hashlib
import io
import json
import math
import struct
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from operator import mul
from pathlib import Path
from typing import Any

import xxhash

DICTIONARY = Path(__file__).resolve().parents[1] / "zllm" / "format" / "dictionary.bin"
DICTIONARY_SHA256 = "ae1cd12eae21d2339954ce1f88dc223b587f04398980157021d1066b47d3e4a8"
MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1


class DamagedError(Exception):
    """The archive is not what it should be."""

    exit_code = 3


class UnsupportedError(DamagedError):
    """The archive is of a version, or has a part or a codec, that this program does not read."""

    exit_code = 2


def check(condition: bool, message: str) -> None:
    """Raises DamagedError with ``message`` if the condition does not hold."""
    if not condition:
        raise DamagedError(message)


# ----------------------------------------------------------------------------------------------------------------------
# zllm-format.md: Conventions
# ----------------------------------------------------------------------------------------------------------------------


class Cursor:
    """Reads bytes, u8 and varints from the front of some bytes."""

    def __init__(self, data: bytes, what: str, at: int = 0) -> None:
        self.data, self.what, self.at = data, what, at

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        check(count <= len(self.data) - self.at, f"{self.what}: too short")
        self.at += count
        return self.data[self.at - count : self.at]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self.data) - self.at)

    def u8(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def varint(self) -> int:
        """LEB128: low bits first, 10 bytes and 64 bits at most, never longer than need be."""
        value = 0
        for place in range(10):
            byte = self.u8()
            value |= (byte & 127) << 7 * place
            if byte < 128:
                check(value < 1 << 64 and (byte > 0 or place == 0), f"{self.what}: a varint that is too long")
                return value
        raise DamagedError(f"{self.what}: a varint that is too long")

    def varints(self) -> list[int]:
        """All that is left, as varints."""
        found = []
        while self.at < len(self.data):
            found.append(self.varint())
        return found

    def end(self) -> None:
        """Nothing may be left."""
        check(self.at == len(self.data), f"{self.what}: too long")


def unzigzag(n: int) -> int:
    """0, -1, 1, -2, ... for 0, 1, 2, 3, ..."""
    return -(n + 1) // 2 if n & 1 else n // 2


def xxh3(data: bytes, size: int, seed: int = 0) -> bytes:
    """The low ``size`` bytes of XXH3-64."""
    return int(xxhash.xxh3_64_intdigest(data, seed)).to_bytes(8, "little")[:size]


def unzstd(data: bytes, size: int) -> bytes:
    """``size`` bytes of a zstd frame without magic number."""
    frame = b"\x28\xb5\x2f\xfd" + data
    try:
        try:
            from compression import zstd  # type: ignore[import-not-found, unused-ignore]

            decoder = zstd.ZstdDecompressor()
            found, rest = bytes(decoder.decompress(frame, max_length=size + 1)), decoder.unused_data
            check(decoder.eof and not rest, "zstd frame: it does not end where it should")
        except ImportError:
            import zstandard

            decompressor = zstandard.ZstdDecompressor().decompressobj(read_across_frames=False)
            found = decompressor.decompress(frame)
            check(decompressor.eof and not decompressor.unused_data, "zstd frame: it does not end where it should")
    except Exception as exc:  # each library has its own
        if "zstd" not in type(exc).__name__.lower():
            raise
        raise DamagedError(f"zstd frame: {exc}") from None
    check(len(found) == size, "zstd frame: of another size")
    return found


def inflate(data: bytes, size: int, what: str) -> bytes:
    """``size`` bytes of raw deflate, whose window begins with the dictionary."""
    words = DICTIONARY.read_bytes()
    check(hashlib.sha256(words).hexdigest() == DICTIONARY_SHA256, "the dictionary is another one")
    decoder = zlib.decompressobj(-15, zdict=words)
    try:
        found = decoder.decompress(data, size + 1)
    except zlib.error as exc:
        raise DamagedError(f"{what}: {exc}") from None
    check(decoder.eof and not decoder.unused_data and len(found) == size, f"{what}: it unpacks to another size")
    return found


BLOCK = 512


def padded(size: int) -> int:
    """``size`` rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


# ----------------------------------------------------------------------------------------------------------------------
# zllm-format.md: Header
# ----------------------------------------------------------------------------------------------------------------------

MAGIC = b"\x8dZLM\r\n\x1a\n"
VERSION = 3
HEADER_SIZE = 16


def read_header(data: bytes) -> int:
    """The seed of an archive's checksums."""
    check(data[:8] == MAGIC, "not a .zllm archive")
    check(len(data) >= HEADER_SIZE, "header: too short")
    if data[8] != VERSION:
        raise UnsupportedError(f"header: version {data[8]}")
    check(xxh3(data[:14], 2) == data[14:16], "header: wrong checksum")
    if data[9] & 0xF0:
        raise UnsupportedError(f"header: unknown flags {data[9]:#x}")
    return int.from_bytes(data[10:14], "little")


# ----------------------------------------------------------------------------------------------------------------------
# zllm-format.md: Parts
# ----------------------------------------------------------------------------------------------------------------------

SECTION, FRAME, MODEL, DIRECTORY, FOOTER, KEYS, PARITY, NOTE = range(1, 9)
SKIP, SEALED = 1, 16


@dataclass
class Part:
    """An envelope and its body."""

    offset: int  # of the envelope, from the archive's header on
    kind: int
    flags: int
    number: int
    body: bytes
    size: int  # with envelope and checksum


def read_part(data: bytes, offset: int, seed: int) -> Part:
    """The part at ``offset``. Both of its checksums hold."""
    at = Cursor(data, f"part at {offset}", offset)
    check(at.take(2) == b"\xb5\x5a", f"part at {offset}: no part begins here")
    kind, flags, number, length = at.u8(), at.u8(), at.varint(), at.varint()
    envelope = data[offset : at.at]
    check(at.take(2) == xxh3(envelope, 2, seed), f"part at {offset}: wrong checksum of the envelope")
    body = at.take(length)
    crc = zlib.crc32(data[offset : at.at], seed)
    check(at.take(4) == crc.to_bytes(4, "little"), f"part at {offset}: wrong checksum")
    if flags & 0xF0 & ~SEALED:
        raise UnsupportedError(f"part at {offset}: unknown flags {flags:#x}")
    if flags & SEALED or kind == KEYS:
        raise UnsupportedError("the archive is encrypted; this program does not decrypt")
    if not SECTION <= kind <= NOTE and not flags & SKIP:
        raise UnsupportedError(f"part at {offset}: unknown kind {kind}")
    return Part(offset, kind, flags, number, body, at.at - offset)


# ----------------------------------------------------------------------------------------------------------------------
# zllm-format.md: Limits
# ----------------------------------------------------------------------------------------------------------------------

WINDOW, MAX_PAYLOAD, MAX_MAP = 1 << 26, (1 << 26) + (1 << 20), 1 << 27
MAX_RECORDS, MAX_FRAMES, MAX_COLUMNS, MAX_DIRECTORY = 1 << 19, 1 << 17, 4096, 1 << 26
MAX_SECTION_HEADER, MAX_MODELS, MAX_MODEL, MAX_MODEL_RATIO = 4096, 8, 1 << 32, 16
MAX_EXTENDED, MAX_UNIT, MAX_MIXED, MAX_DELETED, MAX_MANIFEST = 1 << 20, 1 << 23, 1 << 18, 1 << 22, 1 << 16
MAX_STREAMS = 256


def allow(size: int, free: int, ratio: int, of: int, what: str) -> None:
    """So much is free, and so much more is allowed for each byte that is in the archive."""
    check(size <= free + ratio * of, f"{what}: {size} bytes are beyond the limit")


# ----------------------------------------------------------------------------------------------------------------------
# zllm-format.md: Section
# ----------------------------------------------------------------------------------------------------------------------

CONTINUES, GOES_ON, NO_TAR = 1, 2, 4


@dataclass(frozen=True)
class ModelRef:
    """A model that frames use, as sections describe it."""

    sha256: bytes
    known_answer: bytes
    size: int
    arithmetic: int
    embedded: bool
    name: str
    origin: str


@dataclass(frozen=True)
class SectionHeader:
    """Where a section is in the tar stream, and how long the columns of its map are."""

    start: int
    size: int
    columns_size: int
    flags: int
    models: tuple[ModelRef, ...]


def read_model_ref(at: Cursor) -> ModelRef:
    """A model's description."""
    sha256, answer, size, version = at.take(32), at.take(4), at.varint(), at.varint()
    check(size <= MAX_MODEL, f"{at.what}: a model beyond the limit")
    try:
        name, origin = at.take(at.u8()).decode("utf-8"), at.take(at.u8()).decode("utf-8")
    except UnicodeDecodeError:
        raise DamagedError(f"{at.what}: a name that is not UTF-8") from None
    return ModelRef(sha256, answer, size, version >> 1, bool(version & 1), name, origin)


def read_section_fields(at: Cursor) -> tuple[int, int, int, int]:
    """The fields from *where* to *flags*."""
    start, size, columns_size, flags = at.varint(), at.varint(), at.varint(), at.u8()
    if flags & 0x38:
        raise UnsupportedError(f"{at.what}: unknown flags {flags:#x}")
    check(size <= WINDOW and columns_size <= MAX_MAP, f"{at.what}: beyond the limits")
    return start, size, columns_size, flags


def read_section_header(at: Cursor) -> SectionHeader:
    """The header of a section."""
    begin = at.at
    fields = read_section_fields(at)
    count = at.u8()
    check(count <= MAX_MODELS, f"{at.what}: too many models")
    header = SectionHeader(*fields, tuple(read_model_ref(at) for _ in range(count)))
    check(at.at - begin <= MAX_SECTION_HEADER, f"{at.what}: its header is beyond the limit")
    return header


# ----------------------------------------------------------------------------------------------------------------------
# zllm-format.md: Column sets
# ----------------------------------------------------------------------------------------------------------------------


def read_columns(at: Cursor, total: int) -> list[bytes]:
    """The columns of a set, which have ``total`` bytes together."""
    room = len(at.data) - at.at
    joint_size, coded_size = at.varint(), at.varint()
    check(joint_size <= MAX_MAP, f"{at.what}: beyond the limits")
    allow(total, 1 << 16, 2048, room, at.what)
    allow(joint_size, 1 << 16, 2048, room, at.what)
    joint = Cursor(inflate(at.take(coded_size), joint_size, at.what), at.what)
    count = joint.varint()
    check(count <= MAX_COLUMNS, f"{at.what}: too many columns")
    heads = []
    for _ in range(count):
        size, kind = divmod(joint.varint(), 4)
        heads.append((size, kind, joint.varint() if kind >= 2 else size))
    check(sum(size for size, _, _ in heads) == total, f"{at.what}: its columns have another size")
    mixed = [size for size, kind, _ in heads if kind == 3]
    check(max(mixed, default=0) <= MAX_MIXED, f"{at.what}: a column beyond the limit")
    allow(sum(mixed), 1 << 17, 512, room, at.what)
    columns = []
    for size, kind, coded in heads:
        data = joint.take(size) if kind == 0 else at.take(coded)
        if kind == 2:
            allow(size, 1 << 17, 1 << 15, coded, at.what)
            data = unzstd(data, size)
        elif kind == 3:
            data = decode_cm(data, size, [])
        columns.append(data)
    joint.end()
    at.end()
    return columns


# ----------------------------------------------------------------------------------------------------------------------
# zllm-format.md: Map
# ----------------------------------------------------------------------------------------------------------------------

HAS_HEADER, SIZE_FOLLOWS, ZEROS_FOLLOW = 1, 2, 4
SMALL = 8192  # records with more bytes of data have a hash of their own
RUN = 32768


@dataclass
class Record:
    """Header blocks, then data, then zeros."""

    header: bytes
    data_size: int
    zeros: int
    bucket: int  # -1: no data of its own
    duplicate_of: int  # the earlier record whose data it repeats, or -1
    sha256: bytes = b""
    extents: list[tuple[int, int, int]] = field(default_factory=list)  # frame, start, size

    @property
    def size(self) -> int:
        """Bytes of the tar stream."""
        return len(self.header) + self.data_size + self.zeros


@dataclass
class FrameRow:
    """What the map says of a frame."""

    data_size: int
    payload_size: int
    codec: int
    slot: int
    reason: int
    rival: int
    number: int
    group: int
    sha256: bytes = b""
    runs: list[tuple[int, int, bytes]] = field(default_factory=list)  # start, end, hash
    boundaries: list[int] = field(default_factory=list)  # where members begin, inside the frame


@dataclass
class Group:
    """Frames of one category."""

    category: int
    buckets: int
    frames: list[FrameRow] = field(default_factory=list)


@dataclass
class SectionMap:
    """What a section consists of."""

    records: list[Record]
    groups: list[Group]

    @property
    def frames(self) -> list[FrameRow]:
        """Those of all groups, in order."""
        return [frame for group in self.groups for frame in group.frames]


def read_map(at: Cursor, header: SectionHeader, number: int) -> SectionMap:
    """The map of a section, whose first frame has this number."""
    room = len(at.data) - at.at
    columns = read_columns(at, header.columns_size)
    check(len(columns) == 47, f"{at.what}: it has {len(columns)} columns")
    reader = [Cursor(column, f"{at.what}: column {index}") for index, column in enumerate(columns)]
    count = reader[0].varint()
    reader[0].end()
    check(count <= MAX_RECORDS, f"{at.what}: too many records")
    texts = sum(columns[index].count(0) for index in (26, 27, 32))
    within_ratio = count + len(columns[11]) + len(columns[16]) + len(columns[33]) + texts
    allow(within_ratio, 4096, 256, room, at.what)
    records = read_records(reader, columns, count)
    check(sum(record.size for record in records) == header.size, f"{at.what}: its records have another size")
    categories, buckets = reader[7].varints(), reader[8].varints()
    check(len(categories) == len(buckets) and sum(buckets) <= count, f"{at.what}: impossible groups")
    groups = [Group(*pair) for pair in zip(categories, buckets, strict=True)]
    chart = SectionMap(records, groups)
    read_frame_rows(reader, columns, chart, number, len(header.models))
    lay_out(chart, at.what)
    read_member_hashes(reader[6], records, header.flags)
    read_frame_hashes(reader[15], chart)
    return chart


def read_records(reader: list[Cursor], columns: list[bytes], count: int) -> list[Record]:
    """Columns 1 to 5, and the header columns."""
    shapes = columns[1] or bytes([7]) * count
    check(len(shapes) == count and max(shapes, default=0) <= 7, f"{reader[1].what}: impossible")
    headers = iter(read_header_columns(columns[16:], sum(shape & 1 for shape in shapes)))
    records: list[Record] = []
    for index, shape in enumerate(shapes):
        header = next(headers) if shape & HAS_HEADER else b""
        size = (tar_data_size(header) if header else 0) if shape & SIZE_FOLLOWS else reader[2].varint()
        zeros = (-size % BLOCK if header else 0) if shape & ZEROS_FOLLOW else reader[3].varint()
        check(size <= WINDOW and zeros <= WINDOW, f"{reader[2].what}: beyond the limit")
        record = Record(header, size, zeros, -1, -1)
        if size:
            record.bucket = reader[4].varint() - 1
            if record.bucket < 0:
                record.duplicate_of = index - 1 - reader[5].varint()
                check(record.duplicate_of >= 0, f"{reader[5].what}: a repetition of nothing")
                first = records[record.duplicate_of]
                check(first.bucket >= 0 and first.data_size == size, f"{reader[5].what}: a repetition of nothing")
        records.append(record)
    for column in reader[2:6]:
        column.end()
    return records


def read_frame_rows(reader: list[Cursor], columns: list[bytes], chart: SectionMap, number: int, models: int) -> None:
    """Columns 9 to 14: frames cut the bytes of each group."""
    sizes, payloads, rivals = reader[9].varints(), reader[10].varints(), reader[14].varints()
    what = reader[9].what
    counts = {len(sizes), len(payloads), len(rivals), *map(len, columns[11:14])}
    check(len(counts) == 1 and len(sizes) <= MAX_FRAMES and len(chart.groups) <= len(sizes), f"{what}: impossible")
    check(sum(payloads) <= MAX_PAYLOAD and sum(sizes) <= WINDOW, f"{what}: beyond the limit")
    buckets = [index for index, group in enumerate(chart.groups) for _ in range(group.buckets)]
    left = [0] * len(chart.groups)
    for record in chart.records:
        if record.bucket >= 0:
            check(record.bucket < len(buckets), f"{reader[4].what}: a bucket of no group")
            left[buckets[record.bucket]] += record.data_size
    index = 0
    for row, size in enumerate(sizes):
        while index < len(left) and not left[index]:
            index += 1
        check(index < len(left) and 0 < size <= left[index], f"{what}: frames of another size than their group")
        left[index] -= size
        codec, slot, reason = (columns[column][row] for column in (11, 12, 13))
        if codec > REBUILD:
            raise UnsupportedError(f"{what}: unknown codec {codec}")
        check(slot <= models, f"{what}: a model that is not there")
        frame = FrameRow(size, payloads[row], codec, slot, reason, rivals[row], number + row, index)
        chart.groups[index].frames.append(frame)
    check(not any(left), f"{what}: a group without frames")


def lay_out(chart: SectionMap, what: str) -> None:
    """Where each record's data is: pieces follow each other in order of bucket, then of the stream."""
    frames = chart.frames
    order = sorted((record.bucket, index) for index, record in enumerate(chart.records) if record.bucket >= 0)
    frame = start = 0
    for _, index in order:
        record = chart.records[index]
        if start:
            frames[frame].boundaries.append(start)
        left = record.data_size
        while left:
            size = min(left, frames[frame].data_size - start)
            record.extents.append((frame, start, size))
            left, start = left - size, start + size
            if start == frames[frame].data_size:
                frame, start = frame + 1, 0
    for record in chart.records:
        if record.duplicate_of >= 0:
            record.extents = chart.records[record.duplicate_of].extents
    check(frame == len(frames), f"{what}: frames of nothing")


def read_member_hashes(at: Cursor, records: list[Record], flags: int) -> None:
    """Column 6."""
    for index, record in enumerate(records):
        continued = index == 0 and flags & CONTINUES
        ends = not (index == len(records) - 1 and flags & GOES_ON)
        if record.duplicate_of >= 0:
            record.sha256 = records[record.duplicate_of].sha256
        elif ends and (record.data_size > SMALL or (record.data_size and continued)):
            record.sha256 = at.take(32)
    at.end()


def read_frame_hashes(at: Cursor, chart: SectionMap) -> None:
    """Column 15: hashes of frames, then of their runs."""
    buckets = [index for index, group in enumerate(chart.groups) for _ in range(group.buckets)]
    small = {buckets[r.bucket] for r in chart.records if r.bucket >= 0 and r.data_size <= SMALL}
    frames = [frame for frame in chart.frames if frame.group in small]
    for frame in frames:
        frame.sha256 = at.take(8)
    for frame in frames:
        start = 0
        for boundary in frame.boundaries:
            if boundary - start >= RUN:
                frame.runs.append((start, boundary, at.take(4)))
                start = boundary
    at.end()


# ----------------------------------------------------------------------------------------------------------------------
# zllm-format.md: Header columns
# ----------------------------------------------------------------------------------------------------------------------

RAW, MAIN, PAX, LONG, MAIN_WITH_TAIL = range(5)
LITERAL, NUL_AFTER, SPACE_AFTER, FOLLOWS, LAST = range(5)
TIMES = (b"mtime", b"atime", b"ctime", b"LIBARCHIVE.creationtime")


def read_texts(column: bytes, what: str) -> Iterator[bytes]:
    """Texts: 00 ends one, 01 02 is a 00 in it, and 01 03 a 01."""
    check(column[-1:] in (b"", b"\0"), f"{what}: a text without an end")
    for text in column.split(b"\0")[:-1]:
        yield text.replace(b"\1\2", b"\0").replace(b"\1\3", b"\1")


def read_planes(columns: Sequence[bytes], what: str) -> Iterator[int]:
    """u32 values whose bytes are in four columns."""
    check(len({len(column) for column in columns}) == 1, f"{what}: planes of different lengths")
    for parts in zip(*columns, strict=True):
        yield int.from_bytes(bytes(parts), "little")


@dataclass
class Said:
    """What the extended headers of a member say that its main block may repeat."""

    name: bytes | None = None
    link: bytes | None = None
    seconds: int | None = None
    rounded: int | None = None


@dataclass
class HeaderColumns:
    """The header columns, each of which is consumed in the order of the parts."""

    columns: Sequence[bytes]

    def __post_init__(self) -> None:
        c = self.columns
        self.what = "header columns"
        self.raw_sizes, self.tail_sizes = (iter(Cursor(c[i], self.what).varints()) for i in (1, 29))
        self.raw, self.literals, self.tails = (Cursor(c[i], self.what) for i in (2, 13, 30))
        check(len(c[3]) % 113 == 0, f"{self.what}: half a profile")
        self.profiles = [c[3][start : start + 113] for start in range(0, len(c[3]), 113)]
        self.extended_profile, self.main_profile = (iter(Cursor(c[i], self.what).varints()) for i in (4, 5))
        self.parts, self.extended_form, self.main_form, self.short_form, self.digits = (
            iter(c[i]) for i in (0, 6, 7, 8, 17)
        )
        self.extended_name, self.name, self.link, self.rest, self.value = (
            read_texts(c[i], self.what) for i in (9, 10, 11, 12, 16)
        )
        self.kinds = [text.split(b"=")[:-1] for text in read_texts(c[14], self.what)]
        self.kind = iter(Cursor(c[15], self.what).varints())
        self.seconds, self.fraction = read_planes(c[18:22], self.what), read_planes(c[22:26], self.what)
        check(len(c[26]) == len(c[27]), f"{self.what}: sizes of different lengths")
        tops = Cursor(c[28], self.what).varints()
        check(len(tops) == len(c[26]), f"{self.what}: sizes of different lengths")
        self.size = (low | middle << 8 | top << 16 for low, middle, top in zip(c[26], c[27], tops, strict=True))
        self.last: dict[bytes, int] = {}  # the last value of each keyword

    def time(self, keyword: bytes) -> int:
        """The next seconds: a difference from the value before of the same keyword."""
        self.last[keyword] = (self.last.get(keyword, 0) + unzigzag(next(self.seconds))) & MASK32
        return self.last[keyword]

    def end(self) -> None:
        """All columns are used up."""
        for cursor in (self.raw, self.literals, self.tails):
            cursor.end()
        iterators: list[Iterator[Any]] = [
            self.raw_sizes, self.tail_sizes, self.extended_profile, self.main_profile, self.parts, self.extended_form,
            self.main_form, self.short_form, self.digits, self.extended_name, self.name, self.link, self.rest,
            self.value, self.kind, self.seconds, self.fraction, self.size,
        ]  # fmt: skip
        for iterator in iterators:
            check(next(iterator, None) is None, f"{self.what}: something is left")


def read_header_columns(columns: Sequence[bytes], count: int) -> list[bytes]:
    """The header blocks of ``count`` members."""
    c = HeaderColumns(columns)
    try:
        units = [read_unit(c) for _ in range(count)]
    except (StopIteration, IndexError, ValueError, OverflowError):
        raise DamagedError("header columns: they end too early, or make no sense") from None
    c.end()
    return units


def read_unit(c: HeaderColumns) -> bytes:
    """All header blocks of one member."""
    part = next(c.parts)
    if part == RAW:
        return c.raw.take(next(c.raw_sizes))
    said = Said()
    blocks: list[tuple[HeaderBlock, bytes, bytes]] = []  # with what the name is made of, and the text
    while part in (PAX, LONG):
        blocks.append(read_extended(c, part, said))
        part = next(c.parts)
    check(part in (MAIN, MAIN_WITH_TAIL), f"{c.what}: an unknown kind of header")
    tail = c.tails.take(next(c.tail_sizes)) if part == MAIN_WITH_TAIL else b""
    main = read_main(c, said)
    full_name = main.name if said.name is None else said.name
    out = b""
    for block, name, text in blocks:
        front, slash, last = full_name.rstrip(b"/").rpartition(b"/")
        block.name = front + slash + name[1:] + b"/" + last if name[:1] == b"/" else name[1:]
        out += block.build() + text.ljust(padded(len(text)), b"\0")
    out += main.build() + tail
    check(len(out) <= MAX_UNIT, f"{c.what}: beyond the limit")
    return out


@dataclass
class HeaderBlock:
    """The fields of 512 bytes; without a checksum, it is computed."""

    profile: bytes
    name: bytes
    link: bytes
    rest: bytes
    size: bytes
    mtime: bytes
    checksum: bytes

    def build(self) -> bytes:
        """The block."""
        checksum = self.checksum or b" " * 8
        fields = (
            (self.name, 100), (self.profile[:24], 24), (self.size, 12), (self.mtime, 12), (checksum, 8),
            (self.profile[24:25], 1), (self.link, 100), (self.profile[25:], 88), (self.rest, 167),
        )  # fmt: skip
        check(all(len(value) <= size for value, size in fields), "header columns: a text that is too long")
        block = b"".join(value.ljust(size, b"\0") for value, size in fields)
        return block if self.checksum else block[:148] + b"%06o\0 " % sum(block) + block[156:]


def octal(value: int, form: int) -> bytes:
    """Eleven octal digits, and NUL or a space."""
    check(value < 1 << 33, "header columns: a number that is too large")
    return b"%011o" % value + (b" " if form == SPACE_AFTER else b"\0")


def read_extended(c: HeaderColumns, part: int, said: Said) -> tuple[HeaderBlock, bytes, bytes]:
    """An extended header: its block, what its name is made of, its text."""
    profile, rest, link = c.profiles[next(c.extended_profile)], next(c.rest), next(c.link)
    own = Said()
    text = read_pax_text(c, own) if part == PAX else read_long_text(c, profile, own)
    check(len(text) <= MAX_EXTENDED, f"{c.what}: beyond the limit")
    size_form, mtime_form, literal_check = split_form(next(c.extended_form))
    check(size_form in (LITERAL, FOLLOWS), f"{c.what}: an unknown form")
    size = octal(len(text), NUL_AFTER) if size_form == FOLLOWS else c.literals.take(12)
    before = c.last.get(b"extended", 0)
    mtime = read_mtime(c, mtime_form, b"extended", own.seconds, before)
    checksum = c.literals.take(8) if literal_check else b""
    for name in ("name", "link", "seconds", "rounded"):
        if getattr(own, name) is not None:
            setattr(said, name, getattr(own, name))
    return HeaderBlock(profile, b"", link, rest, size, mtime, checksum), next(c.extended_name), text


def split_form(form: int) -> tuple[int, int, int]:
    """Forms of size and mtime, and whether the checksum is a literal."""
    check(form < 50, "header columns: an unknown form")
    return form % 5, form // 5 % 5, form // 25


def read_mtime(c: HeaderColumns, form: int, keyword: bytes, follows: int | None, last: int | None) -> bytes:
    """The field of a block."""
    if form == LITERAL:
        return c.literals.take(12)
    if form in (NUL_AFTER, SPACE_AFTER):
        return octal(c.time(keyword), form)
    value = follows if form == FOLLOWS else last
    check(value is not None, f"{c.what}: a time that repeats nothing")
    return octal(value or 0, NUL_AFTER)


def read_long_text(c: HeaderColumns, profile: bytes, said: Said) -> bytes:
    """The text of a GNU long name: the name and a NUL."""
    if profile[24:25] == b"L":
        said.name = next(c.name)
        return said.name + b"\0"
    said.link = next(c.link)
    return said.link + b"\0"


def read_pax_text(c: HeaderColumns, said: Said) -> bytes:
    """The records of a pax header."""
    out = b""
    for keyword in c.kinds[next(c.kind)]:
        if keyword == b"path":
            value = said.name = next(c.name)
        elif keyword == b"linkpath":
            value = said.link = next(c.link)
        elif keyword in TIMES:
            value = read_pax_time(c, keyword, said)
        else:
            value = next(c.value)
        size = len(keyword) + len(value) + 3
        while size != len(keyword) + len(value) + 3 + len(str(size)):
            size = len(keyword) + len(value) + 3 + len(str(size))
        out += b"%d %s=%s\n" % (size, keyword, value)
    return out


def read_pax_time(c: HeaderColumns, keyword: bytes, said: Said) -> bytes:
    """The value of a time, as it stands."""
    digits = next(c.digits) - 1
    check(digits <= 9, f"{c.what}: a time of {digits} digits")
    if digits < 0:
        value = next(c.value)
    else:
        seconds = c.time(keyword)
        value = b"%d.%0*d" % (seconds, digits, next(c.fraction)) if digits else b"%d" % seconds
    whole, _, part = value.partition(b".")
    if keyword == b"mtime" and value.replace(b".", b"", 1).isdigit() and whole:
        said.seconds, said.rounded = int(whole), int(whole) + (part[:1] >= b"5")
    return value


def read_main(c: HeaderColumns, said: Said) -> HeaderBlock:
    """The main block of a member."""
    profile, rest, form = c.profiles[next(c.main_profile)], next(c.rest), next(c.short_form)
    name = short_text(c.name, form % 3, said.name)
    link = short_text(c.link, form // 3, said.link)
    size_form, mtime_form, literal_check = split_form(next(c.main_form))
    check(size_form in (LITERAL, NUL_AFTER, SPACE_AFTER), f"{c.what}: an unknown form")
    size = octal(next(c.size), size_form) if size_form else c.literals.take(12)
    mtime = read_mtime(c, mtime_form, b"main", said.seconds, said.rounded)
    return HeaderBlock(profile, name, link, rest, size, mtime, c.literals.take(8) if literal_check else b"")


def short_text(column: Iterator[bytes], form: int, long: bytes | None) -> bytes:
    """A name: a text, or the beginning of a long one."""
    if form == 0:
        return next(column)
    check(long is not None and form < 3, "header columns: a name that repeats nothing")
    text = long or b""
    if form == 2:
        text = text.decode("utf-8", "surrogateescape").encode("ascii", "replace")
    return text[:100].rstrip(b"\0")


# What readers of tar make of header blocks ("Map", column 1) .........................................................

EXTENDED = (b"x", b"g", b"L", b"K", b"X")


def tar_number(text: bytes) -> int:
    """A size: octal digits, or base 256. 0 if it is neither, or none that a file has."""
    if text[:1] in (b"\x80", b"\xff"):
        value = int.from_bytes(text[1:], "big") - (256 ** (len(text) - 1) if text[0] == 0xFF else 0)
    else:
        digits = text.split(b"\0", 1)[0].strip()
        value = int(digits, 8) if digits.isdigit() and not set(digits) & set(b"89") else 0
    return value if 0 <= value < 1 << 63 else 0


def pax_records(text: bytes) -> list[tuple[bytes, bytes]]:
    """The records of a pax header, none if it has anything else."""
    found, at = [], 0
    while at < len(text):
        digits = text[at : at + 10].partition(b" ")[0]
        end = at + (int(digits) if digits.isdigit() else 0)
        keyword, equals, value = text[at + len(digits) + 1 : end - 1].partition(b"=")
        if not equals or end > len(text) or text[end - 1 : end] != b"\n":
            return []
        found.append((keyword, value))
        at = end
    return found


def extended_of(unit: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Types and texts of the extended headers of a member, and its main block."""
    found, at = [], 0
    while unit[at + 156 : at + 157] in EXTENDED and at + BLOCK < len(unit):
        size = tar_number(unit[at + 124 : at + 136])
        found.append((unit[at + 156 : at + 157], unit[at + BLOCK : at + BLOCK + size]))
        at += BLOCK + padded(size)
    return found, unit[at : at + BLOCK]


def tar_data_size(unit: bytes) -> int:
    """How many bytes of data the header blocks of a member speak of."""
    extended, main = extended_of(unit)
    kind, size = main[156:157], tar_number(main[124:136])
    name = main[:100].split(b"\0", 1)[0]
    if kind in (b"1", b"2", b"3", b"4", b"5", b"6") or (kind == b"\0" and name.endswith(b"/")):
        return 0
    if kind not in EXTENDED:
        for of, text in extended:
            for keyword, value in pax_records(text) if of in (b"x", b"X") else []:
                if keyword == b"size" and value.isdigit() and len(value) < 20:
                    size = int(value)
    return size if size < 1 << 63 else 0


def tar_name(unit: bytes) -> bytes:
    """The name of a member."""
    extended, main = extended_of(unit)
    long = b""
    for kind, text in extended:
        if kind == b"L":
            long = text.rstrip(b"\0")
        elif kind in (b"x", b"X"):
            names = [value for keyword, value in pax_records(text) if keyword in (b"path", b"GNU.sparse.name")]
            long = names[-1] if names else long
    name, prefix = main[:100].split(b"\0", 1)[0], main[345:500].split(b"\0", 1)[0]
    return long or (prefix + b"/" + name if prefix and main[257:263] == b"ustar\0" else name)


# ----------------------------------------------------------------------------------------------------------------------
# zllm-format.md: Frame
# ----------------------------------------------------------------------------------------------------------------------

STORE, LZ4, ZSTD, LLM, CM, PCM, IMAGE, TENSORS, REBUILD = range(9)


def read_frame(part: Part, row: FrameRow) -> bytes:
    """The payload of a frame; what stands before it is what the map says."""
    at = Cursor(part.body, f"frame at {part.offset}")
    said = (at.u8(), at.u8(), at.varint())
    payload = at.rest()
    mapped = (row.codec, row.slot, row.data_size, row.payload_size)
    check((*said, len(payload)) == mapped, f"{at.what}: not as in the map")
    return payload


def decode_frame(row: FrameRow, payload: bytes, model: Callable[[], Model], what: str) -> bytes:
    """The data of a frame, whose hashes hold."""
    size = row.data_size
    decoders: dict[int, Callable[[], bytes]] = {
        STORE: lambda: payload,
        LZ4: lambda: unlz4(payload, size),
        ZSTD: lambda: unzstd(payload, size),
        LLM: lambda: decode_llm(payload, size, row.boundaries, model()),
        CM: lambda: decode_cm(payload, size, row.boundaries),
        PCM: lambda: decode_pcm(payload, size),
        IMAGE: lambda: decode_image(payload, size),
        TENSORS: lambda: decode_tensors(payload, size),
        REBUILD: lambda: decode_rebuild(payload, size),
    }
    if row.codec == ZSTD:
        allow(size, 1 << 17, 1 << 15, len(payload), what)
    data = decoders[row.codec]()
    check(len(data) == size, f"{what}: of another size")
    digest = hashlib.sha256(data).digest()
    check(digest.startswith(row.sha256), f"{what}: its data has another SHA-256")
    for start, end, said in row.runs:
        check(hashlib.sha256(data[start:end]).digest()[:4] == said, f"{what}: a run has another SHA-256")
    return data


def unlz4(payload: bytes, size: int) -> bytes:
    """One lz4 block."""
    import lz4.block  # type: ignore[import-untyped, unused-ignore]

    allow(size, 64, 255, len(payload), "lz4 block")
    try:
        return bytes(lz4.block.decompress(payload, uncompressed_size=size))
    except lz4.block.LZ4BlockError as exc:
        raise DamagedError(f"lz4 block: {exc}") from None


def decode_llm(payload: bytes, size: int, boundaries: list[int], model: Model) -> bytes:
    """Repeats are taken out, and the streams have what is left."""
    at = Cursor(payload, "llm payload")
    count = at.varint()
    check(count <= 1 + size // 256, "llm payload: too many repeats")
    repeats, literals, end = [], size, 0
    for _ in range(count):
        gap, length, distance = at.varint(), at.varint() + 1, at.varint() + 1
        end += gap + length
        literals -= length
        check(end <= size and distance <= end - length, "llm payload: a repeat of nothing")
        repeats.append((gap, length, distance))
    streams = at.varint() + 1
    check(streams <= MAX_STREAMS, "llm payload: too many streams")
    sizes = [at.varint() for _ in range(streams - 1)]
    sizes.append(literals - sum(sizes))
    check(min(sizes) > 0, "llm payload: a stream of nothing")
    code = at.rest()
    allow(literals, 4096, 4096, len(code), at.what)
    check(streams <= 16 + len(code) // 512, "llm payload: too many streams")
    text = decode_text(model, code, sizes, sorted({left_before(repeats, boundary) for boundary in boundaries}))
    return put_repeats_back(text, repeats)


def left_before(repeats: list[tuple[int, int, int]], boundary: int) -> int:
    """How many bytes of what is left are before a place in the data."""
    left = end = 0
    for gap, length, _ in repeats:
        if boundary <= end + gap:
            break
        left, end = left + gap, end + gap + length
        if boundary <= end:
            return left
    return left + boundary - end


def put_repeats_back(text: bytes, repeats: list[tuple[int, int, int]]) -> bytes:
    """The data of a frame: so much of the text, a repeat, and so on."""
    out, at = bytearray(), 0
    for gap, length, distance in repeats:
        out += text[at : at + gap]
        at += gap
        for _ in range(length):
            out.append(out[-distance])
    return bytes(out + text[at:])


# ----------------------------------------------------------------------------------------------------------------------
# zllm-format.md: Model
# ----------------------------------------------------------------------------------------------------------------------


def read_model_part(part: Part) -> tuple[bytes, dict[str, Any]]:
    """A model file that the archive carries, and what the part says of it."""
    at = Cursor(part.body, f"model at {part.offset}")
    codec, size, sha256 = at.u8(), at.varint(), at.take(32)
    coded = at.rest()
    check(codec in (STORE, ZSTD) and size <= MAX_MODEL and len(coded) <= size, f"{at.what}: impossible")
    check(size <= MAX_MODEL_RATIO * len(coded), f"{at.what}: beyond the limit")
    data = unzstd(coded, size) if codec == ZSTD else coded
    check(len(data) == size and hashlib.sha256(data).digest() == sha256, f"{at.what}: another SHA-256")
    return data, {"codec": codec, "size": size, "sha256": sha256.hex()}


# ----------------------------------------------------------------------------------------------------------------------
# zllm-format.md: Directory
# ----------------------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """What a directory says of a section."""

    offset: int
    number: int
    members: int
    length: int
    frames: int = 0
    frames_size: int = 0
    header: SectionHeader | None = None
    names: bytes | None = None


@dataclass
class Directory:
    """What ends a generation."""

    generation: int
    time: int
    back: int
    rows: list[Row]
    others: list[tuple[int, int, int, int, int]]  # kind, flags, offset, number, length
    deleted: list[bytes]
    manifest: dict[str, Any]


def read_directory(part: Part) -> Directory:
    """The directory of one generation."""
    at = Cursor(part.body, f"directory at {part.offset}")
    models = [read_model_ref(at) for _ in range(at.varint())]
    size, coded_size = at.varint(), at.varint()
    check(size <= MAX_DIRECTORY, f"{at.what}: beyond the limit")
    allow(size, 8192, 64, len(part.body), at.what)
    text = Cursor(inflate(at.take(coded_size), size, at.what), at.what)
    generation, time, back = text.varint(), text.varint(), text.varint()
    rows = [read_row(text, models) for _ in range(text.varint())]
    others = []
    for _ in range(text.varint()):
        others.append((text.u8(), text.u8(), text.varint(), text.varint(), text.varint()))
    count = text.varint()
    check(count <= MAX_DELETED, f"{at.what}: beyond the limit")
    deleted = [text.take(text.varint()) for _ in range(count)]
    check(deleted == sorted(set(deleted)), f"{at.what}: deleted names are not in order")
    manifest = read_manifest(text.rest())
    if at.at < len(part.body):
        for row in rows:
            row.names = at.take(row.members)
    at.end()
    return Directory(generation, time, back, rows, others, deleted, manifest)


def read_row(text: Cursor, models: list[ModelRef]) -> Row:
    """The row of a section."""
    row = Row(text.varint(), text.varint(), text.varint(), text.varint())
    if row.length:
        row.frames, row.frames_size = text.varint(), text.varint()
        fields = read_section_fields(text)
        places = [text.varint() for _ in range(text.varint())]
        check(all(place < len(models) for place in places), f"{text.what}: a model that is not there")
        row.header = SectionHeader(*fields, tuple(models[place] for place in places))
    return row


def read_manifest(text: bytes) -> dict[str, Any]:
    """A JSON object."""
    check(len(text) <= MAX_MANIFEST, "manifest: beyond the limit")
    try:
        found = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        raise DamagedError("manifest: it is not JSON") from None
    check(isinstance(found, dict), "manifest: it is not an object")
    return dict(found)


def has_name(names: bytes, name: bytes, seed: int) -> bool:
    """Whether a filter of names has the five bits of a name."""
    digest = int(xxhash.xxh3_64_intdigest(name, seed))
    low, high = digest & MASK32, digest >> 32 | 1
    bits = [((low + i * high) & MASK32) * 8 * len(names) >> 32 for i in range(5)]
    return all(names[bit // 8] >> bit % 8 & 1 for bit in bits)


# ----------------------------------------------------------------------------------------------------------------------
# zllm-format.md: Footer
# ----------------------------------------------------------------------------------------------------------------------


def read_footer(part: Part) -> int:
    """How many bytes before the footer the directory begins."""
    at = Cursor(part.body, f"footer at {part.offset}")
    distance = at.varint()
    at.end()
    return distance


# ----------------------------------------------------------------------------------------------------------------------
# arithmetic.md: 2. Functions
# ----------------------------------------------------------------------------------------------------------------------

ARITHMETIC = 7
Vector = list[int]
Scale = tuple[int, int]  # m and e of m * 2^-e


def clamp(x: int, most: int) -> int:
    """``x`` limited to [-most, most]."""
    return most if x > most else -most if x < -most else x


def clamp_row(x: Vector, most: int) -> Vector:
    """Each of ``x`` limited to [-most, most]."""
    return x if -most <= min(x) and max(x) <= most else [clamp(v, most) for v in x]


RSQRT = [0] * 64 + [16 * math.isqrt((1 << 61) // (2 * i + 1)) for i in range(64, 256)]


def rsqrt(x: int) -> Scale:
    """1 / sqrt(x)."""
    k = (32 - x.bit_length()) & ~1
    y = x << k if k >= 0 else x >> -k
    r = RSQRT[y >> 24]
    for _ in range(2):
        r = r * ((3 * 2**62 - y * (r * r >> 30)) >> 32) >> 31
    return min(r, 1 << 31), 46 - k // 2


def power(d: int) -> int:
    """The p of exp2 and weight."""
    f = (d & 0xFFFF) >> 1
    p = 7575 - (f * 1298 >> 15)
    p = 22662 - (f * p >> 15)
    return 32767 - (f * p >> 15)


def exp2(d: int) -> int:
    """2^-d."""
    return power(d) >> min(d >> 16, 31)


def weight(d: int) -> int:
    """How much a token weighs whose logit is d below the largest one."""
    return 1 + ((power(d) << 11) >> min(d >> 16, 31))


def sigmoid(x: int) -> int:
    """1 / (1 + e^-x)."""
    z = (4 * min(abs(x), 8191) * 23637 + 16384) >> 15
    t = (z * 1514 + 16384) >> 15
    t = (z * (t - 7793) + 16384) >> 15
    t = 32767 - ((z * (22710 + t) + 16384) >> 15)
    for _ in range(4):
        t = (t * t + 16384) >> 15
    c, w = 2 * t - 32767, -110
    for k in (321, -798, 2407, -7283, 21845):
        w = k + ((c * w + 16384) >> 15)
    return 32768 - w if x < 0 else w


def gelu(g: int) -> int:
    """x * sigmoid(1.59577 (x + 0.044715 x^3))."""
    c = g * g >> 10
    return g * sigmoid(g * (1673285 + (c * 74821 >> 10)) >> 20)


SINE = [max(-32767, min(32767, math.floor(32768 * math.sin(2 * math.pi * i / 1024) + 0.5))) for i in range(1025)]


def sine(phase: int) -> int:
    """Of a phase in 2^-32 turns."""
    i, f = phase >> 22 & 1023, phase >> 12 & 1023
    return (SINE[i] * (1024 - f) + SINE[i + 1] * f + 512) >> 10


def quantise(x: Vector, fraction: int | None, *, wide: bool = False) -> tuple[Vector, Scale]:
    """A row, plain with so many fractional bits, or normalised (None)."""
    a = max(*x, -min(x))
    if a == 0:
        return [0] * len(x), (1 << 15, 40 if fraction is None else 62)
    s = 31 - a.bit_length()
    c = 127 * 2**54 // (a << s) << s
    half, shift = (1 << 46, 47) if wide else (1 << 53, 54)
    q = [(v * c + half) >> shift for v in x]
    if fraction is None:
        return q, norm(q)
    t = (a << s) // 127
    drop = 9 if t >= 1 << 24 else 8
    return q, (t >> drop, s + fraction - drop + (7 if wide else 0))


def norm(q: Vector) -> Scale:
    """1 over the root mean square of a row."""
    total = sum(map(mul, q, q))
    if not total:
        return 1 << 15, 40
    r, e = rsqrt((total << 20) // len(q))
    return min(r >> 15, 65535), e - 25


def product(a: Scale, b: Scale) -> Scale:
    """Of two scales."""
    m, e = a[0] * b[0] >> 15, a[1] + b[1] - 15
    return (m >> 1, e - 1) if m >= 1 << 16 else (m, e)


@dataclass
class Matrix:
    """A linear map: of each row its weights, 128 more than they are (bytes are the quickest list of small numbers)."""

    rows: list[bytes]
    scales: Vector
    exponent: int
    bias: Vector | None

    def map(self, q: Vector, scale: Scale, fraction: int, *, wide: bool = False, part: range | None = None) -> Vector:
        """The row ``q`` mapped to a vector with so many fractional bits; only ``part`` of it."""
        part = range(len(self.rows)) if part is None else part
        m, e = scale
        s = max(1, min(62, self.exponent + e - 15 - fraction))
        half, excess, most = 1 << (s - 1), 128 * sum(q), (1 << 30) - 1
        rows, scales = self.rows[part.start : part.stop], self.scales[part.start : part.stop]
        sums = [sum(map(mul, row, q)) - excess for row in rows]
        out = [(acc * (w * m >> 15) + half) >> s for acc, w in zip(sums, scales, strict=True)]
        if wide or s + 14 < (len(q) * 127 * 127).bit_length():
            out = clamp_row(out, most)
        if self.bias is not None:
            out = clamp_row([v + b for v, b in zip(out, self.bias[part.start : part.stop], strict=True)], most)
        return out


# ----------------------------------------------------------------------------------------------------------------------
# model-format.md
# ----------------------------------------------------------------------------------------------------------------------

CONFIG: dict[str, int | None] = {
    "vocab": None, "dim": None, "layers": None, "heads": None, "kv_heads": None, "head_dim": None, "ffn": None,
    "window": None, "qk": 0, "mlp": 0, "parallel": 0, "positions": 0, "embed_rows": 0, "wide_head": 0, "classes": 0,
    "pair_bits": 0, "nibbles": 0,
}  # fmt: skip
LAYER: dict[str, int | None] = {
    "temperature": None, "temperature_exponent": None, "v_shift": None, "up_frac": None, "k_frac": 18, "wide": 0,
    "window": 0, "residual_scale": 8192, "embed_scale": 0, "pair_scale": 0,
}  # fmt: skip
RANGES = {
    "temperature": (32768, 65535), "temperature_exponent": (-32, 64), "v_shift": (0, 40), "up_frac": (0, 12),
    "k_frac": (0, 30), "wide": (0, 15), "window": (0, 4096), "residual_scale": (-32767, 32767),
    "embed_scale": (-32767, 32767), "pair_scale": (-32767, 32767),
}  # fmt: skip


def whole(value: object, what: str) -> int:
    """An integer of JSON."""
    check(isinstance(value, int) and not isinstance(value, bool), f"model: {what} is not an integer")
    return int(str(value))


def fields_of(given: dict[str, Any], known: dict[str, int | None], what: str) -> dict[str, int]:
    """The fields of a config or layer; missing ones have their defaults."""
    for name in given:
        check(name in known, f"model: unknown field {name} of {what}")
    found = {}
    for name, default in known.items():
        check(name in given or default is not None, f"model: {what} has no {name}")
        found[name] = whole(given.get(name, default), name)
    return found


def json_object(text: bytes | str) -> dict[str, Any]:
    """A JSON object, in which no name is there twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        check(len(dict(pairs)) == len(pairs), "model: a name is there twice")
        return dict(pairs)

    try:
        found = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise DamagedError("model: its description is not JSON") from None
    check(isinstance(found, dict), "model: its description is not an object")
    return dict(found)


class Tensors:
    """The tensors of a file, each of which has to be asked for."""

    def __init__(self, data: bytes) -> None:
        check(len(data) >= 8, "model: too short")
        size = int.from_bytes(data[:8], "little")
        check(2 <= size <= 1 << 22 and 8 + size <= len(data), "model: impossible size of its description")
        listed = json_object(data[8 : 8 + size])
        self.metadata = listed.pop("__metadata__", {})
        self._data, self._listed = data[8 + size :], listed
        self._check_cover()

    def _check_cover(self) -> None:
        """The tensors cover all of the data, without overlapping."""
        try:
            spans = sorted((one["data_offsets"][0], one["data_offsets"][1]) for one in self._listed.values())
            check(all(type(v) is int for span in spans for v in span), "model: impossible tensors")
        except (KeyError, TypeError, IndexError):
            raise DamagedError("model: impossible tensors") from None
        end = 0
        for start, stop in spans:
            check(start == end <= stop, "model: its tensors do not cover its data")
            end = stop
        check(end == len(self._data), "model: its tensors do not cover its data")

    def has(self, name: str) -> bool:
        """Whether there is such a tensor."""
        return name in self._listed

    def take(self, name: str, dtype: str, *shape: int) -> bytes:
        """The data of a tensor; -1 in its shape is any number."""
        check(name in self._listed, f"model: it has no {name}")
        one = self._listed.pop(name)
        start, stop = one["data_offsets"]
        said = one.get("shape")
        fits = isinstance(said, list) and len(said) == len(shape)
        check(fits and all(b in (-1, a) for a, b in zip(said, shape, strict=True)), f"model: {name} has another shape")
        size = {"U8": 1, "I8": 1, "I16": 2, "I32": 4, "U32": 4}[dtype]
        check(one.get("dtype") == dtype and math.prod(said) * size == stop - start, f"model: {name} is of another type")
        return self._data[start:stop]

    def numbers(self, name: str, dtype: str, *shape: int) -> Vector:
        """The numbers of a tensor."""
        data = self.take(name, dtype, *shape)
        return [value for (value,) in struct.iter_unpack("<" + {"I16": "h", "I32": "i", "U32": "I"}[dtype], data)]

    def scales(self, name: str, count: int) -> Vector:
        """Scales of rows, at least 1."""
        found = self.numbers(name, "I16", count)
        check(min(found) >= 1, f"model: {name} is out of range")
        return found

    def rows(self, name: str, count: int, size: int) -> list[bytes]:
        """Rows of weights, each 128 more than it is."""
        data = self.take(name, "I8", count, size).translate(ABOVE)
        check(0 not in data, f"model: {name} has a weight of -128")
        return [data[start : start + size] for start in range(0, count * size, size)]

    def end(self) -> None:
        """All tensors are known."""
        check(not self._listed, f"model: unknown tensor {next(iter(self._listed), '')}")


ABOVE = bytes(byte ^ 128 for byte in range(256))


@dataclass
class Table:
    """Rows that are looked up."""

    rows: list[bytes]
    scales: Vector
    exponent: int
    nibbles: bool = False

    def row(self, number: int) -> Vector:
        """A row, with 12 fractional bits."""
        scale, half, shift = self.scales[number], 1 << (self.exponent - 13), self.exponent - 12
        if not self.nibbles:
            return [((byte - 128) * scale + half) >> shift for byte in self.rows[number]]
        pairs = ((byte ^ 128) for byte in self.rows[number])
        values = [((nibble ^ 8) - 8) for byte in pairs for nibble in (byte & 15, byte >> 4)]
        return [(value * scale + half) >> shift for value in values]


@dataclass
class Layer:
    """The weights of one layer, and its fields."""

    qkv: Matrix
    o: Matrix
    gate_up: Matrix
    down: Matrix
    q_gain: tuple[Vector, int] | None
    k_gain: tuple[Vector, int] | None
    values: Table | None
    fields: dict[str, int]


class Model:
    """A model file, checked and taken apart."""

    def __init__(self, data: bytes) -> None:
        self.sha256 = hashlib.sha256(data).digest()
        self.answers: set[bytes] = set()  # known answers that were checked
        tensors = Tensors(data)
        said = json_object(str(tensors.metadata.get("zllm", "")))
        for name in said:
            known = ("format", "name", "origin", "arithmetic", "config", "exponents", "layers", "tokenizer")
            check(name in known, f"model: unknown field {name}")
        check(said.get("format") == 1, "model: not of format 1")
        if said.get("arithmetic") != ARITHMETIC:
            raise UnsupportedError(f"model: for arithmetic {said.get('arithmetic')}")
        config = dict(said.get("config", {}))
        if config.pop("family", "transformer") != "transformer":
            raise UnsupportedError("model: of another family than transformer")
        config.pop("rope_theta", None)
        self.config = fields_of(config, CONFIG, "config")
        check_config(self.config)
        self.exponents: dict[str, int] = dict(said.get("exponents", {}))
        layers = said.get("layers", [])
        check(len(layers) == self.config["layers"], "model: another number of layers")
        self._read(tensors, [fields_of(layer, LAYER, "a layer") for layer in layers])
        tensors.end()
        check(not self.exponents, f"model: unknown exponent {next(iter(self.exponents), '')}")

    def exponent(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """The exponent of a tensor."""
        check(name in self.exponents or default is not None, f"model: no exponent of {name}")
        value = whole(self.exponents.pop(name, default), name)
        check(low <= value <= high, f"model: the exponent of {name} is out of range")
        return value

    def _matrix(self, t: Tensors, name: str, rows: int, columns: int) -> Matrix:
        """A linear map, with its bias if there is one."""
        q, scales = t.rows(f"{name}.q", rows, columns), t.scales(f"{name}.scale", rows)
        bias = t.numbers(f"{name}.bias", "I32", rows) if t.has(f"{name}.bias") else None
        check(bias is None or max(map(abs, bias)) < 1 << 30, f"model: the bias of {name} is out of range")
        return Matrix(q, scales, self.exponent(name, -64, 64), bias)

    def _table(self, t: Tensors, name: str, rows: int, columns: int, *, nibbles: int) -> Table:
        """Rows that are looked up."""
        size = columns // 2 if nibbles else columns
        if nibbles:
            data = t.take(f"{name}.q", "I8", rows, size).translate(ABOVE)
            q = [data[start : start + size] for start in range(0, rows * size, size)]
        else:
            q = t.rows(f"{name}.q", rows, size)
        return Table(q, t.scales(f"{name}.scale", rows), self.exponent(name, 13, 40), bool(nibbles))

    def _read(self, t: Tensors, layers: list[dict[str, int]]) -> None:
        """All tensors."""
        c = self.config
        vocab, dim, inner = c["vocab"], c["dim"], c["head_dim"]
        self.tokens = read_tokens(t, vocab)
        if t.has("tokenizer.json"):
            t.take("tokenizer.json", "U8", -1)
        self.head = self._matrix(t, "head", vocab, dim)
        rows = c["embed_rows"] or vocab
        q = t.rows("embed.q", rows, dim) if c["embed_rows"] else self.head.rows
        self.embed = Table(q, t.scales("embed.scale", rows), self.exponent("embed", 13, 40, 16))
        places = t.numbers("positions", "I32", c["positions"], dim) if c["positions"] else []
        check(max(map(abs, places), default=0) <= 1 << 28, "model: positions are out of range")
        self.positions = [places[start : start + dim] for start in range(0, len(places), dim)]
        self.classes = t.numbers("classes", "U32", c["classes"]) if c["classes"] else []
        self.class_head = self._matrix(t, "class", c["classes"], dim) if c["classes"] else None
        pairs = c["pair_bits"]
        self.pairs = self._table(t, "pairs", 4 << pairs, dim // 4, nibbles=c["nibbles"] & 2) if pairs else None
        self.rope = t.numbers("rope.step", "U32", inner // 2)
        self.layers = [self._layer(t, f"layers.{number}", fields) for number, fields in enumerate(layers)]
        if self.classes:
            ends = [*self.classes[1:], vocab]
            ascending = all(a < b for a, b in zip(self.classes, ends, strict=True))
            check(self.classes[0] == 0 and ascending, "model: its classes do not ascend")

    def _layer(self, t: Tensors, name: str, fields: dict[str, int]) -> Layer:
        """One layer."""
        c = self.config
        for key, (low, high) in RANGES.items():
            check(low <= fields[key] <= high, f"model: {key} is out of range")
        check(fields["window"] % 32 == 0 and fields["window"] <= c["window"], "model: window is out of range")
        check(c["pair_bits"] > 0 or not fields["pair_scale"], "model: pair_scale without pairs")
        dim, ffn, heads, inner = c["dim"], c["ffn"], c["heads"] * c["head_dim"], c["kv_heads"] * c["head_dim"]
        qkv = self._matrix(t, f"{name}.qkv", heads + 2 * inner, dim)
        o = self._matrix(t, f"{name}.o", dim, heads)
        gate_up = self._matrix(t, f"{name}.gate_up", ffn if c["mlp"] else 2 * ffn, dim)
        down = self._matrix(t, f"{name}.down", dim, ffn)
        gains: list[tuple[Vector, int] | None] = [None, None]
        if c["qk"] == 2:
            for index, gain in enumerate((f"{name}.q_gain", f"{name}.k_gain")):
                numbers = t.numbers(gain, "I16", c["head_dim"])
                check(min(numbers) > -32768, f"model: {gain} is out of range")
                gains[index] = (numbers, self.exponent(gain, 0, 15))
        values = None
        if t.has(f"{name}.values.q"):
            rows = c["embed_rows"] or c["vocab"]
            values = self._table(t, f"{name}.values", rows, inner, nibbles=c["nibbles"] & 1)
        return Layer(qkv, o, gate_up, down, gains[0], gains[1], values, fields)


def check_config(c: dict[str, int]) -> None:
    """arithmetic.md: 3. Limits"""

    def within(name: str, low: int, high: int, step: int = 1) -> None:
        check(low <= c[name] <= high and c[name] % step == 0, f"model: {name} is out of range")

    within("vocab", 256, 1 << 18)
    within("dim", 32, 16384, 32)
    within("ffn", 32, 16384, 32)
    within("head_dim", 32, 256, 32)
    within("layers", 0, 256)
    within("heads", 1, 256)
    within("kv_heads", 1, 256)
    within("window", 32, 4096, 32)
    within("qk", 0, 2)
    for name in ("mlp", "parallel", "wide_head"):
        within(name, 0, 1)
    within("pair_bits", 0, 20)
    within("nibbles", 0, 3)
    check(c["heads"] % c["kv_heads"] == 0 and c["heads"] * c["head_dim"] <= 16384, "model: heads are out of range")
    check(c["embed_rows"] in (0, c["vocab"], c["vocab"] + 1), "model: embed_rows is out of range")
    if c["positions"]:
        within("positions", c["window"], 1 << 16, 32)
    if c["classes"]:
        within("classes", 2, min(1 << 16, c["vocab"]))


def read_tokens(t: Tensors, vocab: int) -> list[bytes]:
    """The vocabulary, in the order of bytes."""
    offsets, text = t.numbers("tokens.offsets", "U32", vocab + 1), t.take("tokens.bytes", "U8", -1)
    check(offsets[0] == 0 and offsets[-1] == len(text) and offsets == sorted(offsets), "model: impossible tokens")
    tokens = [text[a:b] for a, b in pairwise(offsets)]
    check(all(a < b for a, b in pairwise(tokens)), "model: tokens do not ascend")
    check(bool(tokens[0]) and max(map(len, tokens)) <= 1024, "model: a token is empty, or too long")
    check(sum(len(token) == 1 for token in tokens) == 256, "model: single bytes are missing")
    return tokens


def known_answer(model: Model) -> bytes:
    """The SHA-256 of what the model says to a text that every model knows."""
    digest, stream = hashlib.sha256(), Stream(model)
    number = {token: index for index, token in enumerate(model.tokens)}
    for token in (stream.start, *(number[bytes([byte])] for byte in b"zllm: known answer")):
        stream.feed(token)
        answer = Distribution(model, stream.last_row())
        sums = answer.all_sums()
        digest.update(struct.pack(f"<{len(sums)}Q", *sums))
    return digest.digest()


# ----------------------------------------------------------------------------------------------------------------------
# arithmetic.md: 4. The transformer
# ----------------------------------------------------------------------------------------------------------------------

MOST = (1 << 30) - 1
PAIRS = ((0x9E3779B1, 0x85EBCA77), (0xC2B2AE3D, 0x27D4EB2F), (0x165667B1, 0xD3A2646D), (0xFD7046C5, 0xB55A4F09))


class Cache:
    """Keys and values of one head of one layer, the oldest first; values by element."""

    def __init__(self, head_dim: int) -> None:
        self.keys: list[Vector] = []
        self.key_scales: Vector = []
        self.values: list[Vector] = [[] for _ in range(head_dim)]
        self.value_scales: Vector = []

    def add(self, key: Vector, key_scale: int, value: Vector, value_scale: int, window: int) -> None:
        """One more token; those that no one looks at any more are dropped at times."""
        self.keys.append(key)
        self.key_scales.append(key_scale)
        self.value_scales.append(value_scale)
        for column, element in zip(self.values, value, strict=True):
            column.append(element)
        if len(self.keys) >= 2 * window:
            lists: list[list[Any]] = [self.keys, self.key_scales, self.value_scales, *self.values]
            for kept in lists:
                del kept[:-window]


def to_14_bits(h: Vector) -> tuple[Vector, int]:
    """The elements of a head brought to 14 bits, and k."""
    k = max(*h, -min(h)).bit_length() - 14
    return ([v >> k for v in h] if k > 0 else [v << -k for v in h]), k


class Stream:
    """The state of the transformer for one stream."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.position = 0
        self.before = 0
        self.x: Vector = []
        c = model.config
        self.start = c["vocab"] if c["embed_rows"] == c["vocab"] + 1 else model.tokens.index(b"\0")
        self._restart()

    def _restart(self) -> None:
        c = self.model.config
        self.caches = [[Cache(c["head_dim"]) for _ in range(c["kv_heads"])] for _ in self.model.layers]
        self.position = 0

    def feed(self, token: int) -> None:
        """One token."""
        m = self.model
        if m.positions and self.position == len(m.positions):
            self._restart()
        x = m.embed.row(token)
        if m.positions:
            x = clamp_row([a + b for a, b in zip(x, m.positions[self.position], strict=True)], MOST)
        first, pair = x, self._pair(token)
        for layer, caches in zip(m.layers, self.caches, strict=True):
            scales = tuple(layer.fields[name] for name in ("residual_scale", "embed_scale", "pair_scale"))
            if scales != (8192, 0, 0):
                x = scaled(scales, x, first, pair)
            x = self._layer(layer, caches, x, token)
        self.x, self.before = x, token
        self.position += 1

    def _pair(self, token: int) -> Vector:
        """The row of a token and the one before it."""
        m, out = self.model, []
        if m.pairs is None:
            return [0] * m.config["dim"]
        bits = m.config["pair_bits"]
        for i, (a, b) in enumerate(PAIRS):
            out += m.pairs.row((i << bits) + (((token * a + self.before * b) & MASK32) >> (32 - bits)))
        return out

    def _layer(self, layer: Layer, caches: list[Cache], x: Vector, token: int) -> Vector:
        """Steps 1 to 9."""
        c, f = self.model.config, layer.fields
        wide = [bool(f["wide"] >> bit & 1) for bit in range(4)]
        heads = self._attend(layer, caches, x, token, wide=wide[0])
        q, scale = quantise(heads, 39 - f["v_shift"], wide=wide[1])
        read = x
        x = clamp_row([a + b for a, b in zip(x, layer.o.map(q, scale, 12, wide=wide[1]), strict=True)], MOST)
        q, scale = quantise(read if c["parallel"] else x, None, wide=wide[2])
        if c["mlp"]:
            g = layer.gate_up.map(q, scale, 10, wide=wide[2])
            h, fraction = [gelu(clamp(v, 32767)) for v in g], 25
        else:
            g = layer.gate_up.map(q, scale, 10, wide=wide[2], part=range(c["ffn"]))
            up = layer.gate_up.map(q, scale, f["up_frac"], wide=wide[2], part=range(c["ffn"], 2 * c["ffn"]))
            g, up = clamp_row(g, 32767), clamp_row(up, 32767)
            h = [((a * sigmoid(a) + 16384) >> 15) * b for a, b in zip(g, up, strict=True)]
            fraction = 10 + f["up_frac"]
        q, scale = quantise(h, fraction, wide=wide[3])
        return clamp_row([a + b for a, b in zip(x, layer.down.map(q, scale, 12, wide=wide[3]), strict=True)], MOST)

    def _attend(self, layer: Layer, caches: list[Cache], x: Vector, token: int, *, wide: bool) -> Vector:
        """Steps 1 to 6: the output of all heads."""
        c, f, n = self.model.config, layer.fields, self.model.config["head_dim"]
        q, scale = quantise(x, None, wide=wide)
        mapped = layer.qkv.map(q, scale, 12, wide=wide)
        heads = [mapped[start : start + n] for start in range(0, len(mapped), n)]
        queries, keys = heads[: c["heads"]], heads[c["heads"] : c["heads"] + c["kv_heads"]]
        values = mapped[(c["heads"] + c["kv_heads"]) * n :]
        if layer.values is not None:
            added = zip(values, layer.values.row(token), strict=True)
            values = clamp_row([a + b for a, b in added], MOST)
        phases = [self.position * step & MASK32 for step in self.model.rope]
        turns = [(sine(phase + (1 << 30) & MASK32), sine(phase)) for phase in phases]
        window = f["window"] or c["window"]
        for number, (key, cache) in enumerate(zip(keys, caches, strict=True)):
            k, (m, e) = self._turned(key, turns, layer.k_gain)
            kept = 32767 if e < f["k_frac"] else min(m >> min(e - f["k_frac"], 31), 32767)
            value = values[number * n : number * n + n]
            v, _ = quantise(value, 0)
            a = max(*value, -min(value))
            cache.add(k, kept, v, min(a * 66052 >> f["v_shift"], 32767), window)
        out: Vector = []
        for number, query in enumerate(queries):
            h, scale = self._turned(query, turns, layer.q_gain)
            scale = product(scale, (f["temperature"], f["temperature_exponent"]))
            out += attention(h, scale, caches[number // (c["heads"] // c["kv_heads"])], window, f["k_frac"])
        return out

    def _turned(self, h: Vector, turns: list[Scale], gain: tuple[Vector, int] | None) -> tuple[Vector, Scale]:
        """Step 3: a query or key, rotated and quantised."""
        qk = self.model.config["qk"]
        if qk == 0:
            rotated, _ = rotate(h, turns)
            return quantise(rotated, None)
        if qk == 1:
            rotated, k = rotate(h, turns)
            return quantise(rotated, 12 - k)
        small, _ = to_14_bits(h)
        of = norm(small)
        numbers, exponent = gain or ([], 0)
        rotated, k = rotate([a * b for a, b in zip(small, numbers, strict=True)], turns)
        q, scale = quantise(rotated, exponent - k)
        return q, product(scale, of)

    def last_row(self) -> tuple[Vector, Scale, bool]:
        """What the head maps."""
        wide = bool(self.model.config["wide_head"])
        return (*quantise(self.x, None, wide=wide), wide)


def scaled(scales: tuple[int, ...], x: Vector, first: Vector, pair: Vector) -> Vector:
    """The residual before a layer."""
    a, b, c = scales
    x, first, pair = (clamp_row(v, (1 << 27) - 1) for v in (x, first, pair))
    return clamp_row([(a * u + b * v + c * w + 4096) >> 13 for u, v, w in zip(x, first, pair, strict=True)], MOST)


def rotate(h: Vector, turns: list[Scale]) -> tuple[Vector, int]:
    """Step 2."""
    h, k = to_14_bits(h)
    half = len(h) // 2
    pairs = list(zip(h[:half], h[half:], turns, strict=True))
    front = [(a * c - b * s + 16384) >> 15 for a, b, (c, s) in pairs]
    return front + [(b * c + a * s + 16384) >> 15 for a, b, (c, s) in pairs], k


def attention(h: Vector, scale: Scale, cache: Cache, window: int, k_frac: int) -> Vector:
    """Steps 5 and 6 of one head."""
    m, e = scale
    keys, kept = cache.keys[-window:], cache.key_scales[-window:]
    s = max(1, min(62, k_frac + e - 15 - 16))
    half = 1 << (s - 1)
    scores = [(sum(map(mul, key, h)) * (w * m >> 15) + half) >> s for key, w in zip(keys, kept, strict=True)]
    if s + 14 < (len(h) * 127 * 127).bit_length():
        scores = clamp_row(scores, MOST)
    most = max(scores)
    e_of = [exp2(most - score) for score in scores]
    c = (1 << 38) // sum(e_of)
    w_of = [(a * v + 16384) >> 15 for a, v in zip(e_of, cache.value_scales[-window:], strict=True)]
    return [(c * sum(map(mul, w_of, column[-window:])) + (1 << 18)) >> 19 for column in cache.values]


# ----------------------------------------------------------------------------------------------------------------------
# arithmetic.md: 5. Probabilities
# ----------------------------------------------------------------------------------------------------------------------


def prefix_sums(logits: Vector) -> Vector:
    """Of the weights: 0 first, the total last."""
    most = max(logits)
    return list(accumulate(map(weight, [most - logit for logit in logits]), initial=0))


class Distribution:
    """What the transformer says about the next token."""

    def __init__(self, model: Model, row: tuple[Vector, Scale, bool]) -> None:
        self.model = model
        self.q, self.scale, self.wide = row
        self._parts: dict[int, Vector] = {}
        top = model.class_head or model.head
        self.sums = prefix_sums(top.map(self.q, self.scale, 16, wide=self.wide))

    def _part(self, index: int) -> Vector:
        """The prefix sums of the tokens of a class."""
        if index not in self._parts:
            starts = [*self.model.classes, self.model.config["vocab"]]
            part = range(starts[index], starts[index + 1])
            self._parts[index] = prefix_sums(self.model.head.map(self.q, self.scale, 16, wide=self.wide, part=part))
        return self._parts[index]

    def all_sums(self) -> Vector:
        """For the known answer: one sum runs through classes, if there are any, and then through all tokens."""
        weights = [b - a for index in range(len(self.model.classes)) for a, b in pairwise(self._part(index))]
        return [*self.sums, *(self.sums[-1] + total for total in accumulate(weights))]

    def probability(self, low: int, split: int, high: int) -> int:
        """That the token is at or above the split, of those from low to high - 1."""
        sums = self.sums
        if self.model.classes:
            first, last = (bisect.bisect_right(self.model.classes, token) - 1 for token in (low, high - 1))
            if first != last:
                low, split, high = (bisect.bisect_left(self.model.classes, token) for token in (low, split, high))
            else:
                sums, start = self._part(first), self.model.classes[first]
                low, split, high = low - start, split - start, high - start
        total, above = sums[high] - sums[low], sums[high] - sums[split]
        k = max(0, total.bit_length() - 40)
        return max(1, min((1 << 24) - 1, ((above >> k) << 24) // (total >> k)))


# ----------------------------------------------------------------------------------------------------------------------
# arithmetic.md: 6. The range coder
# ----------------------------------------------------------------------------------------------------------------------


class RangeDecoder:
    """Decodes decisions from a code string, which has zeros past its end."""

    def __init__(self, code: bytes) -> None:
        self.string, self.at = code + bytes(8), 8
        self.range, self.code = MASK64, int.from_bytes(self.string[:8], "big")

    def _fill(self) -> None:
        while self.range < 1 << 56:
            byte = self.string[self.at] if self.at < len(self.string) else 0
            self.at += 1
            self.range, self.code = self.range << 8, (self.code << 8 | byte) & MASK64

    def bit(self, p: int) -> int:
        """A decision, whose probability of a one is p in 2^-24."""
        b = (self.range >> 24) * p
        bit = self.code < b
        if bit:
            self.range = b
        else:
            self.code -= b
            self.range -= b
        if self.range < 1 << 56:
            self._fill()
        return int(bit)

    def bits(self, count: int) -> int:
        """A number of ``count`` bits of which nothing is known (media.md)."""
        if count > 16:
            high = self.bits(count - 16)
            return high << 16 | self.bits(16)
        self.range >>= count
        found = min(self.code // self.range, (1 << count) - 1)
        self.code -= found * self.range
        self._fill()
        return found


# ----------------------------------------------------------------------------------------------------------------------
# arithmetic.md: 8. Frames
# ----------------------------------------------------------------------------------------------------------------------


class Trie:
    """Where ranges of tokens are split."""

    def __init__(self, tokens: list[bytes]) -> None:
        self.tokens = tokens
        self._splits: dict[tuple[int, int, int], int] = {}

    def split(self, low: int, high: int, bit: int) -> int:
        """The first token from low to high - 1 whose bit, counted from the first byte's highest, is one."""
        key = (low, high, bit)
        if key not in self._splits:
            depth, place = bit // 8, 7 - bit % 8
            start = low
            while start < high:
                middle = (start + high) // 2
                if self.tokens[middle][depth] >> place & 1:
                    high = middle
                else:
                    start = middle + 1
            self._splits[key] = start
        return self._splits[key]


class Turns:
    """One stream of a frame: its transformer, its cursor, and how far it is."""

    def __init__(self, model: Model, predictor: Predictor, number: int, size: int, cuts: list[int]) -> None:
        self.stream, self.cursor = Stream(model), Pointer(predictor, number)
        self.model, self.size, self.cuts = model, size, cuts
        self.text = bytearray()
        self.token = self.stream.start

    def turn(self, trie: Trie, coder: RangeDecoder) -> None:
        """Feed the last token, then pass a cut, or decode a token."""
        self.stream.feed(self.token)
        if self.cuts and self.cuts[0] == len(self.text):
            del self.cuts[0]
            self.cursor.cut()
            self.token = self.stream.start
            return
        self.token = walk(trie, Distribution(self.model, self.stream.last_row()), self.cursor, coder)
        self.text += self.model.tokens[self.token]
        end = self.cuts[0] if self.cuts else self.size
        check(len(self.text) <= end, "llm payload: a token runs over an end")


def walk(trie: Trie, says: Distribution, cursor: Pointer, coder: RangeDecoder) -> int:
    """The walk of a token through the byte trie."""
    low, high, done, depth = 0, len(trie.tokens), 0, 0
    while high - low > 1:
        if depth and len(trie.tokens[low]) == depth:
            done = skip_to(cursor, trie.tokens[low], done, 8 * depth)
            f = cursor.flag((1 << 24) - says.probability(low, low + 1, high))
            goes_on = coder.bit((1 << 24) - f)
            cursor.update_flag(1 - goes_on)
            low, high = (low + 1, high) if goes_on else (low, low + 1)
        for bit in range(8 * depth, 8 * depth + 8):
            if high - low == 1:
                break
            split = trie.split(low, high, bit)
            if low < split < high:
                done = skip_to(cursor, trie.tokens[low], done, bit)
                one = coder.bit(cursor.bit(says.probability(low, split, high)))
                cursor.update(one)
                done = bit + 1
                low, high = (split, high) if one else (low, split)
        depth += 1
    skip_to(cursor, trie.tokens[low], done, 8 * len(trie.tokens[low]))
    cursor.token(low)
    return low


def skip_to(cursor: Pointer, token: bytes, done: int, to: int) -> int:
    """Give the cursor the bits of a token from done to to - 1 as certain."""
    for bit in range(done, to):
        cursor.skip(token[bit // 8] >> (7 - bit % 8) & 1)
    return max(done, to)


def decode_text(model: Model, code: bytes, sizes: list[int], starts: list[int]) -> bytes:
    """The text of a frame. ``starts``: where documents begin in it."""
    streams = decode_streams(model, code, sizes, starts, None)
    return b"".join(bytes(stream) for stream in streams)


def decode_streams(
    model: Model, code: bytes, sizes: list[int], starts: list[int], steps: int | None
) -> list[bytearray]:
    """The texts of all streams, or what ``steps`` steps give of them."""
    predictor, coder, trie = Predictor(sizes, with_model=True), RangeDecoder(code), Trie(model.tokens)
    turns, begin = [], 0
    for number, size in enumerate(sizes):
        cuts = [start - begin for start in starts if begin < start < begin + size]
        turns.append(Turns(model, predictor, number, size, cuts))
        begin += size
    done = 0
    while (steps is None or done < steps) and any(len(one.text) < one.size for one in turns):
        for one in turns:
            if len(one.text) < one.size:
                one.turn(trie, coder)
        done += 1
    return [one.text for one in turns]


# ----------------------------------------------------------------------------------------------------------------------
# arithmetic.md: 9. The predictor. Parts
# ----------------------------------------------------------------------------------------------------------------------


def make_squash() -> Vector:
    """squash(x), at x + 2047."""
    e, low = 1 << 31, []
    for _ in range(2048):
        low.append((e << 24) // ((1 << 31) + e))
        e = (e * 4269875056 + (1 << 31)) >> 32
    return low[:0:-1] + [1 << 23] + [(1 << 24) - v for v in low[1:]]


def make_stretch() -> Vector:
    """Of probabilities in 2^-12."""
    low = [min(0, bisect.bisect_left(SQUASH, 4096 * i + 2048) - 2047) for i in range(2048)]
    return low + [-v for v in reversed(low)]


SQUASH: Vector = make_squash()
STRETCH = make_stretch()
RECIPROCAL = [131072 // (2 * n + 3) for n in range(1024)]


def hash64(v: int) -> int:
    """32 bits of 64."""
    return (v * 0x9E3779B97F4A7C15 & MASK64) >> 32


def learn(p: Vector, n: Vector, at: int, bit: int, limit: int) -> None:
    """An adaptive probability learns a bit."""
    count = n[at]
    p[at] += (((4194303 if bit else 0) - p[at]) * RECIPROCAL[count]) >> 16
    if count < limit:
        n[at] = count + 1


def make_histories() -> tuple[list[Vector], Vector]:
    """Of each state of a bit history, the states that follow, and its initial probability."""
    most = (34, 20, 12, 8, 6, 5)

    def allowed(zeros: int, ones: int) -> bool:
        return min(zeros, ones) <= 5 and max(zeros, ones) <= most[min(zeros, ones)]

    pairs = sorted((z + o, z, o) for z in range(35) for o in range(35) if z + o > 4 and allowed(z, o))
    known = [(z, o, last) for _, z, o in pairs for last in (0, 1) if (z, o)[last]]
    number = {state: 31 + index for index, state in enumerate(known)}
    short = [(n, b) for n in range(5) for b in range(1 << n)]
    counts = [(n - b.bit_count(), b.bit_count()) for n, b in short] + [(z, o) for z, o, _ in known]

    def after(state: int, bit: int) -> int:
        if state < 15:
            n, b = short[state]
            return (1 << n + 1) - 1 + (b << 1 | bit)
        own, other = counts[state][bit] + 1, counts[state][1 - bit]
        other = (0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5)[other] if other < 12 else 6
        while not allowed(own, other):
            own, other = (own, other - 1) if other > own else (own - 1, other)
        if own + other > 4:
            return number[(other, own, 1) if bit else (own, other, 0)]
        b = int(str(1 - bit) * other + str(bit) * own, 2)
        return (1 << own + other) - 1 + b

    follow = [[after(state, bit) for bit in (0, 1)] for state in range(len(counts))]
    return follow, [(1 << 22) * (10 * ones + 4) // (10 * (zeros + ones) + 8) for zeros, ones in counts]


HISTORY, HISTORY_START = make_histories()
CLASS = [7 if b > 127 else 6 if b < 32 else 0 for b in range(256)]
for _bytes, _class in ((b"0123456789", 1), (range(97, 123), 2), (range(65, 91), 3), (b" ", 4), (b"\n", 5)):
    for _byte in _bytes:
        CLASS[_byte] = _class


def least_bits(low: int, high: int, size: int) -> int:
    """The least of low to high with 2^it >= size, high if none is."""
    return min(high, max(low, (size - 1).bit_length() if size > 0 else 0))


def match_class(length: int) -> int:
    """Of a match's length."""
    return length if length < 8 else 8 + bisect.bisect_right((12, 16, 24, 32, 64, 128, 512), length)


class Maps:
    """An adaptive probability map."""

    def __init__(self, bits: int, limit: int, start: int) -> None:
        self.bits, self.limit = bits, limit
        row = [SQUASH[4094 * j // 15] >> 2 for j in range(16)]
        self.p, self.n = row * (16 << bits), [start] * (256 << bits)

    def group(self, context: int, u: int) -> int:
        """Where the rows of a context and nibble are."""
        return hash64(context * 256 + u & MASK64) >> (32 - self.bits) << 8

    def refine(self, row: int, x: int) -> tuple[int, int]:
        """r, and the probability that will learn."""
        y = 15 * (x + 2047) >> 5
        at, w = row + (y >> 7), y & 127
        return self.p[at] * (128 - w) + self.p[at + 1] * w, at + (w >= 64)


class Mixer:
    """Selected vectors of weights."""

    def __init__(self, start: Vector, rates: Vector, shift: int, most: int) -> None:
        self.start, self.rates, self.shift, self.most = start, rates, shift, most
        self.weights: list[dict[int, Vector]] = [{} for _ in rates]
        self.used: list[dict[int, int]] = [{} for _ in rates]
        self.chosen: list[Vector] = []
        self.keys: Vector = []

    def mix(self, inputs: Vector, keys: Vector) -> Vector:
        """The outputs of the vectors that are selected by the keys."""
        self.keys, self.chosen = keys, []
        for vectors, key in zip(self.weights, keys, strict=True):
            if key not in vectors:
                vectors[key] = self.start
            self.chosen.append(vectors[key])
        return [clamp(sum(map(mul, inputs, chosen)) >> 14, 2047) for chosen in self.chosen]

    def learn(self, inputs: Vector, outputs: Vector, target: int) -> None:
        """The selected vectors learn."""
        for s, key in enumerate(self.keys):
            used = self.used[s].get(key, 0)
            rate = self.rates[s] + 2500 // (1 + used // 64)
            if used < self.most:
                self.used[s][key] = used + 1
            step = ((target - SQUASH[outputs[s] + 2047]) >> 8) * rate >> self.shift
            if step:  # (((16 * input * step) >> 16) + 1) >> 1 is this shift
                new = [w + (x * step + 4096 >> 13) for w, x in zip(self.chosen[s], inputs, strict=True)]
                if max(new) > 32767 or min(new) < -32768:
                    new = [max(-32768, min(32767, w)) for w in new]
                self.weights[s][key] = new


# ----------------------------------------------------------------------------------------------------------------------
# arithmetic.md: 9. What is shared
# ----------------------------------------------------------------------------------------------------------------------


class Predictor:
    """What the streams of a frame share."""

    def __init__(self, sizes: Sequence[int], *, with_model: bool, profile: int = 0) -> None:
        size = sum(sizes)
        self.with_model, self.profile = with_model, profile
        self.starts = [0, *accumulate(sizes)][:-1]
        self.text = bytearray(size + 1)
        self.written = list(self.starts)  # where each stream's next byte is
        self.token_ends = bytearray(size + 1)
        self.first = 5 if with_model else 0  # the first context
        self.order0, self.order1 = bytearray(256), bytearray(65536)
        self.slots = bytearray(1 << least_bits(16, 24 if with_model else 25, 64 * size))
        self.lines = len(self.slots) // 64 - 1
        self.p = [list(HISTORY_START) for _ in range(15)]
        self.n = [[0] * len(HISTORY_START) for _ in range(15)]
        self.match_bits = least_bits(10, 18, size)
        self.matches = [0] * (1 << self.match_bits)
        self.match_p = [(1 << 22) - (1 << 20) // (1 + index // 4) for index in range(64)]
        self.match_n = [2] * 64
        self.follow = [0] * 65536
        bits = least_bits(6, 9 if with_model else 11, size // 64)
        self.model_maps = [Maps(bits, 255, 2) for _ in range(3)] if with_model else []
        self.final_maps = [Maps(bits, 127, 6) for _ in range(2)]
        start = [0 if i & 1 else 1000 if with_model else 1500 for i in range(32)]
        if with_model:
            start[:10:2] = [5000, 2000, 2000, 2000, 0]
        self.mixer = Mixer(start, [900, 40] * 3, 14, 4095)
        self.final: list[dict[int, Vector]] = [{}, {}, {}]
        self.end_bits = least_bits(10, 16, size // 4)
        self.end_p = [[1 << 21] * (1 << self.end_bits) for _ in range(10)] if with_model else []
        self.end_n = [[0] * (1 << self.end_bits) for _ in range(10)] if with_model else []
        self.end_mixer = Mixer([1250] * 10 + [12500, 0], [400] * 3, 13, 1023)

    def slot(self, key: int) -> int:
        """The place of the histories of a context and nibble."""
        line, check_byte, slots = (key & self.lines) * 64, key >> 24, self.slots
        for at in (line, line + 16, line + 32, line + 48):
            if slots[at] == check_byte:
                return at
        lowest = min((line, line + 16, line + 32, line + 48), key=lambda at: slots[at + 1])
        slots[lowest : lowest + 16] = bytes(16)
        slots[lowest] = check_byte
        return lowest

    def stream_at(self, position: int) -> int:
        """The last stream that starts at or before a position."""
        return bisect.bisect_right(self.starts, position) - 1


# ----------------------------------------------------------------------------------------------------------------------
# arithmetic.md: 9. Contexts
# ----------------------------------------------------------------------------------------------------------------------


class Pointer:
    """The cursor of a stream."""

    def __init__(self, shared: Predictor, number: int) -> None:
        self.shared, self.number = shared, number
        self.begin = shared.starts[number]
        self._start_document()

    def _start_document(self) -> None:
        """All is 0, but for what the follow table gives."""
        self.document = self.shared.written[self.number]  # where it begins
        self.recent = self.word = self.word_before = self.word_before_that = self.line_word = self.classes = 0
        self.line, self.last_line = self.document, -1
        self.fields, self.last_fields = [self.document], list[int]()
        self.expected, self.length, self.misses, self.match, self.match_stream = -1, 0, 0, 0, 0
        self.token_hash = self.token_size = self.token_before = self.token_before_that = 0
        self.partial, self.placed = 1, False
        self.code = CodeReader()
        self.follow = self.shared.follow[0]
        self._set_contexts()

    def cut(self) -> None:
        """A document starts."""
        self._start_document()

    def token(self, number: int) -> None:
        """A token has ended."""
        self.shared.token_ends[self.shared.written[self.number]] = 1
        self.token_before_that, self.token_before = self.token_before, number
        self.token_hash = self.token_size = 0

    def _end_byte(self) -> None:
        """After each byte."""
        shared, byte = self.shared, self.partial & 255
        at = shared.written[self.number]
        shared.text[at] = byte
        shared.written[self.number] = at + 1
        self.recent = (self.recent << 8 | byte) & MASK64
        self._end_word(byte)
        self.classes = (self.classes * 8 + CLASS[byte]) & MASK32
        if byte == 10:
            self.last_line, self.last_fields = self.line, self.fields
            self.line, self.line_word, self.fields = at + 1, 0, [at + 1]
        elif byte in b"\t, ;|" and len(self.fields) < 32:
            self.fields.append(at + 1)
        if not shared.with_model:
            before = self.recent >> 8 & 0xFFFF
            shared.follow[before] = (shared.follow[before] * 256 + byte) & 0xFFFF
            self.follow = shared.follow[self.recent & 0xFFFF]
        self._move_match(byte)
        self._find_match()
        self.token_hash = hash64(self.token_hash * 256 + byte + 1)
        self.token_size += 1
        if shared.profile == 254:
            self.code.byte(byte)
        self.partial, self.placed = 1, False
        self._set_contexts()

    def _end_word(self, byte: int) -> None:
        if 65 <= byte <= 90:
            byte += 32
        if 97 <= byte <= 122 or byte > 127:
            self.word = hash64(self.word * 256 + byte + 1)
        elif byte and self.word:
            self.line_word = self.line_word or self.word
            self.word_before_that, self.word_before, self.word = self.word_before, self.word, 0

    def _move_match(self, byte: int) -> None:
        """The match goes on, or not."""
        if self.expected < 0:
            return
        wrong = self.expected != byte
        self.misses = (2 * self.misses + wrong) & 255
        self.length = 0 if wrong else min(self.length + 1, 65535)
        self.match += 1
        if self.match < self.shared.written[self.match_stream] and self.misses != 255:
            self.expected = self.shared.text[self.match]
        else:
            self.expected, self.length = -1, 0

    def _find_match(self) -> None:
        """Look for a longer one."""
        shared, least = self.shared, 7 if self.shared.profile == 1 else 5
        at = shared.written[self.number]
        if at - self.begin < least:
            return
        high = (self.recent >> 8) << (72 - 8 * least) & MASK64
        key = (hash64(high) >> (36 - shared.match_bits)) * 16 + (hash64(self.recent & 255) >> 28)
        entry, shared.matches[key] = shared.matches[key], at
        if not entry or (self.expected >= 0 and self.length >= 16):
            return
        stream = shared.stream_at(entry)
        most = min(400, entry - shared.starts[stream], at - self.begin)
        length, text = 0, shared.text
        while length < most and text[entry - 1 - length] == text[at - 1 - length]:
            length += 1
        if length >= least and length > self.length and entry < shared.written[stream]:
            self.match, self.match_stream, self.length, self.misses = entry, stream, length, 0
            self.expected = text[entry]

    def _above(self) -> tuple[int, int, int, int]:
        """up, column, fup and place, of what is next."""
        at, text = self.shared.written[self.number], self.shared.text
        column, place = at - self.line, at - self.fields[-1]
        up = fup = 0
        if self.last_line >= 0:
            if self.last_line + column < self.line:
                up = text[self.last_line + column]
            index = len(self.fields) - 1
            if index < len(self.last_fields) and self.last_fields[index] + place < self.line:
                fup = text[self.last_fields[index] + place]
        return up, column, fup, place

    def _set_contexts(self) -> None:
        """The values of contexts 2 to 14, hashed."""
        r, b1 = self.recent, self.recent & 255
        up, self.column, fup, place = self._above()
        field_number = len(self.fields) - 1
        values = [
            r & 0xFFFFFF, (r >> 8 & 0xFFFF) << 8, self.follow << 8 | b1, r & 0xFFFF, r & MASK32, r & 0xFFFFFFFFFFFF,
            self.word << 8 | b1, self.word << 32 | self.word_before, up << 16 | min(self.column, 255) << 8 | b1,
            fup << 24 | field_number << 16 | b1 << 8 | min(place, 255), self.line_word << 16 | field_number << 8 | b1,
            (self.expected + 1) << 8 | min(self.length, 15), self.classes << 8 | b1,
        ]  # fmt: skip
        profile = self.shared.profile
        if profile == 1:
            values[1] = r & 0xE0E0E0E0FFFF
            values[2] = self.word << 32 | min(self.column, 255)
            values[9] = self.word << 32 | self.classes & 0x3FFFF
            values[10] = self.word << 32 | self.word_before_that
        elif 2 <= profile <= 253 or profile == 255:
            self._record_contexts(values, 4 if profile == 255 else profile)
        elif profile == 254:
            self._code_contexts(values)
        self.hashes = [
            hash64((v + i + 1) * 0xD6E8FEB86659FD93 + i * 0x632BE59BD9B4E019 & MASK64) for i, v in enumerate(values)
        ]

    def _record_contexts(self, values: Vector, width: int) -> None:
        """Profiles of records, and AArch64."""
        shared, at, r = self.shared, self.shared.written[self.number], self.recent
        place = (at - self.document) % width
        a1, a2 = (shared.text[at - d] if at - d >= self.document else 0 for d in (width, 2 * width))
        b1 = r & 255
        values[6] = place << 16 | a1 << 8
        values[7] = a1 << 16 | a2 << 8 | place
        values[8] = place << 16 | a1 << 8 | b1
        values[9] = place << 8 | b1
        values[10] = (r >> 8 & 255) << 8
        values[12] = (r >> 16 & 0xFFFF) << 16
        if shared.profile == 255:
            so_far = r & ((1 << 8 * place) - 1)
            values[9] = so_far << 16 | (r >> 8 * place & 255) << 8 | place

    def _code_contexts(self, values: Vector) -> None:
        """The profile of x86 code."""
        code, b1 = self.code, self.recent & 255
        kind, seen, history = code.kind(), code.seen, code.history
        values[2] = history << 4 | kind
        values[6] = seen << 8 | kind
        values[7] = seen << 32 | (history & 0xFFF) << 8 | kind
        values[8] = seen << 32 | (history & 0xFFFFFF) << 4 | kind
        values[9] = seen << 16 | b1 << 8 | kind
        values[10] = (history & 0xFFF) << 16 | kind << 8 | b1
        values[12] = kind << 40 | code.opcode << 24 | self.recent & 0xFFFF

    # arithmetic.md: 9. A bit ..........................................................................................

    def skip(self, bit: int) -> None:
        """A bit is certain."""
        self._move(bit)

    def _move(self, bit: int) -> None:
        self.partial = self.partial << 1 | bit
        if self.partial > 255:
            self._end_byte()
        elif self.partial >> 4 == 1:
            self.placed = False

    def _place(self) -> None:
        """At the first decision in a nibble, slots are looked up."""
        shared, first = self.shared, 3 if self.shared.with_model else 0
        u = self.partial if self.partial > 15 else 0
        self.u = 16 + (u & 15) if u else 0
        while u > 31:
            u >>= 1
        self.u = u
        if u:
            flip, add = 1 + (u & 1), u * 0x9D000000
            keys = [((h ^ flip) + add) & MASK32 for h in self.hashes[first:]]
        else:
            keys = self.hashes[first:]
        self.slots = [shared.slot(key) for key in keys]
        self.final_groups = [one.group(v, u) for one, v in zip(shared.final_maps, self._map_contexts(), strict=True)]
        if shared.with_model:
            contexts = (self.classes & 0xFFF, self.token_before << 8 | self.token_size, self.token_hash)
            self.model_groups = [one.group(v, u) for one, v in zip(shared.model_maps, contexts, strict=True)]
        self.placed = True

    def _map_contexts(self) -> tuple[int, int]:
        return self.recent & 255, self.recent & 0xFFFF

    def bit(self, lm: int = 0) -> int:
        """The probability that the next bit is a one."""
        shared, partial = self.shared, self.partial
        if not self.placed:
            self._place()
        done = partial.bit_length() - 1
        self.node = node = partial if done < 4 else 1 << (done - 4) | partial & ((1 << (done - 4)) - 1)
        slots = shared.slots
        self.places = [at + node for at in self.slots]
        states = [slots[at] for at in self.places]
        inputs: Vector = []
        if shared.with_model:
            inputs = self._model_inputs(lm)
        else:
            self.place1 = (self.recent & 255) << 8 | partial
            states = [shared.order0[partial], shared.order1[self.place1], *states]
        self.states = states
        for known, state in zip(shared.p[shared.first :], states, strict=True):
            value = known[state]
            inputs += (STRETCH[value >> 10], (value >> 12) - 512)
        inputs += self._match_inputs(done)
        self.inputs = inputs
        keys = self._keys(lm, done)
        self.outputs = o = shared.mixer.mix(inputs, keys)
        self.y = [clamp(sum(map(mul, o, vector)) >> 16, 2047) for vector in self._final_vectors(done)]
        x = sum(self.y) * 21845 >> 16
        self.refined = [m.refine(g + node * 16, x) for m, g in zip(shared.final_maps, self.final_groups, strict=True)]
        maps = (self.refined[0][0] >> 5) + (self.refined[1][0] >> 5)
        squashed = 2 * SQUASH[x + 2047]
        p = (squashed + maps) >> 2 if shared.with_model else (squashed + 3 * maps) >> 3
        self.p = max(16, min((1 << 24) - 16, p))
        return self.p

    def _model_inputs(self, lm: int) -> Vector:
        """Inputs 0 to 9."""
        shared, x = self.shared, STRETCH[lm >> 12]
        groups = zip(shared.model_maps, self.model_groups, strict=True)
        self.model_refined = [one.refine(group + self.node * 16, x) for one, group in groups]
        inputs = [x, (lm - (1 << 23)) >> 14]
        for r, _ in self.model_refined:
            inputs += (STRETCH[r >> 17], (r >> 19) - 512)
        return [*inputs, 256, 0]

    def _match_inputs(self, done: int) -> Vector:
        """Inputs 30 and 31."""
        self.m = 0
        if self.expected < 0 or (256 | self.expected) >> (8 - done) != self.partial:
            return [0, 0]
        length_class = match_class(self.length)
        self.m = 1 + length_class
        self.match_at = length_class * 4 + min(3, self.misses.bit_count())
        self.expected_bit = self.expected >> (7 - done) & 1
        p = self.shared.match_p[self.match_at]
        sign = 1 if self.expected_bit else -1
        return [sign * STRETCH[p >> 10], sign * ((p >> 12) - 512)]

    def _keys(self, lm: int, done: int) -> Vector:
        """What selects the six vectors of weights."""
        shared, partial = self.shared, self.partial
        f = self.token_size == 0 if shared.with_model else shared.written[self.number] == self.document
        self.first_key = self.m * 2 + f
        known = sum(state > 0 for state in self.states[6 - shared.first : 10 - shared.first])
        second, fifth = self.classes & 0xFFF, partial * 8 + (self.classes & 7)
        if shared.with_model:
            fifth = (abs(STRETCH[lm >> 12]) >> 8) * 32 + self.m
        elif shared.profile >= 254:
            kind, o = self._kind()
            second, fifth = kind * 256 + o, partial * 8 + (kind & 7)
        return [self.first_key, second, self.recent & 255, (known * 8 + done) * 2 + f, fifth, 0]

    def _kind(self) -> tuple[int, int]:
        """k and o of machine code."""
        if self.shared.profile == 254:
            kind = self.code.kind()
            return kind, (self.code.history if kind < 2 else self.code.opcode) & 255
        place = (self.shared.written[self.number] - self.document) % 4
        return place, self.recent >> 8 * place & 255

    def _final_vectors(self, done: int) -> list[Vector]:
        third = self._kind()[0] * 8 + done if self.shared.profile >= 254 else self.classes & 511
        self.final_keys = (self.partial, self.first_key, third)
        pairs = zip(self.shared.final, self.final_keys, strict=True)
        return [vectors.setdefault(key, [10922] * 6) for vectors, key in pairs]

    def update(self, bit: int) -> None:
        """Learn a bit that was asked for."""
        shared, target = self.shared, (1 << 24) if bit else 0
        missed = (1 << 24) - self.p if bit else self.p
        if missed >= 1 << 16:
            shared.mixer.learn(self.inputs, self.outputs, target)
            self._learn_final(target)
        if missed >= 1 << 10:
            for p, n, state in zip(shared.p[shared.first :], shared.n[shared.first :], self.states, strict=True):
                learn(p, n, state, bit, 1023)
            if self.m:
                learn(shared.match_p, shared.match_n, self.match_at, bit == self.expected_bit, 1023)
            refined = zip(shared.final_maps, self.refined, strict=True)
            asked = zip(shared.model_maps, self.model_refined, strict=True) if shared.with_model else ()
            for one, (_, at) in (*refined, *asked):
                learn(one.p, one.n, at, bit, one.limit)
        if not shared.with_model:
            shared.order0[self.partial] = HISTORY[shared.order0[self.partial]][bit]
            shared.order1[self.place1] = HISTORY[shared.order1[self.place1]][bit]
        slots = shared.slots
        for at in self.places:
            slots[at] = HISTORY[slots[at]][bit]
        self._move(bit)

    def _learn_final(self, target: int) -> None:
        for vectors, key, y in zip(self.shared.final, self.final_keys, self.y, strict=True):
            error = (target - SQUASH[y + 2047]) >> 8
            pairs = zip(self.outputs, vectors[key], strict=True)
            vectors[key] = [clamp(w + (o * error + (1 << 15) >> 16), 1 << 20) for o, w in pairs]

    # arithmetic.md: 9. The end of a token .............................................................................

    def flag(self, lm: int) -> int:
        """The probability that the token ends."""
        shared, t, size = self.shared, self.token_hash, self.token_size
        before, that = self.token_before, self.token_before_that
        hint = 0
        if self.expected >= 0:
            hint = 2 if shared.token_ends[self.match] else 1
        short = min(size, 255)
        values = [
            t, before << 32 | t, (self.recent & 0xFFFFFF) << 8 | short, self.word << 8 | short,
            (self.expected + 1) << 32 | t, hint << 8 | min(self.length, 31) << 2 | min(3, self.misses.bit_count()),
            self.classes << 8 | short, self.column << 32 | t, hash64((that << 32 | before) & MASK64) << 32 | t,
            self.word_before << 32 | hash64(self.word << 8 | short),
        ]  # fmt: skip
        self.end_at = [hash64(v + 1 & MASK64) >> (32 - shared.end_bits) for v in values]
        self.inputs = [STRETCH[p[at] >> 10] for p, at in zip(shared.end_p, self.end_at, strict=True)]
        self.inputs += [STRETCH[lm >> 12], 256]
        keys = [hint * 8 + min(size, 4), self.classes & 511, self.recent & 255]
        self.outputs = shared.end_mixer.mix(self.inputs, keys)
        self.p = SQUASH[(sum(self.outputs) * 21845 >> 16) + 2047]
        return self.p

    def update_flag(self, end: int) -> None:
        """Learn whether the token ended."""
        shared = self.shared
        missed = (1 << 24) - self.p if end else self.p
        if missed >= 1 << 16:
            shared.end_mixer.learn(self.inputs, self.outputs, (1 << 24) if end else 0)
        if missed >= 1 << 10:
            for p, n, at in zip(shared.end_p, shared.end_n, self.end_at, strict=True):
                learn(p, n, at, end, 1023)


# ----------------------------------------------------------------------------------------------------------------------
# arithmetic.md: 9. Text without a model
# ----------------------------------------------------------------------------------------------------------------------


def decode_cm(payload: bytes, size: int, boundaries: list[int]) -> bytes:
    """The data of a frame of codec cm, or of a column of kind 3."""
    if not size:
        check(not payload, "cm payload: of nothing")
        return b""
    check(payload[:1] == bytes([ARITHMETIC]), "cm payload: of another version of the arithmetic")
    allow(size, 1 << 16, 1 << 16, len(payload) - 1, "cm payload")
    return decode_bytes(payload[1:], size, boundaries)


def decode_bytes(code: bytes, size: int, boundaries: list[int], most: int | None = None) -> bytes:
    """A code string's text, or the first ``most`` bytes of it (before addresses are changed back)."""
    coder = RangeDecoder(code)
    profile = 0
    for _ in range(8):
        profile = profile << 1 | coder.bit(1 << 16)
    shared = Predictor([size], with_model=False, profile=profile)
    cursor, starts = Pointer(shared, 0), set(boundaries)
    for at in range(size if most is None else most):
        if at in starts:
            cursor.cut()
        for _ in range(8):
            cursor.update(coder.bit(cursor.bit()))
    text = shared.text[: size if most is None else most]
    if profile >= 254 and most is None:
        edges = [0, *sorted(starts), size]
        back = restore_x86 if profile == 254 else restore_aarch64
        return b"".join(back(text[a:b]) for a, b in pairwise(edges))
    return bytes(text)


# ----------------------------------------------------------------------------------------------------------------------
# arithmetic.md: 9. Machine code
# ----------------------------------------------------------------------------------------------------------------------


def restore_aarch64(text: bytearray) -> bytes:
    """A document with the addresses of its calls relative again."""
    for at in range(0, len(text) - 3, 4):
        word = int.from_bytes(text[at : at + 4], "little")
        if word >> 26 == 0b100101:
            word = 0b100101 << 26 | (word - at // 4) & 0x3FFFFFF
            text[at : at + 4] = word.to_bytes(4, "little")
    return bytes(text)


RELATIVE = bytes.fromhex("01031011 2B393B63 6F808385 898B8DB6 B7C6C7")


def restore_x86(text: bytearray) -> bytes:
    """The same of x86."""
    for i in range(len(text) - 6):
        first, second = text[i], text[i + 1]
        if first in (0xE8, 0xE9):
            d = i + 1
        elif (first in RELATIVE and second & 0xC7 == 5) or (first == 0xFF and second in (0x15, 0x25)):
            d = i + 2
        else:
            continue
        if text[d + 3] in (0, 255):
            number = int.from_bytes(text[d : d + 3], "big") - d - 4
            text[d : d + 3] = (number & 0xFFFFFF).to_bytes(3, "little")
    return bytes(text)


ONE_BYTE = (
    "mmmm14..mmmm14.e" "mmmm14..mmmm14.." "mmmm14p.mmmm14p." "mmmm14p.mmmm14p." "rrrrrrrrrrrrrrrr" "................"
    "..mmppop4w1n...." "1111111111111111" "nwnnmmmmmmmmmmmm" "................" "........14......" "11111111qqqqqqqq"
    "nn2.Vvnw3....1.." "mmmm....mmmmmmmm" "11111111cc.1...." "p.pp..tT......mm"
)  # fmt: skip
AFTER_0F = (
    "mmmmm.mmmmm.mmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "m.mmmmmmxmymmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm"
    "mmmmmmmmmmmmmmmm" "nnnnmmm.mmmmmmmm" "cccccccccccccccc" "mmmmmmmmmmmmmmmm" "...mnmmm..mmnmmm" "mmmmmmmmmmnmmmmm"
    "mmnmnnnm........" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm"
)  # fmt: skip


class CodeReader:
    """Knows where in an x86 instruction the next byte is."""

    def __init__(self) -> None:
        self.history = 0
        self._start()

    def _start(self) -> None:
        """An instruction starts."""
        self.seen = self.opcode = self.immediate = self.left = 0
        self.expects = "opcode"
        self.vex = 0  # bytes after v and V that are still expected
        self.modrm = 0
        self.small = self.rex = False

    def kind(self) -> int:
        """What the next byte is."""
        if self.expects in ("displacement", "immediate"):
            return 5 + self.left if self.expects == "displacement" else 10 + min(self.left, 5)
        if self.expects == "opcode":
            return 1 if self.seen else 0
        return {"modrm": 2, "sib": 3, "vex": 5}.get(self.expects, 4)

    def byte(self, byte: int) -> None:
        """The next byte of a document."""
        if self.expects in ("displacement", "immediate"):
            self.left -= 1
            if not self.left:
                self._immediate() if self.expects == "displacement" else self._end()
            return
        self.seen = hash64(self.seen * 256 + byte + 1)
        getattr(self, f"_{self.expects}")(byte)

    def _opcode(self, byte: int) -> None:
        letter = ONE_BYTE[byte]
        if letter == "p":
            self.small |= byte == 0x66
        elif letter == "o":
            self.small = True
        elif letter == "r":
            self.rex = bool(byte & 8)
        elif letter == "e":
            self.expects = "after"
        elif letter in "vV":
            self.expects, self.vex = "vex", 1 if letter == "v" else 2
        else:
            self._known(byte, letter)

    def _vex(self, _: int) -> None:
        self.vex -= 1
        if not self.vex:
            self.expects = "after"

    def _after(self, byte: int) -> None:
        letter = AFTER_0F[byte]
        if letter in "xy":
            self.expects = "third" if letter == "x" else "fourth"
        else:
            self._known(0x100 + byte, letter)

    def _third(self, byte: int) -> None:
        self._known(0x200 + byte, "m")

    def _fourth(self, byte: int) -> None:
        self._known(0x300 + byte, "n")

    def _known(self, opcode: int, letter: str) -> None:
        self.opcode = opcode
        four = 2 if self.small else 4
        sizes = {"1": 1, "2": 2, "3": 3, "4": four, "c": 4, "n": 1, "w": four, "q": 8 if self.rex else four}
        self.immediate = sizes.get(letter, 0)
        if letter in "mnwtT":
            self.expects = "modrm"
        else:
            self._immediate()

    def _modrm(self, byte: int) -> None:
        self.modrm = byte
        if self.opcode in (0xF6, 0xF7) and byte & 0x38 < 0x10:
            self.immediate = 1 if self.opcode == 0xF6 else 2 if self.small else 4
        mode, low = byte >> 6, byte & 7
        self.left = 1 if mode == 1 else 4 if mode == 2 or (mode == 0 and low == 5) else 0
        if byte < 0xC0 and low == 4:
            self.expects = "sib"
        else:
            self._displacement()

    def _sib(self, byte: int) -> None:
        if self.modrm < 0x40 and byte & 7 == 5:
            self.left = 4
        self._displacement()

    def _displacement(self) -> None:
        self.expects = "displacement"
        if not self.left:
            self._immediate()

    def _immediate(self) -> None:
        self.expects, self.left = "immediate", self.immediate
        if not self.left:
            self._end()

    def _end(self) -> None:
        self.history = (self.history << 12 | self.opcode) & MASK32
        self._start()


# ----------------------------------------------------------------------------------------------------------------------
# media.md: Decisions
# ----------------------------------------------------------------------------------------------------------------------


def signed(x: int, bits: int) -> int:
    """The lowest bits of x as a signed number."""
    return ((x & (1 << bits) - 1) ^ 1 << bits - 1) - (1 << bits - 1)


def quotient(a: int, b: int) -> int:
    """a / b, rounded towards zero; b > 0."""
    return a // b if a >= 0 else -(-a // b)


class Counters:
    """Adaptive probabilities, each of which can be asked alone."""

    def __init__(self, count: int, limit: int) -> None:
        self.p, self.n, self.limit = [1 << 21] * count, [0] * count, limit

    def decide(self, coder: RangeDecoder, at: int) -> int:
        """A decision by one of them."""
        bit = coder.bit(codable(4 * self.p[at] + (self.n[at] >> 8)))
        learn(self.p, self.n, at, bit, self.limit)
        return bit


def codable(p: int) -> int:
    """As far from certainty as all probabilities that are coded are."""
    return max(32, min((1 << 24) - 32, p))


class Mixed:
    """Decisions from several counters, weighed by two selected vectors and refined by two selected curves."""

    def __init__(self, inputs: int) -> None:
        self.start = [(3 << 15) // inputs] * inputs
        self.curve = [(SQUASH[clamp((k - 16) * 128, 2047) + 2047] - 1) >> 8 for k in range(33)]
        self.weights: tuple[dict[int, Vector], dict[int, Vector]] = ({}, {})
        self.curves: tuple[dict[int, Vector], dict[int, Vector]] = ({}, {})

    def decide(self, coder: RangeDecoder, counters: list[Counters], places: Vector, keys: tuple[int, int]) -> int:
        """A decision from the counters at these places."""
        inputs = [STRETCH[one.p[at] >> 10] for one, at in zip(counters, places, strict=True)]
        vectors = [known.setdefault(key, list(self.start)) for known, key in zip(self.weights, keys, strict=True)]
        curves = [known.setdefault(key, list(self.curve)) for known, key in zip(self.curves, keys, strict=True)]
        mixed = [clamp(sum(map(mul, inputs, vector)) >> 16, 2047) for vector in vectors]
        mean = (mixed[0] + mixed[1]) >> 1
        at, part = divmod(mean + 2048, 128)
        refined = sum((curve[at] * (128 - part) + curve[at + 1] * part) << 1 for curve in curves)
        bit = coder.bit(codable((2 * SQUASH[mean + 2047] + refined) >> 2))
        for vector, curve, x in zip(vectors, curves, mixed, strict=True):
            error = (((1 << 24) if bit else 0) - SQUASH[x + 2047]) >> 8
            vector[:] = [clamp(w + (v * error + (1 << 14) >> 15), 1 << 20) for w, v in zip(vector, inputs, strict=True)]
            knot = at + (part >= 64)
            curve[knot] += ((65535 if bit else 0) - curve[knot]) >> 7
        for one, place in zip(counters, places, strict=True):
            learn(one.p, one.n, place, bit, one.limit)
        return bit


def log_quarters(x: int) -> int:
    """The logarithm of x in quarters; 0 of 0 and 1."""
    if x < 2:
        return 0
    top = x.bit_length() - 1
    return 4 * top + ((x >> top - 2 if top >= 2 else x << 2 - top) & 3)


def against(a: int, b: int) -> int:
    """How many quarters of an octave a is above 16 quarters below b; 0 to 31."""
    return max(0, min(31, log_quarters(a) - log_quarters(b) + 16))


# ----------------------------------------------------------------------------------------------------------------------
# media.md: Bytes around samples and pixels
# ----------------------------------------------------------------------------------------------------------------------


class Bytes:
    """Runs of bytes, each of which is often like the one before it."""

    RUN = 4096

    def __init__(self) -> None:
        self.counters = [Counters(65536, 250) for _ in range(4)]
        self.expected = Counters(32, 250)
        self.expected.p[2:] = [(1 << 21) - (7 << 18), (1 << 21) + (7 << 18)] * 15
        self.mixed = Mixed(5)
        self.run, self.run_before, self.at, self.last, self.hits = bytearray(), bytearray(), 0, 0, 0

    def decode(self, coder: RangeDecoder, count: int) -> bytes:
        """A run of bytes."""
        if count:
            self.run, self.run_before, self.at, self.hits = bytearray(), self.run, 0, 0
        return bytes(self._byte(coder) for _ in range(count))

    def _byte(self, coder: RangeDecoder) -> int:
        known = self.at < len(self.run_before)
        above = self.run_before[self.at] if known else 256
        contexts = (self.last & 0xFF, self.last & 0xFFFF, self.last & 0xFFFFFF, min(self.at, self.RUN) * 512 + above)
        base = [hash64(number << 40 | context) for number, context in enumerate(contexts)]
        partial = 1
        for k in range(7, -1, -1):
            hinted = known and (256 | above) >> k + 1 == partial
            hint = 1 + min(self.hits, 14) if hinted else 0
            places = [((h + partial * 0x9E3779B1) & MASK32) >> 16 for h in base]
            places.append(hint * 2 + (above >> k & 1 if hinted else 0))
            partial = partial << 1 | self.mixed.decide(coder, [*self.counters, self.expected], places, (partial, hint))
        byte = partial & 255
        self.hits = self.hits + 1 if known and byte == above else 0
        if self.at < self.RUN:
            self.run.append(byte)
        self.last = (self.last << 8 | byte) & MASK32
        self.at += 1
        return byte


# ----------------------------------------------------------------------------------------------------------------------
# media.md: Residuals
# ----------------------------------------------------------------------------------------------------------------------


class Residuals:
    """Signed numbers by mixed contexts."""

    def __init__(self, contexts: int) -> None:
        self.counters = [Counters(1 << 16, 1000) for _ in range(contexts)]
        self.mixed = Mixed(contexts)
        self.plain, self.lengths, self.bits = Counters(1024, 1000), Counters(32, 1000), Counters(32, 1000)
        self.signs = Counters(512, 1000)

    def decode(self, coder: RangeDecoder, k: int, contexts: Vector, select: int, sign: int) -> int:
        """The next number."""

        def decide(node: int) -> int:
            places = [context * 64 + node for context in contexts]
            return self.mixed.decide(coder, self.counters, places, (node * 64, node * 64 + select))

        steps = 0
        while steps < 24 and decide(steps):
            steps += 1
        if steps == 24:
            steps += self._long(coder) - 1
        step, below = min(steps, 7), 0
        for depth in range(k):
            if depth < 3:
                node = (24 + step, 32 + 2 * step + below, 48 + min(step, 3) * 4 + below)[depth]
                bit = decide(node)
            else:
                bit = self.plain.decide(coder, k * 32 + k - 1 - depth)
            below = below << 1 | bit
        size = (steps << k | below) & MASK32
        if not size:
            return 0
        negative = self.signs.decide(coder, ((k == 0) * 64 + sign) * 4 + (size if size < 4 else 0))
        return signed(-size if negative else size, 32)

    def _long(self, coder: RangeDecoder) -> int:
        """A number of 1 or more: its length in bits, then its bits."""
        length, found = 0, 1
        while length < 31 and self.lengths.decide(coder, length):
            length += 1
        for place in range(length - 1, -1, -1):
            found = found << 1 | self.bits.decide(coder, place)
        return found


class QuickResiduals:
    """The same by one counter each."""

    def __init__(self) -> None:
        self.steps, self.below, self.lengths = Counters(64 * 16, 127), Counters(128, 127), Counters(32, 127)

    def decode(self, coder: RangeDecoder, k: int, context: int) -> int:
        """The next number."""
        steps = 0
        while steps < 16 and self.steps.decide(coder, context * 16 + steps):
            steps += 1
        if steps == 16:
            length = 0
            while length < 31 and self.lengths.decide(coder, length):
                length += 1
            steps += (1 << length | coder.bits(length)) - 1
        size = steps
        if k:
            size = size << 1 | self.below.decide(coder, k * 4 + min(steps, 3))
            size = (size << k - 1 | coder.bits(k - 1)) & MASK32
        if not size:
            return 0
        return signed(-size if coder.bits(1) else size, 32)


# ----------------------------------------------------------------------------------------------------------------------
# media.md: Least squares
# ----------------------------------------------------------------------------------------------------------------------


def signed64(x: int) -> int:
    """x modulo 2^64."""
    return signed(x, 64)


def shifted(x: int, by: int) -> int:
    """To the right, or for negative numbers to the left."""
    return x >> by if by >= 0 else x << -by


class LeastSquares:
    """Linear prediction by least squares over what was seen of late."""

    def __init__(self, inputs: int, every: int, fade: int) -> None:
        self.n, self.every, self.fade = inputs, every, fade
        self.weights = [0] * inputs
        self.products = [[0] * (i + 1) for i in range(inputs)]
        self.targets, self.energy = [0] * inputs, 0
        self.seen: list[Vector] = []  # inputs since the last solution, each with its target behind them

    def predict(self, x: Vector) -> int:
        """In 2^-20."""
        return sum(map(mul, self.weights, x))

    def learn(self, x: Vector, y: int) -> None:
        """What the inputs were to predict."""
        self.seen.append([*x, y])
        if len(self.seen) < self.every:
            return
        *columns, targets = (list(column) for column in zip(*self.seen, strict=True))
        self.seen = []
        for i, a in enumerate(columns):
            self.products[i] = [p + sum(map(mul, a, b)) for p, b in zip(self.products[i], columns, strict=False)]
            self.targets[i] += sum(map(mul, a, targets))
        self.energy += sum(map(mul, targets, targets))
        self._solve()
        self.products = [[p - (p >> self.fade) for p in row] for row in self.products]
        self.targets = [t - (t >> self.fade) for t in self.targets]
        self.energy -= self.energy >> self.fade

    def _solve(self) -> None:
        """New weights."""
        n, most = self.n, (1 << 30) - 1
        scales = [(self.products[i][i] + 1).bit_length() - 29 >> 1 for i in range(n)]
        target_scale = (self.energy + 1).bit_length() - 29 >> 1
        matrix = [[clamp(shifted(p, scales[i] + s), most) for p, s in zip(row, scales, strict=False)]
                  for i, row in enumerate(self.products)]  # fmt: skip
        for i in range(n):
            matrix[i][i] += matrix[i][i] >> 24
        right = [clamp(shifted(t, s + target_scale), most) for t, s in zip(self.targets, scales, strict=True)]
        factor = decompose(matrix)
        y: Vector = []
        for i in range(n):
            rest = signed64((right[i] << 30) - sum(map(mul, factor[i], y)))
            y.append(clamp(quotient(rest, factor[i][i]), 1 << 30) if factor[i][i] else 0)
        weights = [0] * n
        for i in range(n - 1, -1, -1):
            rest = (y[i] << 20) - sum(factor[k][i] * weights[k] for k in range(i + 1, n))
            weights[i] = clamp(quotient(rest, factor[i][i]), 1 << 27) if factor[i][i] else 0
        self.weights = [clamp(shifted(w, s - target_scale), 1 << 32) for w, s in zip(weights, scales, strict=True)]


def decompose(matrix: list[Vector]) -> list[Vector]:
    """The lower factor of a matrix by Cholesky, both in 2^-30."""
    factor: list[Vector] = [[] for _ in matrix]
    for j, row in enumerate(matrix):
        pivot = signed64((row[j] << 30) - sum(map(mul, factor[j], factor[j])))
        top = math.isqrt(pivot) if pivot >= 1 << 36 else 0
        for i in range(j + 1, len(matrix)):
            rest = signed64((matrix[i][j] << 30) - sum(map(mul, factor[i], factor[j])))
            factor[i].append(clamp(quotient(rest, top), 1 << 30) if top else 0)
        factor[j].append(top)
    return factor


# ----------------------------------------------------------------------------------------------------------------------
# media.md: Filters
# ----------------------------------------------------------------------------------------------------------------------


class Filter:
    """A long filter that learns by the sign of its error."""

    def __init__(self, n: int, step: int) -> None:
        self.n, self.step, self.average = n, step, 0
        self.weights, self.inputs, self.changes = [0] * n, [0] * n, [0] * n

    def predict(self) -> int:
        """What comes next."""
        return signed(sum(map(mul, self.inputs, self.weights)) + (1 << 14), 32) >> 15

    def learn(self, error: int, value: int) -> None:
        """By the sign of the error; then the next input."""
        if error:
            sign = 1 if error > 0 else -1
            pairs = zip(self.weights, self.changes, strict=True)
            self.weights = [max(-32768, min(32767, w + sign * c)) for w, c in pairs]
        x = clamp(value, 32767)
        size = abs(x)
        times = 4 if 16 * size > 3 * self.average else 2 if 12 * size > self.average else 1 if size else 0
        self.inputs = [*self.inputs[1:], x]
        self.changes = [*self.changes[1:], -times * self.step if x < 0 else times * self.step]
        self.average += quotient(16 * size - self.average, 16)
        if self.n > 16:
            self.changes[-2] = quotient(self.changes[-2], 2)
            self.changes[-9] = quotient(self.changes[-9], 2)


# ----------------------------------------------------------------------------------------------------------------------
# media.md: Samples
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SampleFormat:
    """Interleaved samples."""

    width: int
    channels: int
    shift: int
    big: bool
    unsigned: bool


class Channel:
    """What is known of one channel."""

    def __init__(self, own: int, other: int, *, fast: bool) -> None:
        self.x = [0] * (own + other)
        self.fit = LeastSquares(own + other, 192 if fast else 16, 2 if fast else 5)
        self.filters = [] if fast else [Filter(512, 8), Filter(32, 4), Filter(16, 4)]
        self.newest = self.signs = self.equals = 0
        self.mean, self.last = [0, 0, 0], [0, 0]
        self.equal = Counters(256, 250)

    def note(self, residual: int) -> None:
        """What a prediction was wrong by."""
        size = min(abs(residual), (1 << 23) - 1)
        for i, speed in enumerate((2, 5, 8)):
            self.mean[i] += ((size << 8) - self.mean[i]) >> speed
        self.last = [size, self.last[0]]
        self.signs = self.signs << 1 & 255 | (residual < 0)


class Samples:
    """Samples of one format."""

    def __init__(self, f: SampleFormat, *, fast: bool) -> None:
        self.format = f
        self.bits = 8 * f.width - f.shift
        self.most = (1 << self.bits - 1) - 1
        self.scale, self.loud = max(0, self.bits - 24), max(0, self.bits - 16) // 2
        alone, own, other = (14, 10, 4) if fast else (32, 20, 12)
        self.own, self.other = (own, other) if f.channels > 1 else (alone, 0)
        self.channels = [Channel(self.own, self.other, fast=fast) for _ in range(f.channels)]
        self.residuals: Residuals | QuickResiduals = QuickResiduals() if fast else Residuals(6)

    def decode(self, coder: RangeDecoder) -> bytes:
        """A sample of each channel."""
        out, f = b"", self.format
        for number in range(f.channels):
            value = (self._sample(coder, number) << f.shift) & (1 << 8 * f.width) - 1
            value ^= 1 << 8 * f.width - 1 if f.unsigned else 0
            out += value.to_bytes(f.width, "big" if f.big else "little")
        return out

    def _sample(self, coder: RangeDecoder, number: int) -> int:
        c, other = self.channels[number], self.channels[number - 1]
        if self.other:
            c.x[self.own :] = [other.newest >> self.scale, *c.x[self.own : -1]]
        parts = [one.predict() for one in c.filters]
        added = clamp(sum(parts) << self.loud, self.most)
        base = clamp(c.fit.predict(c.x) >> (20 - self.scale), self.most)
        predicted = clamp(base + added, self.most)
        if number:
            equal = c.equal.decide(coder, c.equals)
            c.equals = c.equals << 1 & 255 | equal
            if equal:
                c.note(signed(other.newest - predicted, self.bits))
                self._learn(c, other.newest, base, parts)
                return other.newest
        residual = self._residual(coder, c, other, added)
        sample = signed(predicted + residual, self.bits)
        c.note(residual)
        self._learn(c, sample, base, parts)
        return sample

    def _residual(self, coder: RangeDecoder, c: Channel, other: Channel, added: int) -> int:
        unit = c.mean[1] + 1
        quarters = log_quarters(unit)
        k = 0 if quarters < 32 else quarters // 4 - 8
        left = quarters - 4 * k
        fine, quick = left // 2 if left < 32 else min(left - 16, 19), against(c.mean[0] + 1, unit)
        if isinstance(self.residuals, QuickResiduals):
            part = fine // 2 if fine < 12 else fine - 6
            return self.residuals.decode(coder, k, part * 4 + quick // 8)
        contexts = [
            fine * 32 + quick,
            fine * 32 + against(c.mean[2] + 1, unit),
            against(c.last[0] << 8, unit) * 32 + against(c.last[1] << 8, unit),
            against(other.last[0] << 8, other.mean[1] + 1) * 32 + quick,
            k * 32 + fine,
            against(min(abs(added), (1 << 23) - 1) << 8, unit) * 32 + quick,
        ]
        return self.residuals.decode(coder, k, contexts, quick, (c.signs & 7) | (other.signs & 1) << 3)

    def _learn(self, c: Channel, sample: int, base: int, parts: Vector) -> None:
        left = (sample >> self.loud) - (base >> self.loud)
        for one, part in zip(c.filters, parts, strict=True):
            value = left
            left -= part
            one.learn(left, value)
        c.fit.learn(c.x, sample >> self.scale)
        c.x[: self.own] = [sample >> self.scale, *c.x[: self.own - 1]]
        c.newest = sample


# ----------------------------------------------------------------------------------------------------------------------
# media.md: Pixels
# ----------------------------------------------------------------------------------------------------------------------

MARGIN = 3


@dataclass(frozen=True)
class PixelFormat:
    """Rows of pixels."""

    columns: int
    planes: int
    width: int
    big: bool


@dataclass
class Site:
    """A sample's place and what is guessed there."""

    column: int  # with the margin
    plane: int
    n: int
    w: int
    nw: int
    ne: int
    x: Vector
    base: int
    guesses: Vector
    blend: int = 0


class Plane:
    """What is known of one plane: of this row and the one before, how wrong each guess was, and residuals."""

    def __init__(self, inputs: int, columns: int) -> None:
        self.fits = [LeastSquares(inputs, 8, 5), LeastSquares(inputs, 8, 9)]
        self.wrong = [[[0] * columns for _ in range(5)] for _ in range(2)]
        self.residual = [[0] * columns for _ in range(2)]


def middle(a: int, b: int, c: int) -> int:
    """Of three."""
    return sorted((a, b, c))[1]


class Pixels:
    """Rows of one format."""

    def __init__(self, f: PixelFormat) -> None:
        self.format, self.bits, self.row = f, 8 * f.width, 0
        columns = f.columns + 2 * MARGIN
        self.lines = [[0] * (columns * f.planes) for _ in range(3)]
        self.planes = [Plane(10 + 5 * p + 3 * (f.planes - 1 - p), columns) for p in range(f.planes)]
        self.residuals = Residuals(8)
        self.seen: list[tuple[int, int, tuple[int, ...]]] = [(0, 0, ())] * 65536  # check, times, pixel
        self.again, self.hits = Counters(256, 250), 0

    def decode(self, coder: RangeDecoder) -> bytes:
        """The next row."""
        self._start_row()
        f, out = self.format, b""
        for column in range(f.columns):
            at = (column + MARGIN) * f.planes
            self._pixel(coder, column, at)
            for value in self.lines[0][at : at + f.planes]:
                out += value.to_bytes(f.width, "big" if f.big else "little")
        return out

    def _start_row(self) -> None:
        """This row becomes the one before."""
        n, lines = self.format.planes, self.lines
        edge = (self.format.columns + MARGIN) * n
        if self.row:
            lines[0][edge:] = lines[0][edge - n : edge] * MARGIN
        if self.row == 1:
            lines[1] = list(lines[0])
        self.lines = lines = [lines[2], lines[0], lines[1]]
        lines[0][: MARGIN * n] = lines[1][MARGIN * n : MARGIN * n + n] * MARGIN
        for plane in self.planes:
            plane.wrong.reverse()
            plane.residual.reverse()
        self.row = min(2, self.row + 1)

    def _pixel(self, coder: RangeDecoder, column: int, at: int) -> None:
        n, (here, up, up2) = self.format.planes, self.lines
        h = 1
        for line, place in ((here, at - n), (up, at), (up, at - n), (up, at + n), (here, at - 2 * n), (up2, at)):
            pixel = 0
            for value in line[place : place + n]:
                pixel = pixel << 16 | value
            h = (h ^ pixel) * 0x9E3779B97F4A7C15 & MASK64
            h ^= h >> 29
        index, check_value = h >> 48, h & MASK32 | 1
        check_there, times, pixels = self.seen[index]
        if check_there != check_value:
            times, pixels = 0, ()
        if times:
            hit = self.again.decide(coder, times * 16 + self.hits)
            self.hits = self.hits << 1 & 15 | hit
            if hit:
                here[at : at + n] = pixels
                for plane in self.planes:
                    for wrong in plane.wrong[0]:
                        wrong[column + MARGIN] = 0
                    plane.residual[0][column + MARGIN] = 0
                self.seen[index] = (check_value, min(15, times + 1), pixels)
                return
        for number in range(n):
            here[at + number] = self._sample(coder, column + MARGIN, number)
        found = tuple(here[at : at + n])
        if times and found == pixels:
            self.seen[index] = (check_value, min(15, times + 1), found)
        else:
            self.seen[index] = (check_value, times // 4 if times > 3 else 1, found)

    def _site(self, column: int, number: int) -> Site:
        """Neighbours, the inputs of the fits, and the guesses, in 2^-3."""
        step, (here, up, up2) = self.format.planes, self.lines
        at = column * step + number
        w, n, nw, ne, nn, nne = here[at - step], up[at], up[at - step], up[at + step], up2[at], up2[at + step]
        base = (w + n) >> 1
        own = (w, n, nw, ne, here[at - 2 * step], nn, nne, up[at - 2 * step], up[at + 2 * step], up2[at - step])
        x = [value - base for value in own]
        for c in range(step):
            if c != number:
                there = at + c - number
                middle_there = (here[there - step] + up[there]) >> 1
                near = [here[there], up[there + step]] if c < number else []
                near += [here[there - step], up[there], up[there - step]]
                x += [value - middle_there for value in near]
        most = ((1 << self.bits) - 1) << 3
        guesses = [(fit.predict(x) >> 17) + base * 8 for fit in self.planes[number].fits]
        d, dw, dn, dnw = 0, w, n, nw
        if number:
            d, dw, dn, dnw = here[at - 1], w - here[at - step - 1], n - up[at - 1], nw - up[at - step - 1]
        guesses += [
            middle(w, n, w + n - nw) * 8,
            (d + middle(dw, dn, dw + dn - dnw)) * 8,
            (w + ne) * 4 + (ne - nne) * 2 + (n - nn) * 2,
        ]
        guesses = [max(0, min(most, guess)) for guess in guesses]
        return Site(column, number, n, w, nw, ne, x, base, guesses)

    def _sample(self, coder: RangeDecoder, column: int, number: int) -> int:
        s, plane = self._site(column, number), self.planes[number]
        total = weighed = 0
        for guess, here, up in zip(s.guesses, *plane.wrong, strict=True):
            near = 2 * (here[column - 1] + up[column]) + up[column + 1] + up[column - 1] + here[column - 2]
            wrong = near + 4
            share = (1 << 40) // (wrong * wrong) // wrong + 1
            total, weighed = total + share, weighed + share * guess
        s.blend = (weighed + total // 2) // total
        predicted = (s.blend + 4) >> 3
        value = (predicted + self._residual(coder, s)) & (1 << self.bits) - 1
        for fit in plane.fits:
            fit.learn(s.x, value - s.base)
        for guess, row in zip(s.guesses, plane.wrong[0], strict=True):
            row[column] = abs(guess - value * 8)
        plane.residual[0][column] = signed(value - predicted, self.bits)
        return value

    def _residual(self, coder: RangeDecoder, s: Site) -> int:
        plane, column, blend = self.planes[s.plane], s.column, s.blend
        here, up = plane.residual
        w, n, nw, ne = abs(here[column - 1]), abs(up[column]), abs(up[column - 1]), abs(up[column + 1])
        unit = ((2 * (w + n) + nw + ne + abs(here[column - 2])) << 8) // 7 + 16
        quarters = log_quarters(unit)
        k = 0 if quarters < 34 else (quarters - 34) // 4
        level = quarters - 4 * k
        fine = level // 2 if level < 32 else min(level - 16, 31)
        last = self.planes[s.plane - 1].residual[0][column] if s.plane else here[column - 1]
        edge = abs(s.w - s.nw) + abs(s.n - s.nw) + abs(s.n - s.ne)
        ww, side, x = self.lines[0][(column - 2) * self.format.planes + s.plane], blend >> 1 & 3, blend >> 3
        texture = sum((value > x) << bit for bit, value in enumerate((s.w, s.n, s.nw, s.ne, ww)))
        contexts = [
            fine * 32 + against(w << 8, unit),
            fine * 32 + against(n << 8, unit),
            fine * 32 + against(abs(last) << 8, unit),
            fine * 32 + min(log_quarters(edge), 31),
            fine * 32 + against(abs(s.guesses[0] - s.guesses[1]) << 5, unit),
            against(abs(blend - s.guesses[2]) << 5, unit) * 32 + fine,
            (fine // 2 * 2 + s.plane // 2) * 32 + texture,
            min(blend >> self.bits - 2, 31) * 32 + fine,
        ]
        sign = side << 4 | (last < 0) << 3 | (s.guesses[0] > blend) << 2 | (s.guesses[2] > blend) << 1
        return self.residuals.decode(coder, k, contexts, side * 16 + fine // 2, sign | (here[column - 1] < 0))


# ----------------------------------------------------------------------------------------------------------------------
# media.md: Payloads
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MediaRun:
    """Bytes before it, then samples or rows."""

    before: int
    count: int
    format: SampleFormat | PixelFormat
    padding: int = 0

    @property
    def size(self) -> int:
        """Bytes of a sample of all channels, or of a row."""
        f = self.format
        if isinstance(f, SampleFormat):
            return f.width * f.channels
        return f.columns * f.planes * f.width + self.padding


def read_media_runs(at: Cursor, size: int, count: int, read_format: Callable[[Cursor], MediaRun]) -> list[MediaRun]:
    """The runs of a payload, which fit the data."""
    runs: list[MediaRun] = []
    changes, left = 0, size
    check(count <= (len(at.data) - at.at) // 2, f"{at.what}: too many runs")
    for _ in range(count):
        before, packed = at.varint(), at.varint()
        check(bool(runs) or packed & 1 == 1, f"{at.what}: no format")
        like = read_format(at) if packed & 1 else runs[-1]
        run = MediaRun(before, packed >> 1, like.format, like.padding)
        changes += bool(runs) and runs[-1].format != run.format
        runs.append(run)
        left -= before + run.count * run.size
        check(run.count > 0 and left >= 0, f"{at.what}: runs beyond the data")
    check(changes <= 8 + size // 65536, f"{at.what}: too many formats")
    return runs


def media_payload(payload: bytes, size: int, what: str) -> Cursor | None:
    """A reader behind the version; None if there is nothing but data."""
    at = Cursor(payload, what)
    version = at.varint()
    if version == 0:
        return None
    check(version == 1, f"{what}: version {version}")
    allow(size, 1 << 16, 1 << 16, len(payload), what)
    return at


def decode_pcm(payload: bytes, size: int) -> bytes:
    """The data of a frame of codec pcm."""
    at = media_payload(payload, size, "pcm payload")
    if at is None:
        return payload[1:]
    form = at.varint()
    runs = read_media_runs(at, size, form >> 1, read_sample_format)
    coder, around, out = RangeDecoder(at.rest()), Bytes(), bytearray()
    samples: Samples | None = None
    for run in runs:
        out += around.decode(coder, run.before)
        assert isinstance(run.format, SampleFormat)
        if samples is None or samples.format != run.format:
            samples = Samples(run.format, fast=bool(form & 1))
        for _ in range(run.count):
            out += samples.decode(coder)
    return bytes(out + around.decode(coder, size - len(out)))


def read_sample_format(at: Cursor) -> MediaRun:
    """A format of samples."""
    packed, shift = at.varint(), at.varint()
    check(packed < 128, f"{at.what}: an impossible format")
    found = SampleFormat((packed & 3) + 1, (packed >> 4) + 1, shift, bool(packed & 4), bool(packed & 8))
    check(shift < 8 * found.width, f"{at.what}: an impossible format")
    return MediaRun(0, 0, found)


def decode_image(payload: bytes, size: int) -> bytes:
    """The data of a frame of codec image."""
    at = media_payload(payload, size, "image payload")
    if at is None:
        return payload[1:]
    runs = read_media_runs(at, size, at.varint(), read_pixel_format)
    coder, around, out = RangeDecoder(at.rest()), Bytes(), bytearray()
    pixels: Pixels | None = None
    for run in runs:
        out += around.decode(coder, run.before)
        assert isinstance(run.format, PixelFormat)
        if pixels is None or pixels.format != run.format:
            pixels = Pixels(run.format)
        for _ in range(run.count):
            out += pixels.decode(coder)
            out += around.decode(coder, run.padding)
    return bytes(out + around.decode(coder, size - len(out)))


def read_pixel_format(at: Cursor) -> MediaRun:
    """A format of pixels."""
    columns, packed, padding = at.varint(), at.varint(), at.varint()
    check(packed < 16, f"{at.what}: an impossible format")
    found = PixelFormat(columns, (packed & 3) + 1, (packed >> 2 & 1) + 1, bool(packed & 8))
    check(0 < columns * found.planes <= 1 << 18 and padding < 1 << 32, f"{at.what}: an impossible format")
    return MediaRun(0, 0, found, padding)


def decode_tensors(payload: bytes, size: int) -> bytes:
    """The data of a frame of codec tensors."""
    at = Cursor(payload, "tensors payload")
    form = at.u8()
    width, turned = form & 15, bool(form & 16)
    check(form < 32 and width in (2, 4, 8) and not (turned and width == 8), f"{at.what}: an impossible form")
    start = at.varint()
    check(start <= size, f"{at.what}: an impossible form")
    count = (size - start) // width
    sizes = [at.varint() for _ in range(width)]
    planes = []
    for coded in sizes:
        plane = at.take(coded or count)
        if coded:
            allow(count, 1 << 17, 1 << 15, coded, at.what)
            plane = unzstd(plane, count)
        planes.append(plane)
    before, behind = at.take(start), at.take(size - start - count * width)
    at.end()
    if turned:
        exponent, rest = planes[0], planes[1]
        planes[0] = bytes(r & 128 | e >> 1 for e, r in zip(exponent, rest, strict=True))
        planes[1] = bytes((e & 1) << 7 | r & 127 for e, r in zip(exponent, rest, strict=True))
    numbers = bytearray(count * width)
    for place, plane in enumerate(planes):
        numbers[width - 1 - place :: width] = plane
    return before + bytes(numbers) + behind


# ----------------------------------------------------------------------------------------------------------------------
# media.md: Streams of deflate
# ----------------------------------------------------------------------------------------------------------------------

LITERALS, DISTANCES, END_OF_BLOCK = 286, 30, 256
SHORTEST, LONGEST, MOST_STORED = 3, 258, 65535
STORED, FIXED, DYNAMIC, GIVEN = range(4)
BY_DEFAULT, FILTERED, HUFFMAN_ONLY, RUNS_ONLY, ALWAYS_FIXED = range(5)

Token = tuple[int, int]
"""Length and distance of a match."""
NO_MATCH: Token = (1, 0)


class BitWriter:
    """Bits as deflate has them: the lowest of a byte first."""

    def __init__(self) -> None:
        self.out, self.held, self.count = bytearray(), 0, 0

    def put(self, value: int, count: int) -> None:
        """The lowest ``count`` bits of a number that has no others."""
        self.held |= value << self.count
        self.count += count
        whole = self.count >> 3
        self.out += (self.held & (1 << 8 * whole) - 1).to_bytes(whole, "little")
        self.held >>= 8 * whole
        self.count &= 7

    def pad(self) -> None:
        """Zeros up to a whole byte."""
        self.put(0, -self.count & 7)


class BitReader:
    """The same, read from a number of bits."""

    def __init__(self, data: bytes, size: int) -> None:
        self.bits, self.left = int.from_bytes(data, "little"), size

    def get(self, count: int) -> int:
        """The next ``count`` bits."""
        check(count <= self.left, "recipe: a header that is too short")
        value = self.bits & (1 << count) - 1
        self.bits >>= count
        self.left -= count
        return value


# media.md: Streams of deflate, Tokens

LEVELS = (
    (0, 0, 0, 0), (4, 4, 8, 4), (4, 5, 16, 8), (4, 6, 32, 32), (4, 4, 16, 16), (8, 16, 32, 32),
    (8, 16, 128, 128), (8, 32, 128, 256), (32, 128, 258, 1024), (32, 258, 258, 4096),
)  # fmt: skip
"""good, lazy, nice, chain of each level."""
TOO_FAR = 4096


class Matcher:
    """What zlib's search gives at a position, whatever the tokens before were."""

    def __init__(self, data: bytes, level: int, memory: int, window: int, strategy: int) -> None:
        self.data, self.at, self.work = data, 0, 0
        self.good, self.lazy, self.nice, self.chain = LEVELS[level]
        self.is_slow, self.strategy = level > 3, strategy if level else HUFFMAN_ONLY
        self.shift, self.mask = (memory + 9) // 3, (1 << memory + 7) - 1
        self.reach = max(0, (1 << window) - LONGEST - SHORTEST - 1)
        self.inserted, self.heads, self.before = 0, dict[int, int](), [0] * len(data)
        self.ahead = self.next = NO_MATCH  # length and place of a match that the position before found; or none

    def insert(self, end: int) -> None:
        """Positions before ``end`` are put into the chains of their hashes."""
        for at in range(self.inserted, min(end, len(self.data) - 2)):
            a, b, c = self.data[at : at + 3]
            key = (a << 2 * self.shift ^ b << self.shift ^ c) & self.mask
            self.before[at] = self.heads.get(key, 0)
            self.heads[key] = at
            self.inserted = at + 1

    def common(self, a: int, b: int, most: int) -> int:
        """How many bytes at two places are the same."""
        size, data = 0, self.data
        while size < most and data[a + size] == data[b + size]:
            size += 1
        return size

    def longest(self, at: int, length: int) -> tuple[int, int]:
        """The longest match of more than ``length`` bytes, and its place; else ``length``."""
        data, left, place = self.data, len(self.data) - at, 0
        most, nice = min(left, LONGEST), min(left, self.nice)
        chain = self.chain >> 2 if length >= self.good else self.chain
        limit, there = max(0, at - self.reach), self.before[at]
        if length >= most:
            return min(length, left), 0
        while True:
            self.work += 1
            if data[there + length] == data[at + length] and data[there + length - 1] == data[at + length - 1]:
                size = self.common(there, at, most)
                self.work += size // 8 if data[there] == data[at] else 0
                if size > length:
                    length, place = size, there
                    if size >= nice or size >= most:
                        break
            there, chain = self.before[there], chain - 1
            if there <= limit or not chain:
                break
        return length, place

    def search(self, at: int, length: int) -> tuple[int, int]:
        """The same under the conditions of zlib."""
        self.insert(at + 1)
        if len(self.data) - at < SHORTEST:
            return 2, 0
        head = self.before[at]
        if head == 0 or at - head > self.reach:
            return 2, 0
        length, place = self.longest(at, length)
        is_far = length == SHORTEST and at - place > TOO_FAR
        if self.is_slow and length <= 5 and (self.strategy == FILTERED or is_far):
            return 2, 0
        return length, place

    def predict(self) -> Token:
        """The token that is expected at the present position."""
        at, self.next = self.at, NO_MATCH
        if self.strategy == HUFFMAN_ONLY:
            return NO_MATCH
        if self.strategy == RUNS_ONLY:
            size = self.common(at - 1, at, min(LONGEST, len(self.data) - at)) if at else 0
            return NO_MATCH if size < SHORTEST else (size, 1)
        length, place = self.search(at, 2) if self.ahead == NO_MATCH else self.ahead
        if length < SHORTEST:
            return NO_MATCH
        if self.is_slow and length < self.lazy and at + 1 < len(self.data):
            following = self.search(at + 1, length)
            if following[0] > length:
                self.next = following
                return NO_MATCH
        return length, at - place

    def advance(self, predicted: Token, actual: Token) -> None:
        """Go on behind the token that is there."""
        length, end = actual[0], self.at + actual[0]
        self.ahead = self.next if predicted == actual == NO_MATCH else NO_MATCH
        if self.strategy not in (HUFFMAN_ONLY, RUNS_ONLY):
            near = length <= self.lazy and len(self.data) - end >= SHORTEST
            self.insert(end if self.is_slow or actual == NO_MATCH or near else self.at + 1)
            self.inserted = max(self.inserted, end)
        self.at = end
        check(self.work <= (1 << 20) + 256 * len(self.data), "recipe: its search takes too long")


# media.md: Streams of deflate, Codes


def code_lengths(counts: Sequence[int], most: int) -> list[int]:
    """Bits of each symbol's code, as zlib's heap makes them."""
    n, last = len(counts), max((i for i, count in enumerate(counts) if count), default=-1)
    weights, depths = list(counts) + [0] * n, [0] * 2 * n
    heap = [0, *(i for i, count in enumerate(counts) if count)]  # from 1
    while len(heap) < 3:
        last, node = (last + 1, last + 1) if last < 2 else (last, 0)
        heap.append(node)
        weights[node] = 1

    def sift(at: int) -> None:
        """Down to where both nodes below are heavier."""
        node = heap[at]
        while 2 * at < len(heap):
            below = 2 * at
            if below + 1 < len(heap) and lighter(heap[below + 1], heap[below]):
                below += 1
            if lighter(node, heap[below]):
                break
            heap[at], at = heap[below], below
        heap[at] = node

    def lighter(a: int, b: int) -> bool:
        return (weights[a], depths[a]) <= (weights[b], depths[b])

    for at in range(len(heap) // 2, 0, -1):
        sift(at)
    taken, parents, node = list[int](), [0] * 2 * n, n
    while len(heap) > 2:
        first, heap[1] = heap[1], heap[-1]
        heap.pop()
        sift(1)
        second = heap[1]
        taken += [first, second]
        weights[node] = weights[first] + weights[second]
        depths[node] = max(depths[first], depths[second]) + 1
        parents[first] = parents[second] = node
        heap[1] = node
        sift(1)
        node += 1
    return limited(taken, parents, n, most)


def limited(taken: list[int], parents: list[int], n: int, most: int) -> list[int]:
    """Bits of the leaves of a tree whose nodes were taken in this order, none above ``most``."""
    bits, numbers, excess = [0] * 2 * n, [0] * (most + 1), 0
    for node in reversed(taken):
        deep = bits[parents[node]] + 1
        bits[node] = min(deep, most)
        excess += deep > most
        numbers[bits[node]] += node < n
    if excess:
        for _ in range(0, excess, 2):
            length = max(size for size in range(most) if numbers[size])
            numbers[length] -= 1
            numbers[length + 1] += 2
            numbers[most] -= 1
        leaves = (node for node in taken if node < n)
        for length in range(most, 0, -1):
            for _ in range(numbers[length]):
                bits[next(leaves)] = length
    return bits[:n]


def codes_of(lengths: Sequence[int]) -> list[int]:
    """Canonical codes (RFC 1951, 3.2.2), their bits in the order in which they are written."""
    codes, code = [0] * len(lengths), 0
    for bits in range(1, 16):
        code <<= 1
        for symbol, length in enumerate(lengths):
            if length == bits:
                codes[symbol] = int(f"{code:0{bits}b}"[::-1], 2)
                code += 1
    return codes


def length_symbol(length: int) -> tuple[int, int, int]:
    """Symbol, extra bits and how many of them (RFC 1951, 3.2.5)."""
    value = length - SHORTEST
    if length == LONGEST or value < 8:
        return (285 if length == LONGEST else 257 + value), 0, 0
    bits = value.bit_length() - 3
    return 257 + 4 * bits + (value >> bits), value & (1 << bits) - 1, bits


def distance_symbol(distance: int) -> tuple[int, int, int]:
    """The same of a distance."""
    value = distance - 1
    if value < 4:
        return value, 0, 0
    bits = value.bit_length() - 2
    return 2 * bits + (value >> bits), value & (1 << bits) - 1, bits


Lengths = tuple[list[int], list[int]]
"""Bits of the codes of literals and lengths, and of distances."""
FIXED_LENGTHS: Lengths = ([8] * 144 + [9] * 112 + [7] * 24 + [8] * 8, [5] * 30)
ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
EXTRA_OF_RUN = {16: 2, 17: 3, 18: 7}


def runs_of(lengths: list[int]) -> list[tuple[int, int]]:
    """A table of lengths as symbols with extra bits."""
    found: list[tuple[int, int]] = []
    before, at = -1, 0
    while at < len(lengths):
        now = lengths[at]
        most = 138 if now == 0 else 6 if now == before else 7
        count = 1
        while count < most and lengths[at + count : at + count + 1] == [now]:
            count += 1
        new = now != before
        if now == 0 and count >= 3:
            found.append((18, count - 11) if count > 10 else (17, count - 3))
        elif now and count >= 3 + new:
            found += [(now, 0)] * new + [(16, count - 3 - new)]
        else:
            found += [(now, 0)] * count
        before, at = now, at + count
    return found


class Header:
    """The header of a dynamic block, behind its kind, as zlib writes it."""

    def __init__(self, lengths: Lengths) -> None:
        self.tables = [list(table) for table in lengths]
        for table, least in zip(self.tables, (257, 1), strict=True):
            while len(table) > least and not table[-1]:
                table.pop()
        self.runs = runs_of(self.tables[0]) + runs_of(self.tables[1])
        symbols = [symbol for symbol, _ in self.runs]
        self.lengths = code_lengths([symbols.count(symbol) for symbol in range(19)], 7)
        self.sent = max(4, *(at + 1 for at, symbol in enumerate(ORDER) if self.lengths[symbol]))
        self.bits = 14 + 3 * self.sent + sum(self.lengths[s] + EXTRA_OF_RUN.get(s, 0) for s in symbols)

    def write(self, out: BitWriter) -> None:
        """All of it."""
        literals, distances = map(len, self.tables)
        out.put(literals - 257 | distances - 1 << 5 | self.sent - 4 << 10, 14)
        for symbol in ORDER[: self.sent]:
            out.put(self.lengths[symbol], 3)
        codes = codes_of(self.lengths)
        for symbol, extra in self.runs:
            out.put(codes[symbol], self.lengths[symbol])
            out.put(extra, EXTRA_OF_RUN.get(symbol, 0))


def check_code(lengths: Sequence[int]) -> None:
    """A code is complete, or has one symbol or none."""
    used = sum(1 for length in lengths if length)
    room = sum(1 << 15 - length for length in lengths if length)
    check(room == 1 << 15 or (used <= 1 and room <= 1 << 15), "recipe: codes that make no sense")


def read_given_header(at: BitReader) -> Lengths:
    """The codes of a header that the recipe has; it has nothing else."""
    literals, distances, sent = at.get(5) + 257, at.get(5) + 1, at.get(4) + 4
    check(literals <= LITERALS and distances <= DISTANCES, "recipe: codes that make no sense")
    short = [0] * 19
    for symbol in ORDER[:sent]:
        short[symbol] = at.get(3)
    check_code(short)
    known = {(code, bits): s for s, (code, bits) in enumerate(zip(codes_of(short), short, strict=True)) if bits}
    found: list[int] = []
    while len(found) < literals + distances:
        code = bits = 0
        while (code, bits) not in known:
            check(bits < 7, "recipe: codes that make no sense")
            code, bits = code | at.get(1) << bits, bits + 1
        symbol = known[code, bits]
        check(symbol != 16 or bool(found), "recipe: codes that make no sense")
        value = symbol if symbol < 16 else found[-1] if symbol == 16 else 0
        least = {16: 3, 17: 3, 18: 11}.get(symbol, 1)
        found += [value] * (least + at.get(EXTRA_OF_RUN.get(symbol, 0)))
    check(len(found) == literals + distances and not at.left, "recipe: a header of another size")
    tables = found[:literals], found[literals:]
    check(tables[0][END_OF_BLOCK] > 0, "recipe: a block without an end")
    check_code(tables[0])
    check_code(tables[1])
    return tables[0] + [0] * (LITERALS - literals), tables[1] + [0] * (DISTANCES - distances)


# media.md: Streams of deflate, Blocks


def symbols_of(tokens: list[Token], data: bytes) -> Iterator[tuple[int, int, tuple[int, int, int]]]:
    """Each token's symbol, table (0: literals, 1: distances), extra bits and how many of them."""
    at = 0
    for length, distance in tokens:
        if distance:
            yield 0, *_with_extra(length_symbol(length))
            yield 1, *_with_extra(distance_symbol(distance))
        else:
            yield 0, data[at], (data[at], 0, 0)
        at += length
    yield 0, END_OF_BLOCK, (END_OF_BLOCK, 0, 0)


def _with_extra(symbol: tuple[int, int, int]) -> tuple[int, tuple[int, int, int]]:
    return symbol[0], symbol


class Block:
    """Tokens and what codes they would get."""

    def __init__(self, tokens: list[Token], data: bytes) -> None:
        self.data, self.symbols = data, list(symbols_of(tokens, data))
        counts = ([0] * LITERALS, [0] * DISTANCES)
        for table, symbol, _ in self.symbols:
            counts[table][symbol] += 1
        self.lengths: Lengths = (code_lengths(counts[0], 15), code_lengths(counts[1], 15))
        self.header = Header(self.lengths)

    def bits(self, lengths: Lengths) -> int:
        """Of all tokens."""
        return sum(lengths[table][symbol] + extra[2] for table, symbol, extra in self.symbols)

    def kind(self, *, always_fixed: bool) -> int:
        """What zlib takes."""
        dynamic, fixed = self.bits(self.lengths) + self.header.bits + 10 >> 3, self.bits(FIXED_LENGTHS) + 10 >> 3
        is_fixed = fixed <= dynamic or always_fixed
        if len(self.data) <= MOST_STORED and len(self.data) + 4 <= (fixed if is_fixed else dynamic):
            return STORED
        return FIXED if is_fixed else DYNAMIC

    def write(self, out: BitWriter, lengths: Lengths) -> None:
        """All tokens and the block's end, in these codes."""
        codes = codes_of(lengths[0]), codes_of(lengths[1])
        for table, symbol, (_, extra, count) in self.symbols:
            check(lengths[table][symbol] > 0, "recipe: a token without a code")
            out.put(codes[table][symbol], lengths[table][symbol])
            out.put(extra, count)


class Recipe:
    """Makes a stream of deflate again from its data."""

    def __init__(self, recipe: bytes, data: bytes) -> None:
        at = Cursor(recipe, "recipe")
        (strategy, level), (window, self.memory) = divmod(at.u8(), 16), divmod(at.u8(), 16)
        check(level <= 9 and strategy <= 4 and 1 <= self.memory <= 9 and window <= 7, "recipe: impossible parameters")
        self.blocks = Cursor(at.take(at.varint()), "recipe")
        self.corrections = Cursor(at.rest(), "recipe")
        self.data, self.always_fixed = data, strategy == ALWAYS_FIXED
        self.matcher = Matcher(data, level, self.memory, 15 - window, strategy)
        self.most, self.out = (1 << self.memory + 6) - 1, BitWriter()
        self.next_block, self.next_correction = next_of(self.blocks), next_of(self.corrections)

    def stream(self) -> bytes:
        """All of it."""
        left, last = 16 + len(self.data) // 32, False
        while not last:
            check(left > 0, "recipe: too many blocks")
            left -= 1
            last = self.make_strange_block() if self.next_block == 0 else self.make_block()
        self.out.pad()
        check(self.matcher.at == len(self.data), "recipe: it ends before its data")
        check(self.next_block < 0 and self.next_correction < 0, "recipe: it goes on behind its data")
        return bytes(self.out.out)

    def make_block(self) -> bool:
        """One as zlib makes it; whether it is the last one."""
        self.next_block -= 1
        tokens, data = self.take_tokens(self.most)
        block, last = Block(tokens, data), len(tokens) < self.most
        kind = block.kind(always_fixed=self.always_fixed)
        self.out.put(last | kind << 1, 3)
        self.write(kind, block, block.lengths if kind == DYNAMIC else FIXED_LENGTHS)
        return last

    def make_strange_block(self) -> bool:
        """One that the recipe describes."""
        packed = self.blocks.varint()
        kind, last, size = packed & 3, bool(packed & 4), packed >> 3
        check(size <= len(self.data) - self.matcher.at, "recipe: a block beyond its data")
        self.out.put(last | min(kind, DYNAMIC) << 1, 3)
        if kind == STORED:
            check(size <= MOST_STORED, "recipe: a stored block that is too long")
            self.put_stored(self.pass_over(size))
        else:
            header, bits = b"", 0
            if kind == GIVEN:
                bits = self.blocks.varint()
                header = self.blocks.take(-(-bits // 8))
            tokens, data = self.take_tokens(size)
            check(len(tokens) == size, "recipe: a block that is too long")
            block = Block(tokens, data)
            given = read_given_header(BitReader(header, bits)) if kind == GIVEN else block.lengths
            for place in range(bits):
                self.out.put(header[place >> 3] >> (place & 7) & 1, 1)
            self.write(kind, block, FIXED_LENGTHS if kind == FIXED else given)
        self.next_block = next_of(self.blocks)
        return last

    def write(self, kind: int, block: Block, lengths: Lengths) -> None:
        """The rest of a block behind its kind, and behind a header that was given."""
        if kind == STORED:
            self.put_stored(block.data)
            return
        if kind == DYNAMIC:
            block.header.write(self.out)
        block.write(self.out, lengths)

    def put_stored(self, data: bytes) -> None:
        """Length, its complement, bytes."""
        self.out.pad()
        self.out.out += struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data

    def pass_over(self, size: int) -> bytes:
        """The data of a stored block that differs: tokens do not go beyond it, and are not corrected."""
        m = self.matcher
        start, end = m.at, m.at + size
        while m.at < end:
            predicted = m.predict()
            m.advance(predicted, predicted if predicted[0] <= end - m.at else NO_MATCH)
        return self.data[start:end]

    def take_tokens(self, most: int) -> tuple[list[Token], bytes]:
        """Up to so many tokens, and their data."""
        m, tokens, start = self.matcher, list[Token](), self.matcher.at
        while len(tokens) < most and m.at < len(self.data):
            predicted = m.predict()
            actual = self.read_correction() if self.next_correction == 0 else predicted
            if self.next_correction >= 0 and actual is predicted:
                self.next_correction -= 1
            m.advance(predicted, actual)
            tokens.append(actual)
        return tokens, self.data[start : m.at]

    def read_correction(self) -> Token:
        """A token that is not the predicted one; a match is true."""
        length, token, at = self.corrections.varint(), NO_MATCH, self.matcher.at
        if length:
            token = length + 2, self.corrections.varint()
            fits = token[0] <= min(LONGEST, len(self.data) - at) and 1 <= token[1] <= min(32768, at)
            check(fits and self.matcher.common(at, at - token[1], token[0]) == token[0], "recipe: a match of nothing")
        self.next_correction = next_of(self.corrections)
        return token


def next_of(at: Cursor) -> int:
    """How many come before the next one that differs; -1: all that are left."""
    return at.varint() if at.at < len(at.data) else -1


# media.md: Payloads, rebuild


def decode_rebuild(payload: bytes, size: int, depth: int = 0) -> bytes:
    """The data of a frame of codec rebuild, or of such a piece in one."""
    at = Cursor(payload, "rebuild payload")
    check(0 < size <= WINDOW, "rebuild payload: of an impossible size")
    version = at.u8()
    if version == 0:
        check(len(payload) - 1 == size, "rebuild payload: of another size")
        return at.rest()
    if version != 1:
        raise UnsupportedError(f"rebuild payload: version {version}")
    count, most = at.varint(), min(1 << 25, (1 << 20) + 64 * size) + 2 * size
    check(1 <= count <= 16, "rebuild payload: too many pieces")
    table = [(at.u8(), at.varint(), at.varint()) for _ in range(count)]
    check(all(data for _, data, _ in table), "rebuild payload: a piece of nothing")
    check(sum(data for _, data, _ in table) <= most, "rebuild payload: beyond the limit")
    pieces = [decode_piece(codec, at.take(coded), data, depth) for codec, data, coded in table]
    at.end()
    return Plan(pieces[0], b"".join(pieces[1:]), size).joined()


def decode_piece(codec: int, payload: bytes, size: int, depth: int) -> bytes:
    """The data of a piece."""
    check(codec in (STORE, ZSTD, CM, IMAGE) or (codec == REBUILD and depth == 0), "rebuild payload: a foreign piece")
    if codec == ZSTD:
        allow(size, 1 << 17, 1 << 15, len(payload), "rebuild payload")
    decoders: dict[int, Callable[[], bytes]] = {
        STORE: lambda: payload,
        ZSTD: lambda: unzstd(payload, size),
        CM: lambda: decode_cm(payload, size, []),
        IMAGE: lambda: decode_image(payload, size),
        REBUILD: lambda: decode_rebuild(payload, size, depth + 1),
    }
    data = decoders[codec]()
    check(len(data) == size, "rebuild payload: a piece of another size")
    return data


class Plan:
    """Puts data together whose streams were unpacked."""

    def __init__(self, plan: bytes, unpacked: bytes, size: int) -> None:
        self.at, groups = Cursor(plan, "plan"), Cursor(unpacked, "groups of a plan")
        self.size, self.streams, self.out = size, 0, bytearray()
        count = self.at.varint()
        check(1 <= count <= 4096, "plan: too many groups")
        self.groups = [Cursor(groups.take(self.at.varint()), "group of a plan") for _ in range(count)]
        groups.end()

    def joined(self) -> bytes:
        """All steps, which use up all groups."""
        while self.at.at < len(self.at.data):
            packed, size = self.at.varint(), self.at.varint()
            kind, number = packed & 3, packed >> 2
            check(number < len(self.groups), "plan: a group that is not there")
            group = self.groups[number]
            if kind == 0:
                self.out += group.take(size)
            elif kind == 3:
                self.join_png(group, size)
            else:
                data = group.take(size)
                self.out += self.stream_of(data)
                self.out += zlib.adler32(data).to_bytes(4, "big") if kind == 2 else b""
            check(len(self.out) <= self.size, "plan: it makes too much")
        for group in self.groups:
            group.end()
        check(len(self.out) == self.size, "plan: it makes too little")
        return bytes(self.out)

    def stream_of(self, data: bytes) -> bytes:
        """The stream that the next recipe makes of some data."""
        recipe = self.at.take(self.at.varint())
        self.streams += 1
        check(self.streams <= 1 + self.size // 32, "plan: too many streams")
        return Recipe(recipe, data).stream()

    def join_png(self, group: Cursor, size: int) -> None:
        """The IDAT chunks of a PNG file."""
        row, pixel = divmod(self.at.varint(), 16)
        data = self.filtered(group, size, row, pixel) if row else group.take(size)
        head = self.at.varint()
        check(head < 1 << 16, "plan: a head that is too large")
        stream = head.to_bytes(2, "big") + self.stream_of(data) + zlib.adler32(data).to_bytes(4, "big")
        count, own = divmod(self.at.varint(), 2)
        check(0 < count <= len(stream) + self.size, "plan: an impossible number of chunks")
        each = 0 if own or count < 2 else self.at.varint()
        chunks = Cursor(stream, "chunks of a plan")
        for number in range(count):
            last = number + 1 == count
            chunk = b"IDAT" + (chunks.rest() if last else chunks.take(self.at.varint() if own else each))
            self.out += (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
            check(len(self.out) <= self.size, "plan: it makes too much")

    def filtered(self, group: Cursor, size: int, row: int, pixel: int) -> bytes:
        """Rows of pixels, with the filters that the first group has (PNG, 9.2)."""
        check(1 <= pixel <= 8 and size % (row + 1) == 0 and row <= size, "plan: impossible rows")
        rows = size // (row + 1)
        filters, pixels = self.groups[0].take(rows), group.take(rows * row)
        check(max(filters, default=0) <= 4, "plan: an unknown filter")
        out, above = bytearray(), bytes(row + pixel)
        for number, kind in enumerate(filters):
            now = bytes(pixel) + pixels[number * row : (number + 1) * row]  # zeros are left of each row
            out.append(kind)
            for i in range(row):
                a, b, c = now[i], above[i + pixel], above[i]
                out.append(now[i + pixel] - (0, a, b, a + b >> 1, paeth(a, b, c))[kind] & 255)
            above = now
        return bytes(out)


def paeth(a: int, b: int, c: int) -> int:
    """The neighbour that is next to a + b - c."""
    return min((a, b, c), key=lambda x: abs(a + b - c - x))


# ----------------------------------------------------------------------------------------------------------------------
# zllm-format.md: Reading
# ----------------------------------------------------------------------------------------------------------------------


@dataclass
class Section:
    """A section and its frames."""

    part: Part
    header: SectionHeader
    map: SectionMap
    map_offset: int  # inside the body
    frames: list[Part] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)


@dataclass
class Generation:
    """Parts up to a footer."""

    parts: list[Part] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    directory: Directory | None = None


@dataclass
class Member:
    """A member of the tar stream, or all of a stream that is not a tar."""

    name: bytes
    generation: int
    data: bytes
    hidden: bool = False  # a later generation deletes it


class Archive:
    """One archive, from its header to its last footer. Nothing is decoded yet."""

    def __init__(self, data: bytes, models: dict[bytes, Model]) -> None:
        self.data, self.seed, self.models = data, read_header(data), dict(models)
        self.generations: list[Generation] = []
        self.model_parts: dict[int, dict[str, Any]] = {}  # by the part's number
        self.size, self._number, self._stream = HEADER_SIZE, 0, 0
        while not self.generations or self._goes_on():
            self._read_generation()
        sections = self.sections
        raw = {bool(section.header.flags & NO_TAR) for section in sections}
        check(len(raw) <= 1, "sections of a tar and of a stream that is none")
        self.is_raw = raw != {False}
        check(not sections or not sections[-1].header.flags & GOES_ON, "the last member goes on behind the end")

    @property
    def sections(self) -> list[Section]:
        """Those of all generations."""
        return [section for generation in self.generations for section in generation.sections]

    def _goes_on(self) -> bool:
        """Whether there is another generation: a part of this archive, behind its footer."""
        if self.data[self.size : self.size + 2] != b"\xb5\x5a":
            return False
        at = Cursor(self.data, "part", self.size + 4)
        try:
            at.varint(), at.varint()
            return at.take(2) == xxh3(self.data[self.size : at.at - 2], 2, self.seed)
        except DamagedError:
            return False

    def _read_generation(self) -> None:
        """Parts, a directory, a footer."""
        generation = Generation()
        self.generations.append(generation)
        while True:
            check(self.size < len(self.data), "the archive ends before its footer: it was cut off")
            part = read_part(self.data, self.size, self.seed)
            check(part.number == self._number, f"part at {part.offset}: number {part.number}, {self._number} was due")
            self.size, self._number = self.size + part.size, self._number + 1
            generation.parts.append(part)
            last = generation.sections[-1] if generation.sections else None
            due = len(last.map.frames) - len(last.frames) if last else 0
            directory = generation.directory
            check(part.kind == FRAME or not due, f"part at {part.offset}: a frame was due")
            check((directory is None) or part.kind == FOOTER, f"part at {part.offset}: a footer was due")
            if part.kind == SECTION:
                generation.sections.append(self._read_section(part))
            elif part.kind == FRAME:
                check(due > 0, f"part at {part.offset}: a frame of nothing")
                assert last is not None
                last.payloads.append(read_frame(part, last.map.frames[len(last.frames)]))
                last.frames.append(part)
            elif part.kind == MODEL:
                file, said = read_model_part(part)
                self.models[hashlib.sha256(file).digest()] = Model(file)
                self.model_parts[part.number] = {**said, "coded_size": len(part.body) - 33 - len_of_varint(len(file))}
            elif part.kind == DIRECTORY:
                generation.directory = read_directory(part)
            elif part.kind == FOOTER:
                check(directory is not None, f"part at {part.offset}: a footer without a directory")
                place = generation.parts[-2].offset
                check(read_footer(part) == part.offset - place, f"footer at {part.offset}: the directory is elsewhere")
                self._check_directory(generation, place)
                return

    def _read_section(self, part: Part) -> Section:
        """A section, which begins where the one before it ends."""
        at = Cursor(part.body, f"section at {part.offset}")
        header = read_section_header(at)
        check(header.start == self._stream, f"{at.what}: it begins at {header.start} of the tar stream")
        before = self.sections[-1].header.flags if self.sections else 0
        check(bool(before & GOES_ON) == bool(header.flags & CONTINUES), f"{at.what}: a member that does not go on")
        self._stream += header.size
        place = at.at
        return Section(part, header, read_map(at, header, part.number + 1), place)

    def _check_directory(self, generation: Generation, place: int) -> None:
        """It speaks of the parts that came."""
        said = generation.directory
        assert said is not None
        number, what = len(self.generations) - 1, f"directory at {place}"
        check(said.generation == number, f"{what}: generation {said.generation}, not {number}")
        before = self.generations[-2].parts[-2].offset if number else place
        check(said.back == place - before, f"{what}: the generation before is elsewhere")
        check(len(said.rows) == len(generation.sections), f"{what}: another number of sections")
        for row, section in zip(said.rows, generation.sections, strict=True):
            names = [tar_name(record.header) for record in section.map.records if record.header]
            found = Row(section.part.offset, section.part.number, len(names), row.length, names=row.names)
            if row.length:
                found.length, found.header = len(section.part.body), section.header
                found.frames, found.frames_size = len(section.frames), sum(frame.size for frame in section.frames)
            check(found == row, f"{what}: it says something else of the section at {section.part.offset}")
            missing = [n for n in names if row.names is not None and not has_name(row.names, n.rstrip(b"/"), self.seed)]
            check(not missing, f"{what}: a filter of names without a name")
        kinds = (SECTION, FRAME, DIRECTORY, FOOTER)
        others = [p for p in generation.parts if p.kind not in kinds]
        found_others = [(p.kind, p.flags, p.offset, p.number, len(p.body)) for p in others]
        check(found_others == said.others, f"{what}: it names other parts")

    def model(self, section: Section, slot: int) -> Model:
        """The model of a frame, whose known answer was checked."""
        check(slot > 0, f"section at {section.part.offset}: a frame without a model")
        ref = section.header.models[slot - 1]
        if ref.arithmetic != ARITHMETIC:
            raise UnsupportedError(f"section at {section.part.offset}: arithmetic {ref.arithmetic}")
        if ref.sha256 not in self.models:
            raise UnsupportedError(f"the model {ref.name} is needed (--model), SHA-256 {ref.sha256.hex()}")
        model = self.models[ref.sha256]
        if ref.known_answer not in model.answers:
            check(known_answer(model)[:4] == ref.known_answer, f"the model {ref.name} gives another known answer")
            model.answers.add(ref.known_answer)
        return model

    def pieces(self) -> Iterator[tuple[int, Section, int, bytes]]:
        """Every record's generation, section, place in it, and data."""
        for number, generation in enumerate(self.generations):
            for section in generation.sections:
                data = []
                for row, payload, part in zip(section.map.frames, section.payloads, section.frames, strict=True):

                    def model(section: Section = section, slot: int = row.slot) -> Model:
                        return self.model(section, slot)

                    data.append(decode_frame(row, payload, model, f"frame at {part.offset}"))
                for place, record in enumerate(section.map.records):
                    extents = (data[frame][start : start + size] for frame, start, size in record.extents)
                    yield number, section, place, b"".join(extents)

    def read(self) -> tuple[list[Member], bytes]:
        """All members, whose hashes hold, and the tar stream without what is hidden."""
        members: list[Member] = []
        stream: list[tuple[Member | None, bytes]] = []
        going_on: tuple[Member | None, bytearray] = (None, bytearray())
        for generation, section, place, data in self.pieces():
            record = section.map.records[place]
            if place == 0 and section.header.flags & CONTINUES:
                member, so_far = going_on
                so_far += data
            else:
                member, so_far = None, bytearray(data)
                if record.header:
                    member = Member(tar_name(record.header).rstrip(b"/"), generation, b"")
                    members.append(member)
            going_on = (member, so_far)
            if record.sha256:
                name = "data without a header" if member is None else member.name.decode("utf-8", "replace")
                check(hashlib.sha256(so_far).digest() == record.sha256, f"{name}: another SHA-256")
            if member is not None:
                member.data = bytes(so_far)
            stream.append((member, record.header + data + bytes(record.zeros)))
        if self.is_raw:
            members = [Member(b"-", 0, b"".join(piece for _, piece in stream))]
        self._hide(members)
        return members, b"".join(piece for member, piece in stream if member is None or not member.hidden)

    def _hide(self, members: list[Member]) -> None:
        """A generation that deletes a name hides the members of earlier ones."""
        for number, generation in enumerate(self.generations):
            assert generation.directory is not None
            for name in generation.directory.deleted:
                hit = [member for member in members if member.generation < number and member.name == name]
                check(bool(hit), "directory: it deletes a name that is not there")
                for member in hit:
                    member.hidden = True


def len_of_varint(value: int) -> int:
    """Bytes of a varint."""
    return max(1, -(-value.bit_length() // 7))


def read_file(data: bytes, models: dict[bytes, Model]) -> list[Archive]:
    """The archives in a file, one after the other, with zeros between and behind them."""
    archives = []
    while True:
        archive = Archive(data, models)
        archives.append(archive)
        rest = data[archive.size :].lstrip(b"\0")
        if not rest:
            return archives
        if not rest.startswith(MAGIC):
            check(MAGIC not in rest, "garbage between archives")
            print("warning: what is behind the archive is not part of it", file=sys.stderr)
            return archives
        data = rest


# ----------------------------------------------------------------------------------------------------------------------
# What an archive means, as tests/vectors have it
# ----------------------------------------------------------------------------------------------------------------------


def described(archive: Archive, members: list[Member] | None) -> dict[str, Any]:
    """All fields of all parts; without ``members``, nothing was decoded for it."""
    data = archive.data
    found: dict[str, Any] = {
        "header": {"version": data[8], "flags": data[9], "id": data[10:14].hex(), "size": HEADER_SIZE},
        "parts": [described_part(archive, one, part) for one in archive.generations for part in one.parts],
    }  # fmt: skip
    if members is not None:
        found["members"] = [
            {"name": m.name.decode("utf-8", "surrogateescape"), "size": len(m.data), "sha256": sha256(m.data)}
            for m in members
            if not m.hidden
        ]
    return found


def sha256(data: bytes) -> str:
    """As text."""
    return hashlib.sha256(data).hexdigest()


def described_part(archive: Archive, generation: Generation, part: Part) -> dict[str, Any]:
    """One part."""
    facts: dict[str, Any] = {
        "offset": part.offset, "kind": part.kind, "flags": part.flags, "sequence": part.number,
        "length": len(part.body),
    }  # fmt: skip
    for section in generation.sections:
        if part is section.part:
            facts |= {**described_header(section.header), "models": described_models(section.header.models)}
            facts["map"] = {"offset": section.map_offset, **described_map(section.map)}
        for row, frame, payload in zip(section.map.frames, section.frames, section.payloads, strict=True):
            if part is frame:
                facts |= {"codec": row.codec, "slot": row.slot, "data_size": row.data_size}
                facts |= {"payload_size": len(payload), "payload": sha256(payload)}
    if part.kind == MODEL:
        said = dict(archive.model_parts[part.number])
        facts |= {"coding": said.pop("codec"), **said}
    elif part.kind == DIRECTORY and generation.directory is not None:
        facts |= described_directory(generation.directory)
    elif part.kind == FOOTER:
        facts["distance"] = read_footer(part)
    return facts


def described_header(header: SectionHeader) -> dict[str, Any]:
    """The header of a section."""
    return {
        "stream_offset": header.start, "stream_size": header.size, "columns_size": header.columns_size,
        "section_flags": header.flags,
    }  # fmt: skip


def described_models(models: Iterable[ModelRef]) -> list[dict[str, Any]]:
    """Models that frames use."""
    return [
        {
            "sha256": m.sha256.hex(), "known_answer": m.known_answer.hex(), "size": m.size, "arithmetic": m.arithmetic,
            "embedded": m.embedded, "name": m.name, "origin": m.origin,
        }
        for m in models
    ]  # fmt: skip


def described_map(chart: SectionMap) -> dict[str, Any]:
    """Records, groups and frames."""
    return {
        "records": [
            {
                "header": sha256(r.header), "header_size": len(r.header), "data_size": r.data_size, "zeros": r.zeros,
                "bucket": r.bucket, "duplicate_of": r.duplicate_of, "sha256": r.sha256.hex(),
                "extents": [list(extent) for extent in r.extents],
            }
            for r in chart.records
        ],
        "groups": [
            {
                "category": group.category, "buckets": group.buckets,
                "frames": [
                    {
                        "data_size": row.data_size, "payload_size": row.payload_size, "codec": row.codec,
                        "slot": row.slot, "reason": row.reason, "rival": row.rival, "sha256": row.sha256.hex(),
                        "sequence": row.number,
                    }
                    for row in group.frames
                ],
            }
            for group in chart.groups
        ],
    }  # fmt: skip


def described_directory(said: Directory) -> dict[str, Any]:
    """A directory."""
    others = [
        {"kind": kind, "flags": flags, "offset": offset, "sequence": number, "length": length}
        for kind, flags, offset, number, length in said.others
    ]
    rows = [
        {
            "offset": row.offset, "sequence": row.number, "members": row.members, "length": row.length,
            "frames": row.frames, "frames_size": row.frames_size,
            "header": None if row.header is None else described_header(row.header),
            "models": [] if row.header is None else described_models(row.header.models),
            "names": None if row.names is None else row.names.hex(),
        }
        for row in said.rows
    ]  # fmt: skip
    return {
        "generation": said.generation, "time": said.time, "back": said.back, "rows": rows, "others": others,
        "deleted": [name.hex() for name in said.deleted], "manifest": {**said.manifest, "format": VERSION},
    }  # fmt: skip


# ----------------------------------------------------------------------------------------------------------------------
# The command line
# ----------------------------------------------------------------------------------------------------------------------


def extract(stream: bytes, folder: Path, *, is_raw: bool, name: str) -> None:
    """Unpack a tar stream by the rules of tarfile's data filter; what is none becomes a file."""
    folder.mkdir(parents=True, exist_ok=True)
    if is_raw:
        (folder / name).write_bytes(stream)
        return
    with tarfile.open(fileobj=io.BytesIO(stream), mode="r:", ignore_zeros=True) as tar:
        tar.extractall(folder, filter="data")


def find_models(given: Path | None) -> dict[bytes, Model]:
    """The model that was named."""
    if given is None:
        return {}
    model = Model(given.read_bytes())
    return {model.sha256: model}


def arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--model", type=Path, metavar="FILE.zlm", help="the model that frames of codec llm need")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--json", action="store_true", help="print what every part means")
    action.add_argument("--tar", type=Path, metavar="OUT", help="write the tar stream")
    action.add_argument("-x", type=Path, metavar="DIR", help="unpack into a folder")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    """Decode all of it, then do what is asked."""
    archives = read_file(args.archive.read_bytes(), find_models(args.model))
    found = [(archive, *archive.read()) for archive in archives]
    if args.json:
        said = [described(archive, members) for archive, members, _ in found]
        print(json.dumps(said if len(said) > 1 else said[0], indent=1, sort_keys=True))
    elif args.tar:
        args.tar.write_bytes(b"".join(stream for _, _, stream in found))
    elif args.x:
        for archive, _, stream in found:
            extract(stream, args.x, is_raw=archive.is_raw, name=args.archive.stem)
    else:
        for member in (member for _, members, _ in found for member in members if not member.hidden):
            print(f"{len(member.data):>12,} {member.name.decode('utf-8', 'backslashreplace')}")


def main() -> int:
    """Exit code 0, 3 if the archive is damaged, 2 for any other error."""
    try:
        run(arguments())
    except DamagedError as exc:
        print(f"refdec: {exc}", file=sys.stderr)
        return exc.exit_code
    except (OSError, tarfile.TarError, ImportError) as exc:
        print(f"refdec: {exc}", file=sys.stderr)
        return 2
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:  # lies without a check
        print(f"refdec: the archive or the model makes no sense ({type(exc).__name__}: {exc})", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
