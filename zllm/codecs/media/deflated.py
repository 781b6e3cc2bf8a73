"""Where streams of deflate are in a frame, and what they unpack to: in gzip, zip, PNG, PDF and zlib data.

Found by content: a signature is a proposal, and what inflates is a stream. Nothing here has to be right: what is
found is made again and compared.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

FREE_UNPACKED, UNPACKED_RATIO, MOST_UNPACKED = 1 << 20, 64, 32 << 20
"""A frame of n bytes is unpacked to at most FREE + RATIO * n bytes, and to MOST."""
_LEAST = 32
"""Bytes of a stream that is worth a line in a plan."""
_WORK = 4
"""Times what may be unpacked, that may be read or inflated in vain: many signatures can stand before one stream."""
_CHUNK_WORK = 64
"""Bytes that could be read while a chunk of a PNG file is looked at."""
_FIRST_INPUT, _MOST_INPUT = 4 << 10, 1 << 20
_SIGNATURES = re.compile(rb"\x89PNG\r\n\x1a\n|PK\x03\x04|\x1f\x8b\x08|x[\x01\x5e\x9c\xda]|stream\r?\n", re.DOTALL)
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel by PNG's type of colour."""
_MOST_ROW = 1 << 18


class Rows(NamedTuple):
    """Pixels of a PNG image. ``row``: bytes of one; ``pixel``: between a byte and its left neighbour."""

    rows: int
    row: int
    pixel: int
    columns: int
    planes: int
    width: int


@dataclass(frozen=True)
class Stream:
    """What is made again: ``size`` bytes from ``start`` on of the frame. ``coded`` unpacks to ``data``.

    ``zlib``: its sum follows it. ``head``: the two bytes before it, of a PNG image, and ``chunks``, the lengths of the
    pieces that it is cut into there.
    """

    start: int
    size: int
    coded: bytes
    data: bytes
    window: int = 15
    zlib: bool = False
    head: int = 0
    chunks: tuple[int, ...] = ()
    rows: Rows | None = None


class Allowance:
    """How many bytes more may be unpacked, and read or inflated in vain."""

    def __init__(self, size: int) -> None:
        self.left = min(MOST_UNPACKED, FREE_UNPACKED + UNPACKED_RATIO * size)
        self.work = _WORK * self.left


def streams(data: memoryview, allowance: Allowance | None = None) -> Iterator[Stream]:
    """The streams of a frame, in order; none overlaps another."""
    allowance = Allowance(len(data)) if allowance is None else allowance
    at = 0
    while match := _SIGNATURES.search(data, at):
        found = _at(data, match.start(), match[0], allowance)
        if found is not None and len(found.coded) >= _LEAST:
            allowance.left -= len(found.data)
            yield found
            at = found.start + found.size
        else:
            at = match.start() + 1
        if allowance.work <= 0:
            return


def hold_streams(data: memoryview, share: float) -> bool:
    """Whether streams are so much of the data, as far as it is looked at for telling."""
    total = 0
    for stream in streams(data):
        total += stream.size
        if total >= max(_LEAST, share * len(data)):
            return True
    return False


def _at(data: memoryview, at: int, signature: bytes, allowance: Allowance) -> Stream | None:
    if signature[0] == 0x89:
        return _png(data, at, allowance)
    if signature[:2] == b"PK":
        start = _zip_data(data, at)
        return None if start is None else _raw(data, start, allowance)
    if signature[0] == 0x1F:
        start = _gzip_data(data, at)
        return None if start is None else _raw(data, start, allowance)
    return _zlib(data, at + len(signature) if signature[:1] == b"s" else at, allowance)


def _number(data: memoryview, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _zip_data(data: memoryview, at: int) -> int | None:
    """Where the data of a member begins that is deflated, and not encrypted."""
    deflated = _number(data, at + 8, 2) == 8 and not _number(data, at + 6, 2) & 1
    return at + 30 + _number(data, at + 26, 2) + _number(data, at + 28, 2) if deflated else None


def _gzip_data(data: memoryview, at: int) -> int | None:
    """RFC 1952: what follows the ten bytes of a header, as its flags say."""
    head = bytes(data[at : at + 10])
    if len(head) < 10 or head[3] & 0xE0:
        return None
    flags, start = head[3], at + 10
    if flags & 4:
        start += 2 + _number(data, start, 2)
    for flag in (8, 16):
        if flags & flag:
            end = bytes(data[start : start + 4096]).find(b"\0")
            if end < 0:
                return None
            start += end + 1
    return start + (2 if flags & 2 else 0)


def _inflate(data: memoryview, start: int, wbits: int, allowance: Allowance) -> tuple[bytes, int] | None:
    """What the stream there unpacks to, and where it ends."""
    unpacker = zlib.decompressobj(wbits)
    out: list[bytes] = []
    at, size, step = start, 0, _FIRST_INPUT
    try:
        while not unpacker.eof:
            pending: bytes | memoryview = unpacker.unconsumed_tail
            if not pending:
                pending, at, step = data[at : at + step], at + step, min(2 * step, _MOST_INPUT)
            if not pending or size >= min(allowance.left, allowance.work):
                break
            out.append(unpacker.decompress(pending, min(allowance.left, allowance.work) - size))
            size += len(out[-1])
    except zlib.error:
        pass
    if not unpacker.eof:
        allowance.work -= max(size, at - start)  # empty blocks give nothing, and take their time
        return None
    return b"".join(out), min(at, len(data)) - len(unpacker.unused_data)


def _raw(data: memoryview, start: int, allowance: Allowance) -> Stream | None:
    found = _inflate(data, start, -15, allowance) if start < len(data) else None
    if found is None:
        return None
    unpacked, end = found
    return Stream(start, end - start, bytes(data[start:end]), unpacked)


def _is_zlib(head: bytes) -> bool:
    """RFC 1950: method 8, a window of at most 32 KiB, no dictionary."""
    known = len(head) == 2 and head[0] & 15 == 8 and head[0] < 0x80 and not head[1] & 32
    return known and not int.from_bytes(head, "big") % 31


def _zlib(data: memoryview, at: int, allowance: Allowance) -> Stream | None:
    head = bytes(data[at : at + 2])
    found = _inflate(data, at, 15, allowance) if _is_zlib(head) else None
    if found is None:
        return None
    unpacked, end = found
    coded = bytes(data[at + 2 : end - 4])
    return Stream(at + 2, end - at - 2, coded, unpacked, window=(head[0] >> 4) + 8, zlib=True)


def _png(data: memoryview, at: int, allowance: Allowance) -> Stream | None:
    """The image data of a PNG file: one zlib stream in chunks, whose sums have to be right."""
    header, start = b"", 0
    pieces: list[bytes] = []
    at += 8
    while at + 12 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), bytes(data[at + 4 : at + 8])
        end = at + 12 + size
        if end > len(data) or (pieces and kind != b"IDAT") or kind == b"IEND":
            break
        allowance.work -= _CHUNK_WORK + (size if kind == b"IDAT" else 0)
        if allowance.work <= 0:
            return None
        if kind == b"IHDR":
            header = bytes(data[at + 8 : at + 8 + size])
        elif kind == b"IDAT":
            if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
                return None
            start = start or at
            pieces.append(bytes(data[at + 8 : end - 4]))
        at = end
    whole = b"".join(pieces)
    if len(header) != 13 or not _is_zlib(whole[:2]):
        return None
    found = _inflate(memoryview(whole), 0, 15, allowance)
    if found is None or found[1] != len(whole):
        return None
    chunks = tuple(len(piece) for piece in pieces)
    coded, window = whole[2:-4], (whole[0] >> 4) + 8
    return Stream(
        start, at - start, coded, found[0], window=window, head=int.from_bytes(whole[:2], "big"), chunks=chunks,
        rows=_rows(header, len(found[0])),
    )  # fmt: skip


def _rows(header: bytes, size: int) -> Rows | None:
    """How the pixels lie, if they fill the data and are not interlaced."""
    columns, rows = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    depth, colour, interlaced = header[8], header[9], header[12]
    samples = _SAMPLES.get(colour, 0)
    if not samples or depth not in (1, 2, 4, 8, 16) or interlaced or not columns or not rows:
        return None
    row = (columns * samples * depth + 7) // 8
    if rows * (row + 1) != size or row > _MOST_ROW:
        return None
    if depth < 8:
        return Rows(rows, row, 1, row, 1, 1)
    return Rows(rows, row, samples * depth // 8, columns, samples, depth // 8)
