"""The tar scanner: nothing is lost, and it sees what tarfile sees."""

from __future__ import annotations

import io
import tarfile

import pytest
from format.strategies import checked, damaged, formats, given, infos, tar_of
from hypothesis import strategies as st

from zllm.format import limits
from zllm.format.tarscan import (
    BLOCK,
    Kind,
    Piece,
    TarScanner,
    data_size,
    member_name,
    number,
    pax_records,
    valid,
)


def scan(parts: list[bytes]) -> list[Piece]:
    scanner = TarScanner()
    pieces = [Piece(p.kind, bytes(p.data), p.size, p.fresh) for part in parts for p in scanner.feed(part)]
    return pieces + list(scanner.finish())


def joined(pieces: list[Piece]) -> list[tuple[Kind, bytes]]:
    """Consecutive pieces of data, and of zeros, as one."""
    out: list[tuple[Kind, bytes]] = []
    for piece in pieces:
        if out and piece.kind == out[-1][0] != Kind.HEADER and not piece.fresh:
            out[-1] = (piece.kind, out[-1][1] + bytes(piece.data))
        else:
            out.append((piece.kind, bytes(piece.data)))
    return out


def check(data: bytes, parts: list[bytes]) -> list[tuple[Kind, bytes]]:
    pieces = scan(parts)
    assert b"".join(bytes(piece.data) for piece in pieces) == data
    assert all(not any(piece.data) for piece in pieces if piece.kind == Kind.ZERO)
    return joined(pieces)


SMALL = tar_of(
    [(tarfile.TarInfo("a" * 120), b"hello"), (tarfile.TarInfo("b"), b""), (tarfile.TarInfo("c"), bytes(600))]
)


@given(st.binary(max_size=2000), st.integers(1, 700))
def test_any_bytes(data: bytes, step: int) -> None:
    check(data, [data[at : at + step] for at in range(0, len(data), step)])


@given(st.data())
def test_damaged_tars(data: st.DataObject) -> None:
    tar = data.draw(damaged(SMALL))
    whole = check(tar, [tar])
    place = data.draw(st.integers(0, len(tar)))
    assert check(tar, [tar[:place], tar[place:]]) == whole


def test_split_at_every_position() -> None:
    data = SMALL[: 9 * BLOCK]
    whole = check(data, [data])
    for place in range(0, len(data), 7):
        assert check(data, [data[:place], data[place:]]) == whole
    assert check(data, [data[at : at + 1] for at in range(len(data))]) == whole


@given(st.lists(st.tuples(infos(), st.binary(max_size=1200)), max_size=5), formats)
def test_members_are_those_of_tarfile(members: list[tuple[tarfile.TarInfo, bytes]], tar_format: int) -> None:
    members = [(info, data if info.isreg() else b"") for info, data in members]
    data = tar_of(members, tar_format)
    found = check(data, [data])
    units = [part for kind, part in found if kind == Kind.HEADER]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        theirs = tar.getmembers()
    assert len(units) == len(theirs)
    assert [part for kind, part in found if kind == Kind.DATA] == [part for _, part in members if part]
    for unit, info in zip(units, theirs, strict=True):
        assert data_size(unit) == info.size
        assert member_name(unit).rstrip("/") == info.name.rstrip("/")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000644\0", 0o644),
        (b"   644 \0", 0o644),
        (b"", 0),
        (b"\0\0\0", 0),
        (b"9", None),
        (b"-1", None),
        (b"\x80" + (5 << 64).to_bytes(11, "big"), 5 << 64),
        (b"\xff" * 12, -1),
        (b"12\x0099", 0o12),
        (b"\xb2", None),  # a superscript digit in Latin-1: isdigit() must not be fooled
    ],
)
def test_numbers(field: bytes, value: int | None) -> None:
    assert number(field) == value


def big(size: int) -> bytes:
    info = tarfile.TarInfo("big")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def test_base_256_sizes() -> None:
    header = big(1 << 40)
    assert header[124] == 0x80
    assert [piece.size for piece in scan([header])] == [1 << 40]


def test_impossible_sizes_are_none() -> None:
    for field in (b"\xff" * 12, b"\x80" + b"\xff" * 11, b"99999999999\0"):
        header = checked(big(0)[:124] + field + big(0)[136:])
        assert data_size(header) == 0


def test_pax_size_counts() -> None:
    info = tarfile.TarInfo("x")
    info.pax_headers = {"size": "700"}
    unit = info.tobuf(tarfile.PAX_FORMAT)
    assert data_size(unit) == 700
    found = check(unit + b"d" * 700 + bytes(324), [unit + b"d" * 700, bytes(324)])
    assert [(kind, len(part)) for kind, part in found] == [(0, len(unit)), (1, 700), (2, 324)]


def test_links_and_folders_have_no_data_whatever_they_say() -> None:
    for kind in b"123456":
        header = checked(big(512)[:156] + bytes([kind]) + big(512)[157:])
        assert data_size(header) == 0
    old = bytearray(big(512))
    old[:100], old[156] = b"folder/".ljust(100, b"\0"), 0
    assert data_size(checked(bytes(old))) == 0


@pytest.mark.parametrize("more", [0, 1, 3])
def test_old_sparse_maps(more: int) -> None:
    main = bytearray(big(5))
    main[156], main[482] = ord("S"), more > 0
    blocks = [bytes(504) + bytes([at < more - 1]) + bytes(7) for at in range(more)]
    unit = checked(bytes(main)) + b"".join(blocks)
    found = check(unit + b"hello", [unit, b"hello"])
    assert found == [(Kind.HEADER, unit), (Kind.DATA, b"hello")]


def test_a_sparse_map_without_end_is_cut() -> None:
    main = bytearray(big(0))
    main[156], main[482] = ord("S"), 1
    data = checked(bytes(main)) + (bytes(504) + b"\1" + bytes(7)) * (limits.MAX_UNIT // BLOCK + 5)
    check(data, [data])


def test_long_names() -> None:
    name, link = "n" * 300, "l" * 300
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, link
    for tar_format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        unit = info.tobuf(tar_format)
        assert check(unit, [unit]) == [(Kind.HEADER, unit)]
        assert member_name(unit) == name
    unit = tarfile.TarInfo("p" * 90 + "/" + "n" * 90).tobuf(tarfile.USTAR_FORMAT)
    assert member_name(unit) == "p" * 90 + "/" + "n" * 90


def test_names_that_are_not_utf8() -> None:
    info = tarfile.TarInfo("caf\udce9")
    assert member_name(info.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape")) == "caf\udce9"


def test_a_giant_extended_header_is_data() -> None:
    header = checked(big(limits.MAX_EXTENDED + 1)[:156] + b"x" + big(limits.MAX_EXTENDED + 1)[157:])
    data = header + bytes(limits.MAX_EXTENDED + 512)
    check(data, [data])


def test_junk_after_a_tar_and_in_padding() -> None:
    data = SMALL[: -2 * BLOCK] + b"junk" * 200
    assert check(data, [data])[-1] == (Kind.DATA, b"junk" * 200)
    unit = big(5)
    found = check(unit + b"hello" + b"!" * 507 + unit, [unit + b"hello" + b"!" * 507 + unit])
    assert [kind for kind, _ in found] == [Kind.HEADER, Kind.DATA, Kind.DATA, Kind.HEADER]


def test_no_tar() -> None:
    scanner = TarScanner()
    pieces = list(scanner.feed(b"text " * 200))
    assert scanner.opaque and not scanner.is_tar
    assert [piece.fresh for piece in pieces] == [True, False]


def test_signed_checksums_hold() -> None:
    block = bytearray(tarfile.TarInfo("ä" * 2).tobuf(tarfile.GNU_FORMAT))
    rest = block[:148] + block[156:]
    signed = 256 + sum(byte - 256 if byte > 0x7F else byte for byte in rest)
    block[148:156] = b"%06o\0 " % signed
    assert valid(bytes(block))
    block[0] ^= 1
    assert not valid(bytes(block)) and not valid(bytes(BLOCK))


@pytest.mark.parametrize("text", [b"", b"6 a=b\n", b"6 a=b\n7 cc=d\n"])
def test_pax_records(text: bytes) -> None:
    assert pax_records(text) is not None


@pytest.mark.parametrize(
    "text", [b"x", b"7 a=b\n", b"5 a=b\n", b"6 ab\n\n", b"99999999999 a=b\n", b"0 a=b\n", b"-1 a=\n"]
)
def test_no_pax_records(text: bytes) -> None:
    assert pax_records(text) is None


@given(st.binary(max_size=100))
def test_any_pax_records(text: bytes) -> None:
    pax_records(text)
