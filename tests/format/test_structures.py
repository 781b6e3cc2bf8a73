"""File header, footer, section header, frames, index, columns, wire: there and back, and damage of every kind."""

from __future__ import annotations

import hashlib

import pytest
from format.strategies import damaged, given, survives
from hypothesis import strategies as st

from zllm import _native as native
from zllm.errors import DamagedError, NotZllmError, UnsupportedVersionError
from zllm.format import columns, ends, frames, index, limits, section, wire
from zllm.format.section import ModelRef, SectionHeader

MODEL = ModelRef(hashlib.sha256(b"m").digest(), "default", 16_000_000, 1, b"answ", "org/name@rev", True)
HEADER = SectionHeader(3, 1 << 40, 1 << 20, 500, 900, 12345, 0x89ABCDEF, section.CONTINUES, (MODEL,))
MANIFEST = {"format": 2, "created_by": "a test", "odd": ["\x01", "0" * 64, "A" * 64]}
LARGE = index.REPEATED_FROM


def rows() -> list[index.SectionRow]:
    first = SectionHeader(0, 0, 1 << 20, 5, 6, LARGE, 8, models=(MODEL,))
    second = SectionHeader(1, 1 << 20, 99, 5, 6, 7, 9)
    other = ModelRef(bytes(32), "other", 1, 1, b"1234")
    third = SectionHeader(2, (1 << 20) + 99, 99, 5, 6, LARGE, 9, models=(other, MODEL))
    return [index.SectionRow(12, 34, 2, first), index.SectionRow(99, 70, 1, second), index.SectionRow(199, 7, 3, third)]


def test_file_header() -> None:
    good = ends.pack_file_header()
    assert len(good) == ends.FILE_HEADER_SIZE
    ends.check_file_header(good)
    for place in range(8):
        with pytest.raises(NotZllmError):
            ends.check_file_header(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    for place in range(8, len(good)):
        with pytest.raises(DamagedError):
            ends.check_file_header(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    with pytest.raises(DamagedError):
        ends.check_file_header(good[:10])


def changed_header(place: int, value: int) -> bytes:
    fields = bytearray(ends.pack_file_header()[:10])
    fields[place] = value
    return bytes(fields) + (wire.checksum64(bytes(fields)) & 0xFFFF).to_bytes(2, "little")


def test_features_of_the_file() -> None:
    ends.check_file_header(changed_header(9, 0x0F))  # ignore-me
    for place, value in ((8, 3), (8, 0), (9, 0x20)):
        with pytest.raises(UnsupportedVersionError):
            ends.check_file_header(changed_header(place, value))


def test_an_archive_of_format_1_is_named_as_such() -> None:
    with pytest.raises(UnsupportedVersionError, match="version 1 "):
        ends.check_file_header(bytes.fromhex("8d5a4c4d0d0a1a0a010000009725205f"))


def test_footer() -> None:
    block = index.pack(rows(), MANIFEST)
    good = ends.pack_footer(block)
    assert len(good) == ends.FOOTER_SIZE and ends.index_size(good) == len(block)
    ends.check_footer(good, block)
    for place in range(len(good)):
        with pytest.raises(DamagedError):
            ends.check_footer(good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :], block)
    for place in range(len(block)):
        with pytest.raises(DamagedError):
            ends.check_footer(good, block[:place] + bytes([block[place] ^ 1]) + block[place + 1 :])
    too_long = ends.FOOTER_MAGIC + (limits.MAX_INDEX + 1).to_bytes(4, "little") + bytes(10)
    with pytest.raises(DamagedError, match="cannot be that long"):
        ends.index_size(too_long)


@pytest.mark.parametrize(("place", "value"), [(8, 3), (9, 0x80)])
def test_features_of_the_footer(place: int, value: int) -> None:
    fields = bytearray(ends.pack_footer(b"block")[:10])
    fields[place] = value
    data = bytes(fields) + wire.checksum64(b"block", bytes(fields)).to_bytes(8, "little")
    with pytest.raises(UnsupportedVersionError):
        ends.check_footer(data, b"block")


@given(st.binary(max_size=80))
def test_any_ends(data: bytes) -> None:
    survives(lambda: ends.check_file_header(data))
    survives(lambda: ends.check_footer(data, b""))
    survives(lambda: ends.check_file_header(ends.FILE_MAGIC + data))


def test_section_header() -> None:
    good = section.pack(HEADER)
    assert section.size_of(good[: section.FRONT_SIZE]) == len(good)
    assert section.unpack(good) == HEADER
    assert HEADER.continues and not HEADER.continued and HEADER.body_size == 500 + 12345
    for place in range(len(good)):
        with pytest.raises(DamagedError):
            section.unpack(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])


def resigned(body: bytes) -> bytes:
    front = section.MAGIC + wire.varints([len(body)]) + body
    return front + wire.checksum32(front).to_bytes(4, "little")


def body_of(header: SectionHeader) -> bytes:
    packed = section.pack(header)[len(section.MAGIC) : -4]
    reader = wire.Reader(packed, "x")
    assert reader.varint() == reader.left
    return reader.rest()


@given(st.data())
def test_section_headers_whose_checksum_holds(data: st.DataObject) -> None:
    body = data.draw(st.one_of(damaged(body_of(HEADER)), st.binary(max_size=80)))
    survives(lambda: section.unpack(resigned(body)))


@given(st.binary(max_size=40))
def test_any_section_header(data: bytes) -> None:
    survives(lambda: section.unpack(data))
    survives(lambda: section.size_of(data))


def test_features_of_a_section() -> None:
    plain = body_of(SectionHeader(0, 0, 1, 1, 1, 1, 1))
    with pytest.raises(UnsupportedVersionError):
        section.unpack(resigned(plain[:-2] + b"\x20\0"))
    assert section.unpack(resigned(plain[:-2] + b"\xc0\0")).flags == 0  # ignore-me


def test_long_model_names_are_cut() -> None:
    long = SectionHeader(0, 0, 1, 1, 1, 1, 1, models=(ModelRef(bytes(32), "ü" * 300, 1, 1, bytes(4)),))
    assert section.unpack(section.pack(long)).models[0].name.startswith("ü" * 127)


@given(st.binary(max_size=300), st.integers(0, 255), st.integers(0, 8), st.integers(1, 1 << 26))
def test_frames(payload: bytes, codec: int, slot: int, raw: int) -> None:
    row = frames.FrameRow(raw, len(payload), codec, slot)
    good = frames.pack(row, payload) + payload
    assert len(good) == row.coded_size
    assert bytes(frames.payload_of(memoryview(good), row)) == payload
    for place in {0, 3, 4, row.header_size - 1, len(good) - 1}:
        bad = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        with pytest.raises(DamagedError):
            frames.payload_of(memoryview(bad), row)
    with pytest.raises(DamagedError, match="disagree"):
        frames.payload_of(memoryview(good), frames.FrameRow(raw ^ 1 or 2, len(payload), codec, slot))
    with pytest.raises(DamagedError):
        frames.payload_of(memoryview(good)[:-1], row)


@given(st.binary(max_size=60))
def test_any_frame(data: bytes) -> None:
    for size in {0, max(len(data) - 10, 0), 1 << 30}:
        survives(lambda size=size: frames.payload_of(memoryview(data), frames.FrameRow(1, size, 0)))


def test_index() -> None:
    good = index.pack(rows(), MANIFEST)
    assert index.size_of(good[: index.FRONT_SIZE]) == len(good)
    found = index.unpack(good)
    assert found.manifest == MANIFEST
    whole, small, third = found.entries
    for row, entry in zip(rows(), found.entries, strict=True):
        assert (entry.offset, entry.members) == (row.offset, row.members)
    assert (whole.header_size, whole.header) == (34, rows()[0].header)
    assert (third.header_size, third.header) == (7, rows()[2].header)
    assert (small.header_size, small.header) == (0, None)  # it stands at its offset only


@given(st.data())
def test_damaged_index(data: st.DataObject) -> None:
    survives(lambda: index.unpack(data.draw(damaged(index.pack(rows(), MANIFEST)))))


def packed_index(raw: bytes, models: bytes = b"\0") -> bytes:
    body = models + wire.varints([len(raw)]) + columns.deflate(raw)
    return index.MAGIC + wire.varints([len(body)]) + body


@given(st.one_of(st.binary(max_size=60), damaged(b"\x01\x0c\x46\x20" + bytes(19) + b"\0{}")))
def test_any_index_text(raw: bytes) -> None:
    survives(lambda: index.unpack(packed_index(raw)))


@given(st.binary(max_size=90))
def test_any_models_of_an_index(models: bytes) -> None:
    survives(lambda: index.unpack(packed_index(b"\0{}", models)))


@pytest.mark.parametrize(
    "manifest",
    [
        b"[]", b"", b"\xff", b"nul", b"1", b"[" * 100_000, b'{"a":\1}', b'{"a":1}}', b"{1:2}",
    ],
)  # fmt: skip
def test_hostile_manifests(manifest: bytes) -> None:
    with pytest.raises(DamagedError):
        index.unpack(packed_index(b"\0" + manifest))


def test_an_index_that_claims_too_much() -> None:
    with pytest.raises(DamagedError):
        index.size_of(index.MAGIC + wire.varints([limits.MAX_INDEX + 1]))
    bomb = b"\0" + wire.varints([10]) + columns.deflate(bytes(1 << 20))
    with pytest.raises(DamagedError):
        index.unpack(index.MAGIC + wire.varints([len(bomb)]) + bomb)


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
