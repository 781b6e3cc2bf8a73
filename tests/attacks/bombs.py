"""Archives of a few kilobytes that ask for minutes or gigabytes: every checksum in them holds."""

from __future__ import annotations

import hashlib
import random
import tarfile
import zlib
from collections.abc import Sequence

from zllm import _native
from zllm.format import columns, directory, ends, envelope, frames, section, sectionmap
from zllm.format.dictionary import DICTIONARY
from zllm.format.directory import Directory
from zllm.format.envelope import Kind
from zllm.format.frames import FrameRow
from zllm.format.section import ModelRef, SectionHeader
from zllm.format.sectionmap import Group, Record, SectionMap
from zllm.format.wire import varints

MIB = 1 << 20


def varint(value: int) -> bytes:
    """A number as bytes."""
    return varints([value])


def header(name: str = "bomb", size: int = 0) -> bytes:
    """A member's header block."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


ID = b"bomb"
SEED = envelope.seed_of(ID)


class Archive:
    """What a writer without scruples writes."""

    def __init__(self) -> None:
        self.data = bytearray(ends.pack_header(ID))
        self.rows: list[directory.Row] = []
        self.stream = 0
        self.sequence = 0

    def part(self, kind: int, body: bytes, flags: int = 0) -> Archive:
        """One more part."""
        self.data += envelope.part(SEED, kind, self.sequence, body, flags)
        self.sequence += 1
        return self

    def section(
        self,
        chart: SectionMap,
        payloads: Sequence[bytes] = (),
        packed: tuple[bytes, int] | None = None,
        models: tuple[ModelRef, ...] = (),
    ) -> Archive:
        """One more section. ``packed``: a map and the size that it claims, in place of the chart's own."""
        blob, raw = packed or sectionmap.encode(chart, continued=False, continues=False)
        head = SectionHeader(self.stream, chart.size(), raw, models=models)
        body = section.pack(head) + blob
        offset, sequence = len(self.data), self.sequence
        self.part(Kind.SECTION, body)
        frames_at = len(self.data)
        rows = [row for group in chart.groups for row in group.frames]
        for row, payload in zip(rows, payloads, strict=True):
            self.part(Kind.FRAME, row.front() + payload)
        size = len(self.data) - frames_at
        members = len(chart.records)
        self.rows.append(directory.Row(offset, sequence, members, head, len(body), len(payloads), size))
        self.stream += chart.size()
        return self

    def end(self, body: bytes | None = None, flags: int = 0) -> bytes:
        """The whole archive, with a directory of this body or its own."""
        start = len(self.data)
        self.part(Kind.DIRECTORY, directory.pack(Directory(self.rows)) if body is None else body, flags)
        self.part(Kind.FOOTER, ends.pack_footer(len(self.data) - start))
        return bytes(self.data)


def empty_member() -> SectionMap:
    """One member without data."""
    return SectionMap([Record(header())], [])


def frame(codec: int, payload: bytes, size: int, slot: int = 0) -> tuple[SectionMap, list[bytes]]:
    """A member whose data is one frame that claims ``size`` bytes."""
    hashed = b"" if size > sectionmap.SMALL_UP_TO else bytes(frames.HASH_SIZE)
    row = FrameRow(size, len(payload), codec, slot, sha256=hashed)
    sha256 = hashlib.sha256(payload).digest() if size > sectionmap.SMALL_UP_TO else b""
    return SectionMap([Record(header(size=size), size, -size % 512, 0, sha256=sha256)], [Group(0, 1, [row])]), [payload]


def directory_body(text: bytes) -> bytes:
    """A directory with this text and no models."""
    packed = columns.deflate(text)
    return varint(0) + varint(len(text)) + varint(len(packed)) + packed


def row(offset: int) -> bytes:
    """Of a section in the text of a directory, and that it has one member."""
    return varint(offset) + b"\0\1\0"


def column_set(rows: Sequence[tuple[int, int, bytes]], claimed: int | None = None) -> tuple[bytes, int]:
    """A map of columns (size, kind, coded), and the size that it claims."""
    head = varint(len(rows))
    for size, kind, coded in rows:
        head += varint(size << 2 | kind) + (varint(len(coded)) if kind > 1 else b"")
    joint = columns.deflate(head)
    blob = varint(len(head)) + varint(len(joint)) + joint + b"".join(coded for *_, coded in rows)
    return blob, sum(size for size, *_ in rows) if claimed is None else claimed


def million_members() -> bytes:
    """960,000 in 2.6 KB."""
    chart = SectionMap([Record(header())] * 120_000, [])
    packed = sectionmap.encode(chart, continued=False, continues=False)
    archive = Archive()
    for _ in range(8):
        archive.section(chart, packed=packed)
    return archive.end()


def thousands_of_members() -> bytes:
    """30,000 in each of many sections of 300 bytes: less than what a map may unpack to."""
    chart = SectionMap([Record(header())] * 30_000, [])
    packed = sectionmap.encode(chart, continued=False, continues=False)
    archive = Archive()
    for _ in range(100):
        archive.section(chart, packed=packed)
    return archive.end()


def million_pax_records() -> bytes:
    """64 headers of 170,000 pax records each, which are one byte each in their column."""
    cols = [b""] * 47
    cols[0], cols[1], cols[30] = varint(64), b"\1" * 64, b"a=" * 170_000 + b"\0"
    cols[16], cols[31], cols[32] = b"\2\1" * 64, bytes(64), bytes(64 * 170_000)
    return Archive().section(SectionMap([Record(b"", 0, 64 * MIB)], []), packed=(columns.pack(cols), 20 * MIB)).end()


def mixed_columns() -> bytes:
    """131 MB of columns by context mixing, 5 bytes each."""
    coded = bytes([_native.ARITHMETIC_VERSION]) + bytes(4)
    return Archive().section(empty_member(), packed=column_set([(256 << 10, 3, coded)] * 500)).end()


def few_mixed_columns() -> bytes:
    """The same within what a map may unpack to."""
    coded = bytes([_native.ARITHMETIC_VERSION]) + bytes(4)
    rows = [(256 << 10, 3, coded)] * 7 + [(1000, 1, bytes(1000))]
    return Archive().section(empty_member(), packed=column_set(rows)).end()


def zstd_columns() -> bytes:
    """128 MB of zeros."""
    coded = columns.compress(bytes(64 * MIB))
    return Archive().section(empty_member(), packed=column_set([(64 * MIB, 2, coded)] * 2)).end()


def zstd_claim() -> bytes:
    """A column of 12 bytes that claims a megabyte."""
    coded = columns.compress(b"x")
    rows = [(MIB, 2, coded), (1000, 1, bytes(1000))]
    return Archive().section(empty_member(), packed=column_set(rows)).end()


def many_frames() -> bytes:
    """20,000 frames, none of which is there."""
    frame_row = FrameRow(1, 0, 0)
    record = Record(header(size=20_000), 20_000, -20_000 % 512, 0, sha256=bytes(32))
    chart = SectionMap([record], [Group(0, 1, [frame_row] * 20_000)])
    packed = sectionmap.encode(chart, continued=False, continues=False)
    return Archive().section(SectionMap(chart.records, []), packed=packed).end()


def directory_rows() -> bytes:
    """Three million rows for one section."""
    archive = Archive().section(empty_member())
    rows = row(archive.rows[0].offset) * 3_000_000
    return archive.end(directory_body(bytes(3) + varint(3_000_000) + rows + b"\0\0{}"))


def same_rows() -> bytes:
    """A section a thousand times."""
    archive = Archive().section(SectionMap([], []))
    rows = row(archive.rows[0].offset) * 1000
    return archive.end(directory_body(bytes(3) + varint(1000) + rows + b"\0\0{}"))


def deleted_names() -> bytes:
    """Three million deleted names, of an archive with one member."""
    archive = Archive().section(empty_member())
    names = b"".join(b"\x04%c%c%c%c" % (n >> 21 & 127, n >> 14 & 127, n >> 7 & 127, n & 127) for n in range(3_000_000))
    text = bytes(3) + varint(1) + row(archive.rows[0].offset) + b"\0" + varint(3_000_000) + names + b"{}"
    coder = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=DICTIONARY)
    packed = coder.compress(text) + coder.flush()
    return archive.end(varint(0) + varint(len(text)) + varint(len(packed)) + packed)


def one_deleted_name() -> bytes:
    """Deleted names that are all the same: they would be nothing to unpack, and have to be ascending."""
    archive = Archive().section(empty_member())
    text = bytes(3) + varint(1) + row(archive.rows[0].offset) + b"\0" + varint(100_000) + b"\1a" * 100_000 + b"{}"
    return archive.end(directory_body(text))


def _manifest(text: bytes) -> bytes:
    archive = Archive().section(empty_member())
    return archive.end(directory_body(bytes(3) + varint(1) + row(archive.rows[0].offset) + b"\0\0" + text))


def json_lists() -> bytes:
    """Seven million empty lists."""
    return _manifest(b'{"a":[' + b"[]," * 7_000_000 + b"0]}")


def json_in_directory() -> bytes:
    """More than a manifest may have, in a directory that is long enough for it."""
    return _manifest(b'{"a":"' + random.Random(1).randbytes(40_000).hex().encode() + b'"}')


def json_depth() -> bytes:
    """A thousand lists inside each other."""
    return _manifest(b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}")


def text_claim() -> bytes:
    """Four bytes of codec cm that claim to be 64 MiB."""
    payload = bytes([_native.ARITHMETIC_VERSION]) + b"\1\2\3"
    return Archive().section(*frame(4, payload, 60 * MIB)).end()


def model_claim(ref: ModelRef) -> bytes:
    """Two hundred bytes of codec llm that claim to be 60 MiB."""
    return Archive().section(*frame(3, b"\0\0" + bytes(range(190)), 60 * MIB, 1), models=(ref,)).end()


def model_streams(ref: ModelRef) -> bytes:
    """192 bytes of codec llm that ask for the memory of 180 streams."""
    payload = b"\0" + varint(179) + b"\1" * 179 + bytes(10)
    return Archive().section(*frame(3, payload, 8000, 1), models=(ref,)).end()


def model_repeats(ref: ModelRef) -> bytes:
    """A million repeats of one byte."""
    payload = varint(1_000_000) + b"\1\0\0" + b"\0\0\0" * 999_999 + b"\0" + bytes(1000)
    return Archive().section(*frame(3, payload, 2 * MIB, 1), models=(ref,)).end()


def lz4_claim() -> bytes:
    """Ten bytes of codec lz4 that claim to be 60 MiB."""
    return Archive().section(*frame(1, bytes(10), 60 * MIB)).end()


def zstd_frame_claim() -> bytes:
    """A zstd frame of 12 bytes that claims to be 60 MiB."""
    return Archive().section(*frame(2, columns.compress(b"x"), 60 * MIB)).end()
