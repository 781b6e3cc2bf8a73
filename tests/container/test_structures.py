"""File header, footer, section header, frames, index, columns, wire: there and back, and damage of every kind."""

from __future__ import annotations

import hashlib

import pytest
from container.strategies import damaged, given, survives
from hypothesis import strategies as st

from zllm.container import columns, ends, frames, index, limits, section, wire
from zllm.container.section import ModelRef, SectionHeader
from zllm.errors import DamagedError, NotZllmError, UnsupportedVersionError

MODEL = ModelRef(hashlib.sha256(b"m").digest(), "default", 16_000_000, 1)
HEADER = SectionHeader(3, 1 << 40, 1 << 20, 500, 900, 12345, 0x0123456789ABCDEF, section.CONTINUES, (MODEL,))
MANIFEST = {
    "format": 1,
    "models": [{"name": "default", "sha256": MODEL.sha256.hex(), "size": MODEL.size, "arithmetic": 1}],
    "odd": ["\x01", "0" * 64, "A" * 64],
}


def rows() -> list[index.SectionRow]:
    first = SectionHeader(0, 0, 1 << 20, 5, 6, 7, 8)
    second = SectionHeader(1, 1 << 20, 99, 5, 6, 7, 9, models=(MODEL,))
    return [index.SectionRow(12, 34, 2, first), index.SectionRow(99, 70, 1, second)]


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
    fields = bytearray(ends.pack_file_header()[:12])
    fields[place] = value
    return bytes(fields) + (wire.checksum64(bytes(fields)) & 0xFFFFFFFF).to_bytes(4, "little")


def test_features_of_the_file() -> None:
    ends.check_file_header(changed_header(9, 0xFF))  # ignore-me
    for place, value in ((8, 2), (8, 0), (10, 2)):
        with pytest.raises(UnsupportedVersionError):
            ends.check_file_header(changed_header(place, value))


def test_footer() -> None:
    footer = ends.Footer(1 << 50, 77, (1 << 64) - 1, 5000)
    good = ends.pack_footer(footer)
    assert len(good) == ends.FOOTER_SIZE and ends.unpack_footer(good) == footer
    for place in range(len(good)):
        with pytest.raises(DamagedError):
            ends.unpack_footer(good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :])
    with pytest.raises(DamagedError, match="cannot be that long"):
        ends.unpack_footer(ends.pack_footer(ends.Footer(0, limits.MAX_INDEX + 1, 0, 0)))


@given(st.binary(max_size=80))
def test_any_ends(data: bytes) -> None:
    survives(lambda: ends.check_file_header(data))
    survives(lambda: ends.unpack_footer(data))
    survives(lambda: ends.check_file_header(ends.FILE_MAGIC + data))


def test_section_header() -> None:
    good = section.pack(HEADER)
    assert section.size_of(good[:6]) == len(good)
    assert section.unpack(good) == HEADER
    assert HEADER.continues and not HEADER.continued and HEADER.body_size == 500 + 12345
    for place in range(len(good)):
        with pytest.raises(DamagedError):
            section.unpack(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])


def resigned(body: bytes) -> bytes:
    front = section.MAGIC + len(body).to_bytes(2, "little") + body
    return front + wire.checksum64(front).to_bytes(8, "little")


@given(st.data())
def test_section_headers_whose_checksum_holds(data: st.DataObject) -> None:
    body = data.draw(st.one_of(damaged(section.pack(HEADER)[6:-8]), st.binary(max_size=80)))
    survives(lambda: section.unpack(resigned(body)))


@given(st.binary(max_size=40))
def test_any_section_header(data: bytes) -> None:
    survives(lambda: section.unpack(data))
    survives(lambda: section.size_of(data))


def test_features_of_a_section() -> None:
    plain = section.pack(SectionHeader(0, 0, 1, 1, 1, 1, 1))[6:-8]
    with pytest.raises(UnsupportedVersionError):
        section.unpack(resigned(plain[:-2] + b"\x80\0"))
    assert section.unpack(resigned(plain[:-3] + b"\xff\0\0")).number == 0  # ignore-me


def test_long_model_names_are_cut() -> None:
    long = SectionHeader(0, 0, 1, 1, 1, 1, 1, models=(ModelRef(bytes(32), "ü" * 300, 1, 1),))
    assert section.unpack(section.pack(long)).models[0].name.startswith("ü" * 127)


@given(st.binary(max_size=300), st.integers(0, 255), st.integers(0, 8), st.integers(1, 1 << 26))
def test_frames(payload: bytes, codec: int, slot: int, raw: int) -> None:
    row = frames.FrameRow(raw, len(payload), codec, slot)
    good = frames.pack(row, payload) + payload
    assert len(good) == row.coded_size
    assert bytes(frames.payload_of(memoryview(good), row)) == payload
    for place in {0, 3, 4, 8, frames.HEADER_SIZE - 1, len(good) - 1}:
        bad = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        with pytest.raises(DamagedError):
            frames.payload_of(memoryview(bad), row)
    with pytest.raises(DamagedError, match="disagree"):
        frames.payload_of(memoryview(good), frames.FrameRow(raw + 1, len(payload), codec, slot))
    with pytest.raises(DamagedError):
        frames.payload_of(memoryview(good)[:-1], row)


@given(st.binary(max_size=60))
def test_any_frame(data: bytes) -> None:
    for size in {0, max(len(data) - frames.HEADER_SIZE, 0), 1 << 30}:
        survives(lambda size=size: frames.payload_of(memoryview(data), frames.FrameRow(1, size, 0)))


def test_index() -> None:
    good = index.pack(index.Index(rows(), MANIFEST))
    assert index.coded_size(good[: index.FRONT_SIZE]) == len(good) - index.FRONT_SIZE
    found = index.unpack(good)
    assert found.rows == rows() and found.manifest == MANIFEST


def test_index_of_many_hashes() -> None:
    manifest = {"hashes": [hashlib.sha256(bytes([n % 256])).hexdigest() for n in range(300)]}
    assert index.unpack(index.pack(index.Index([], manifest))).manifest == manifest


@given(st.data())
def test_damaged_index(data: st.DataObject) -> None:
    good = index.pack(index.Index(rows(), MANIFEST))
    survives(lambda: index.unpack(data.draw(damaged(good))))


def packed_index(raw: bytes, hashes: bytes = b"\0") -> bytes:
    coded = hashes + columns.compress(raw, dictionary=True)
    return index.MAGIC + len(coded).to_bytes(4, "little") + len(raw).to_bytes(4, "little") + coded


@given(st.one_of(st.binary(max_size=60), damaged(b"\x01\x0c\x46\x01" + bytes(19) + b"\0{}")))
def test_any_index_text(raw: bytes) -> None:
    survives(lambda: index.unpack(packed_index(raw)))


@pytest.mark.parametrize(
    "manifest",
    [
        b"[]", b"", b"\xff", b"nul", b'{"models":1}', b'{"models":[1]}', b'{"models":[{}]}', b"[" * 100_000,
        b'{"models":{"a":1}}', b'{"a":\1}', b'{"models":[{"sha256":"zz","name":"","size":1,"arithmetic":1}]}',
        b'{"models":[{"sha256":"","name":"","size":1e999,"arithmetic":1}]}', b'{"models":null}',
        b'{"models":[{"sha256":"","name":"","size":' + b"9" * 5000 + b',"arithmetic":1}]}',
    ],
)  # fmt: skip
def test_hostile_manifests(manifest: bytes) -> None:
    with pytest.raises(DamagedError):
        index.unpack(packed_index(b"\0" + manifest))


def test_an_index_that_claims_too_much() -> None:
    front = index.MAGIC + (limits.MAX_INDEX + 1).to_bytes(4, "little") + bytes(4)
    with pytest.raises(DamagedError):
        index.coded_size(front)
    bomb = columns.compress(bytes(1 << 20))
    block = index.MAGIC + (len(bomb) + 1).to_bytes(4, "little") + (10).to_bytes(4, "little") + b"\0" + bomb
    with pytest.raises(DamagedError):
        index.unpack(block)


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
    assert columns.unpack(columns.pack(cols), 1 << 20, "x") == cols


@given(st.data())
def test_damaged_column_sets(data: st.DataObject) -> None:
    good = columns.pack([b"some text " * 30, bytes(range(200)), b"", b"x"])
    survives(lambda: columns.unpack(data.draw(damaged(good)), 1000, "x"))


@given(st.binary(max_size=60), st.sampled_from([0, 10, limits.MAX_MAP]))
def test_any_column_set(blob: bytes, limit: int) -> None:
    survives(lambda: columns.unpack(blob, limit, "x"))


@given(st.binary(max_size=60))
def test_any_directory(directory: bytes) -> None:
    packed = columns.compress(directory, dictionary=True)
    survives(lambda: columns.unpack(wire.varints([len(directory), len(packed)]) + packed, 1000, "x"))


@given(st.binary(max_size=50), st.sampled_from([0, 1, 50, 1 << 20]))
def test_any_zstd(payload: bytes, size: int) -> None:
    survives(lambda: columns.decompress(payload, size, "x"))


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
