"""Section maps: there and back, and nothing but a DamagedError from contradictions."""

from __future__ import annotations

import dataclasses
import hashlib
import tarfile

import pytest
from format.strategies import damaged, formats, given, infos, survives, unit_of
from hypothesis import strategies as st

from zllm.errors import DamagedError
from zllm.format import columns, limits, section, sectionmap
from zllm.format.frames import FrameRow
from zllm.format.section import SectionHeader
from zllm.format.sectionmap import Group, Record, SectionMap
from zllm.format.tarscan import data_size, padded
from zllm.format.wire import varints


def build(members: list[tuple[tarfile.TarInfo, int]], *, continues: bool = False) -> SectionMap:
    """A map with every member in one of two buckets, each third one a repetition if it can be."""
    records: list[Record] = [Record(b"", 700, 3, bucket=0)]
    sizes: dict[int, int] = {}
    for number, (info, tar_format) in enumerate(members, 1):
        unit = unit_of(info, tar_format)
        size = data_size(unit)
        record = Record(unit, size, padded(size) - size)
        if size and size in sizes and number % 3 == 0:
            record.duplicate_of = sizes[size]
            record.sha256 = records[record.duplicate_of].sha256
        elif size:
            record.bucket = number % 2
            if record.data_size > sectionmap.SMALL_UP_TO:
                record.sha256 = hashlib.sha256(bytes([number])).digest()
            sizes[size] = number
        records.append(record)
    records.append(Record(b"", 0, 1024))
    if continues:
        records.append(Record(b"", 99, 0, bucket=1))
    groups = []
    for bucket in (0, 1):
        total = sum(record.data_size for record in records if record.bucket == bucket)
        hashed = any(record.bucket == bucket and record.data_size <= sectionmap.SMALL_UP_TO for record in records)
        mark = b"8 bytes." if hashed else b""
        frames = [FrameRow(total - total // 2, 40, 2, 0, 3, 4000, mark)] if total else []
        frames += [FrameRow(total // 2, 30, 3, 1, 1, 0, mark[::-1])] if total // 2 else []
        groups.append(Group(bucket, 1, frames))
    return SectionMap(records, groups)


def in_bytes(chart: SectionMap) -> SectionMap:
    """The same with the headers as bytes."""
    return SectionMap([dataclasses.replace(record, headers=record.header) for record in chart.records], chart.groups)


def header_of(size: int, raw: int, *, continues: bool = False, continued: bool = False) -> SectionHeader:
    """Of a section with such a map."""
    flags = section.CONTINUES * continues + section.CONTINUED * continued
    return SectionHeader(0, size, raw, flags)


def sample(*, continues: bool = False) -> SectionMap:
    members = []
    for number in range(9):
        info = tarfile.TarInfo(f"name{number}")
        info.size = 100 + number // 4
        members.append((info, tarfile.PAX_FORMAT))
    return build(members, continues=continues)


@given(st.lists(st.tuples(infos(), formats), max_size=8), st.booleans())
def test_there_and_back(members: list[tuple[tarfile.TarInfo, int]], continues: bool) -> None:
    members = [(info, form) for info, form in members if 0 <= info.size < 12000]
    chart = build(members, continues=continues)
    if any(data_size(record.header) >= limits.WINDOW for record in chart.records if record.header):
        return
    blob, raw = sectionmap.encode(chart, continued=False, continues=continues)
    assert in_bytes(sectionmap.decode(blob, header_of(chart.size(), raw, continues=continues))) == chart


def test_the_end_of_a_large_member_has_its_hash() -> None:
    """However short it is: the member's other parts are in sections before."""
    chart = SectionMap([Record(b"", 10, 2, bucket=0, sha256=bytes(range(32)))], [Group(0, 1, [FrameRow(10, 5, 0)])])
    chart.groups[0].frames[0] = FrameRow(10, 5, 0, sha256=b"12345678")
    blob, raw = sectionmap.encode(chart, continued=True, continues=False)
    assert in_bytes(sectionmap.decode(blob, header_of(12, raw, continued=True))) == chart
    with pytest.raises(DamagedError):
        sectionmap.decode(blob, header_of(12, raw))


@given(st.data())
def test_damaged_columns(data: st.DataObject) -> None:
    chart = sample()
    blob, raw = sectionmap.encode(chart, continued=False, continues=False)
    cols = columns.unpack(blob, raw, "x")
    number = data.draw(st.integers(0, len(cols) - 1))
    cols[number] = data.draw(st.one_of(damaged(cols[number]), st.binary(max_size=40)))
    survives(lambda: sectionmap.decode(columns.pack(cols), header_of(chart.size(), raw + 100)))


@given(st.data())
def test_damaged_maps(data: st.DataObject) -> None:
    chart = sample(continues=True)
    blob, raw = sectionmap.encode(chart, continued=False, continues=True)
    bad = data.draw(damaged(blob))
    header = header_of(chart.size(), raw, continues=data.draw(st.booleans()), continued=data.draw(st.booleans()))
    survives(lambda: sectionmap.decode(bad, header))


def with_column(number: int, column: bytes) -> None:
    chart = sample()
    blob, raw = sectionmap.encode(chart, continued=False, continues=False)
    cols = columns.unpack(blob, raw, "x")
    cols[number] = column
    sectionmap.decode(columns.pack(cols), header_of(chart.size(), limits.MAX_MAP))


@pytest.mark.parametrize(
    ("number", "column"),
    [
        (0, b""), (0, varints([1 << 40])), (0, b"\1\1"),  # number of records
        (1, b"\x08" * 11), (1, b"\0" * 11), (1, b"\7"),  # shapes
        (2, varints([1 << 60])), (3, b"\0"),  # sizes of data, zeros
        (4, b"\x7f" * 10), (4, b"\0" * 10), (5, b"\x7f" * 9), (5, b"\0" * 9),  # buckets, repetitions
        (6, b"x" * 32), (15, b"x" * 31), (15, b""), (15, b"x" * 40),  # hashes
        (7, b"\0"), (8, b"\x7f\x7f"), (8, b"\0\0"),  # groups
        (9, b"\0" * 4), (9, b"\1" * 4), (10, varints([1 << 40] * 4)), (11, b""), (12, b"\0"), (14, b"\x80"),  # frames
    ],
)  # fmt: skip
def test_contradictions(number: int, column: bytes) -> None:
    with pytest.raises(DamagedError):
        with_column(number, column)


@pytest.mark.parametrize("number", [1, 2, 4, 7, 9, 14])
def test_columns_that_would_take_too_much_memory(number: int) -> None:
    """Zeros pack well: a column of 20 MB is 1 KB in the file, and must not become 20 million objects."""
    with pytest.raises(DamagedError):
        with_column(number, bytes(20 << 20))


def test_empty_records_have_a_limit() -> None:
    """64 million records that cover nothing would be gigabytes of memory."""
    cols = [b""] * (16 + sectionmap.headers.COLUMNS)
    cols[0], cols[1] = varints([10_000_000]), bytes(10_000_000)
    with pytest.raises(DamagedError, match="claim to unpack to"):
        sectionmap.decode(columns.pack(cols), header_of(limits.WINDOW, limits.MAX_MAP))


def test_another_number_of_columns() -> None:
    with pytest.raises(DamagedError, match="3 columns"):
        sectionmap.decode(columns.pack([b"", b"", b""]), header_of(5, 10))
