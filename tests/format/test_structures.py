"""Header, footer, section header, frames, directory, columns, wire: there and back, and damage of every kind."""

from __future__ import annotations

import hashlib

import pytest
from format.strategies import damaged, given, survives
from hypothesis import strategies as st

from zllm import _native as native
from zllm.errors import DamagedError, NotZllmError, UnsupportedVersionError
from zllm.format import columns, directory, ends, frames, limits, section, wire
from zllm.format.directory import Directory, OtherPart, Row
from zllm.format.envelope import Envelope, Kind
from zllm.format.names import NameFilter
from zllm.format.section import ModelRef, SectionHeader

MODEL = ModelRef(hashlib.sha256(b"m").digest(), "default", 16_000_000, 1, b"answ", "org/name@rev", True)
HEADER = SectionHeader(1 << 40, 1 << 20, 900, section.CONTINUES, (MODEL,))
MANIFEST = {"created_by": "a test", "odd": ["\x01", "0" * 64, "A" * 64]}
ID = b"\1\2\3\4"


def rows() -> list[Row]:
    first = SectionHeader(0, 1 << 20, 6, models=(MODEL,))
    second = SectionHeader(1 << 20, 99, 6)
    other = ModelRef(bytes(32), "other", 1, 1, b"1234")
    third = SectionHeader((1 << 20) + 99, 99, 6, models=(other, MODEL))
    return [
        Row(16, 0, 2, first, 34, 1, 5000, NameFilter.of(["a", "b"], 7)),
        Row(99, 2, 1, second, 70, 0, 0, NameFilter.of(["c"], 7)),
        Row(199, 4, 3, third, 7, 2, 77, NameFilter.of(["d", "e/", "f"], 7)),
    ]


def whole() -> Directory:
    others = [OtherPart(150, Envelope(Kind.MODEL, 3, 20)), OtherPart(400, Envelope(200, 7, 1 << 40, 1))]
    return Directory(rows(), others, {**MANIFEST, "format": 3}, 5, 1_700_000_000, 1234, [b"gone", b"\xff"])


def test_file_header() -> None:
    good = ends.pack_header(ID)
    assert len(good) == ends.HEADER_SIZE and good == ends.pack_front() + ends.pack_rest(ID)
    assert ends.read_header(good) == ID
    for place in range(8):
        with pytest.raises(NotZllmError):
            ends.read_header(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    for place in range(8, len(good)):
        with pytest.raises(DamagedError):
            ends.read_header(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    with pytest.raises(DamagedError):
        ends.read_header(good[:15])
    with pytest.raises(NotZllmError, match="empty"):
        ends.read_header(b"")


def changed_header(place: int, value: int) -> bytes:
    fields = bytearray(ends.pack_header(ID)[:-2])
    fields[place] = value
    return bytes(fields) + wire.checksum(2, fields)


def test_features_of_the_file() -> None:
    ends.read_header(changed_header(9, 0x0F))  # ignore-me
    for place, value in ((8, 4), (8, 0), (9, 0x20)):
        with pytest.raises(UnsupportedVersionError):
            ends.read_header(changed_header(place, value))


@pytest.mark.parametrize(
    ("version", "header"), [(1, "8d5a4c4d0d0a1a0a010000009725205f"), (2, "8d5a4c4d0d0a1a0a0200f583b55a4c53")]
)
def test_older_archives_are_named_as_such(version: int, header: str) -> None:
    with pytest.raises(UnsupportedVersionError, match=f"version {version}, .*Unpack it with that version"):
        ends.read_header(bytes.fromhex(header))


def test_footer() -> None:
    for distance in (0, 127, 128, 1 << 40):
        assert ends.read_footer(ends.pack_footer(distance)) == distance
    for bad in (b"", b"\x80", b"\1\0", b"\xff" * 9 + b"\1"):
        with pytest.raises(DamagedError):
            ends.read_footer(bad)


@given(st.binary(max_size=80))
def test_any_ends(data: bytes) -> None:
    survives(lambda: ends.read_header(data))
    survives(lambda: ends.read_header(ends.FILE_MAGIC + data))
    survives(lambda: ends.read_footer(data))


def test_section_header() -> None:
    good = section.pack(HEADER)
    assert section.read(good + b"the map") == (HEADER, len(good))
    assert HEADER.continues and not HEADER.continued and HEADER.stream_end == (1 << 40) + (1 << 20)
    for size in range(len(good)):
        with pytest.raises(DamagedError):
            section.read(good[:size])


@given(st.data())
def test_damaged_section_headers(data: st.DataObject) -> None:
    body = data.draw(st.one_of(damaged(section.pack(HEADER)), st.binary(max_size=80)))
    survives(lambda: section.read(body))


def test_features_of_a_section() -> None:
    plain = section.pack(SectionHeader(0, 1, 1))
    with pytest.raises(UnsupportedVersionError):
        section.read(plain[:-2] + b"\x20\0")
    assert section.read(plain[:-2] + b"\xc0\0")[0].flags == 0  # ignore-me


def test_too_many_models() -> None:
    with pytest.raises(DamagedError, match="too many models"):
        section.read(section.pack(SectionHeader(0, 1, 1, models=(MODEL,) * (limits.MAX_MODELS + 1))))


def test_long_model_names_are_cut() -> None:
    long = SectionHeader(0, 1, 1, models=(ModelRef(bytes(32), "ü" * 300, 1, 1, bytes(4)),))
    assert section.read(section.pack(long))[0].models[0].name.startswith("ü" * 127)


@given(
    st.binary(max_size=300), st.integers(0, 255), st.integers(0, 8), st.integers(1, 1 << 26), st.integers(0, 1 << 40)
)
def test_frames(payload: bytes, codec: int, slot: int, raw: int, sequence: int) -> None:
    row = frames.FrameRow(raw, len(payload), codec, slot, sequence=sequence)
    front, check = frames.pack(row, payload, 99)
    good = front + payload + check
    assert len(good) == row.coded_size and len(front) == row.header_size
    found, right = frames.payload_of(memoryview(good), row, 99)
    assert bytes(found) == payload and right
    for place in range(len(good)):
        bad = memoryview(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        if place < len(front):  # what the map says, too
            found, right = frames.payload_of(bad, row, 99)
            assert bytes(found) == payload and not right
        else:
            with pytest.raises(DamagedError):
                frames.payload_of(bad, row, 99)
    with pytest.raises(DamagedError, match="checksum"):
        frames.payload_of(memoryview(good), frames.FrameRow(raw, len(payload), codec ^ 1, slot, sequence=sequence), 99)
    with pytest.raises(DamagedError, match="checksum"):
        frames.payload_of(memoryview(good), row, 98)  # of another archive
    with pytest.raises(DamagedError, match="length"):
        frames.payload_of(memoryview(good)[:-1], row, 99)


@given(st.binary(max_size=60))
def test_any_frame(data: bytes) -> None:
    for size in {0, max(len(data) - 10, 0), 1 << 30}:
        survives(lambda size=size: frames.payload_of(memoryview(data), frames.FrameRow(1, size, 0), 0))


def test_directory() -> None:
    good = directory.pack(whole())
    found = directory.unpack(good, 7)
    assert found == whole()
    assert [row.names and row.names.may_have("e") for row in found.rows][2]
    assert found.rows[0].envelope == Envelope(Kind.SECTION, 0, 34) and found.rows[0].end == 16 + 34 + 12 + 5000


def test_one_small_section_has_its_header_at_its_place_only() -> None:
    small = rows()[0]
    (found,) = directory.unpack(directory.pack(Directory([small]))).rows
    assert found == Row(16, 0, 2)
    large = Row(16, 0, 2, small.header, 34, 1, directory.REPEATED_FROM)
    assert directory.unpack(directory.pack(Directory([large]))).rows == [large]


def test_filters_of_names_need_not_be_there() -> None:
    body = directory.pack(Directory(rows()))
    cut = len(body) - sum(row.members for row in rows())
    for row in directory.unpack(body[:cut]).rows:
        assert row.names is None
    with pytest.raises(DamagedError):
        directory.unpack(body[: cut + 1])
    with pytest.raises(DamagedError):
        directory.unpack(body + b"x")


@given(st.data())
def test_damaged_directory(data: st.DataObject) -> None:
    survives(lambda: directory.unpack(data.draw(damaged(directory.pack(whole())))))


def packed(raw: bytes, models: bytes = b"\0") -> bytes:
    coded = columns.deflate(raw)
    return models + wire.varints([len(raw), len(coded)]) + coded


@given(st.one_of(st.binary(max_size=60), damaged(b"\0\0\0\x01\x10\0\1\x46\1\x20" + bytes(9) + b"\0\0{}")))
def test_any_directory_text(raw: bytes) -> None:
    survives(lambda: directory.unpack(packed(raw)))


@given(st.binary(max_size=90))
def test_any_models_of_a_directory(models: bytes) -> None:
    survives(lambda: directory.unpack(packed(bytes(6) + b"{}", models)))


@pytest.mark.parametrize(
    "manifest",
    [
        b"[]", b"", b"\xff", b"nul", b"1", b"[" * 100_000, b'{"a":\1}', b'{"a":1}}', b"{1:2}",
    ],
)  # fmt: skip
def test_hostile_manifests(manifest: bytes) -> None:
    with pytest.raises(DamagedError):
        directory.unpack(packed(bytes(6) + manifest))


def test_a_directory_that_claims_too_much() -> None:
    coded = columns.deflate(bytes(1 << 20))
    with pytest.raises(DamagedError):
        directory.unpack(b"\0" + wire.varints([10, len(coded)]) + coded)
    with pytest.raises(DamagedError, match="where at most"):
        directory.unpack(b"\0" + wire.varints([1 << 20, len(coded)]) + coded)


def test_filters_of_names() -> None:
    names = [f"folder/{number}" for number in range(3000)]
    found = NameFilter.of([*names, "folder/"], 5)
    assert len(found.bits) == 3001
    assert all(found.may_have(name) for name in names) and found.may_have("folder") and found.may_have(b"folder//")
    seem = sum(found.may_have(f"other/{number}") for number in range(3000))
    assert 0 < seem < 90  # 2.2% of them, and below 3
    assert not NameFilter.of([], 5).may_have("a")


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_column_sets(cols: list[bytes]) -> None:
    cols.append(b"abc" * 100)
    total = sum(map(len, cols))
    assert columns.unpack(columns.pack(cols), total, "x") == cols
    with pytest.raises(DamagedError):
        columns.unpack(columns.pack(cols), total - 1, "x")


def test_each_kind_of_column() -> None:
    noise = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(40))
    text = b"".join(b"line %d of a longer text\n" % n for n in range(4000))
    cols = [b"", b"short", noise, text]
    for mixed in (False, True):
        assert columns.unpack(columns.pack(cols, mixed=mixed), 1 << 20, "x") == cols
    assert len(columns.pack(cols, mixed=True)) < len(columns.pack(cols)) - 100


def test_mixed_columns_have_a_limit_and_a_version() -> None:
    long = b"some name, again and again\n" * 11_000
    assert len(long) > limits.MAX_MIXED
    assert columns.pack([long], mixed=True) == columns.pack([long])
    good = columns.pack([long[:5000]], mixed=True)
    at = good.index(bytes([native.ARITHMETIC_VERSION]), 2 + good[1])
    with pytest.raises(UnsupportedVersionError, match="arithmetic version 99"):
        columns.unpack(good[:at] + b"\x63" + good[at + 1 :], 5000, "x")


@given(st.data())
def test_damaged_mixed_columns(data: st.DataObject) -> None:
    good = columns.pack([b"some text " * 30, bytes(range(200)), b"", b"x"], mixed=True)
    survives(lambda: columns.unpack(data.draw(damaged(good)), 1000, "x"))


@given(st.data())
def test_damaged_column_sets(data: st.DataObject) -> None:
    good = columns.pack([b"some text " * 30, bytes(range(200)), b"", b"x"])
    survives(lambda: columns.unpack(data.draw(damaged(good)), 1000, "x"))


@given(st.binary(max_size=60), st.sampled_from([0, 10, limits.MAX_MAP]))
def test_any_column_set(blob: bytes, limit: int) -> None:
    survives(lambda: columns.unpack(blob, limit, "x"))


@given(st.binary(max_size=60))
def test_any_directory(directory: bytes) -> None:
    packed = columns.deflate(directory)
    survives(lambda: columns.unpack(wire.varints([len(directory), len(packed)]) + packed, 1000, "x"))


@given(st.binary(max_size=50), st.sampled_from([0, 1, 50, 1 << 20]))
def test_any_zstd(payload: bytes, size: int) -> None:
    survives(lambda: columns.decompress(payload, size, "x"))
    survives(lambda: columns.inflate(payload, size, "x"))


@given(st.binary(max_size=500))
def test_deflated(data: bytes) -> None:
    coded = columns.deflate(data)
    assert columns.inflate(coded, len(data), "x") == data
    for bad in (coded[:-1], coded + b"\0"):
        with pytest.raises(DamagedError):
            columns.inflate(bad, len(data), "x")
    with pytest.raises(DamagedError):
        columns.inflate(coded, len(data) + 1, "x")


@given(st.lists(st.integers(0, (1 << 64) - 1)))
def test_varints(values: list[int]) -> None:
    assert wire.read_varints(wire.varints(values), "x", len(values)) == values
    if values:
        with pytest.raises(DamagedError):
            wire.read_varints(wire.varints(values), "x", len(values) - 1)


@pytest.mark.parametrize("bad", [b"\x80\0", b"\x81\x80\0"])
def test_varints_that_are_longer_than_need_be(bad: bytes) -> None:
    with pytest.raises(DamagedError):
        wire.read_varints(bad, "x", 99)
    with pytest.raises(DamagedError, match="longer than it need be"):
        wire.Reader(bad, "x").varint()


@pytest.mark.parametrize("bad", [b"\x80", b"\xff" * 11, b"\x80" * 20 + b"\0"])
def test_varints_that_do_not_end(bad: bytes) -> None:
    with pytest.raises(DamagedError):
        wire.read_varints(bad, "x", 99)


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_no_varint(value: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        wire.put_varint(bytearray(), value)


@given(st.integers(-(1 << 70), 1 << 70))
def test_zigzag(value: int) -> None:
    assert wire.unzigzag(wire.zigzag(value)) == value
