"""Finds headers, data and zeros in a tar stream while it passes by. Whatever the bytes, nothing is lost.

A stream becomes *records*: header bytes, then data, then zeros, each possibly of length 0. Which header has how much
data follows :mod:`tarfile` (types, pax ``size``). Bytes that are not a valid header where one is due are plain data up
to the next block that is one, as GNU tar passes over them. A stream that does not begin as a tar is one record of data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from zllm.format import limits

BLOCK = limits.BLOCK
ZERO_BLOCK = bytes(BLOCK)

EXTENDED = (b"x", b"g", b"L", b"K", b"X")
"""Type flags of headers that have text about the next one instead of data."""
NAME_KEYS = (b"path", b"GNU.sparse.name")
"""Keywords of pax records with the name of a member; the last one counts, as for :mod:`tarfile`."""
_NO_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")
_NO_FILE = 1 << 63
_ASCII = bytes(range(128))
_OLD_SPARSE_MORE = 482  # offset of the byte that says whether a block with more of the sparse map follows
_SPARSE_BLOCK_MORE = 504


class Kind(IntEnum):
    """What a piece of the stream is."""

    HEADER = 0
    DATA = 1
    ZERO = 2


@dataclass(frozen=True)
class Piece:
    """Some consecutive bytes of one kind.

    ``size`` of a HEADER piece is how many bytes of DATA follow for this member. ``fresh`` data belongs to no header:
    a member of its own starts here.
    """

    kind: Kind
    data: bytes | memoryview
    size: int = 0
    fresh: bool = False


def number(field: bytes) -> int | None:
    """A numeric field of a header: octal text, or base 256. None if it is neither."""
    if field[:1] in (b"\x80", b"\xff"):
        return int.from_bytes(field[1:], "big") - (256 ** (len(field) - 1) if field[0] == 0xFF else 0)
    text = field.split(b"\0", 1)[0].strip()
    if not text:
        return 0
    try:
        return int(text, 8) if text.isdigit() else None
    except ValueError:
        return None


def valid(block: bytes) -> bool:
    """Whether this is a header block: its size is one, and its checksum holds, over unsigned or over signed bytes.

    A size below zero, or beyond what any file has, leads nowhere: to GNU tar, too, that is not a header.
    """
    stored, size = number(block[148:156]), number(block[124:136])
    if stored is None or size is None or not 0 <= size < _NO_FILE or block == ZERO_BLOCK:
        return False
    rest = block[:148] + block[156:]
    unsigned = 256 + sum(rest)
    return stored == unsigned or stored == unsigned - 256 * len(rest.translate(None, _ASCII))


def pax_records(text: bytes) -> list[tuple[bytes, bytes]] | None:
    """The (keyword, value) pairs of a pax extended header. None if it is not exactly a list of such records."""
    records = []
    pos = 0
    while pos < len(text):
        space = text.find(b" ", pos, pos + 10)
        if space < 0 or not text[pos:space].isdigit():
            return None
        end = pos + int(text[pos:space])
        key, equals, value = text[space + 1 : end - 1].partition(b"=")
        if end > len(text) or end <= space + 2 or text[end - 1 : end] != b"\n" or not equals:
            return None
        records.append((key, value))
        pos = end
    return records


def data_size(unit: bytes) -> int:
    """How many bytes of data the member with these header blocks has. 0 if its size field makes no sense."""
    pos, pax_size = 0, None
    while unit[pos + 156 : pos + 157] in EXTENDED:
        length = _size(number(unit[pos + 124 : pos + 136]))
        if pos + BLOCK >= len(unit):
            return length
        if unit[pos + 156 : pos + 157] in (b"x", b"X"):
            for key, value in pax_records(unit[pos + BLOCK : pos + BLOCK + length]) or ():
                if key == b"size" and value.isdigit() and len(value) < 20:
                    pax_size = int(value)
        pos += BLOCK + padded(length)
    kind = unit[pos + 156 : pos + 157]
    if kind in _NO_DATA or (kind == b"\0" and unit[pos : pos + 100].split(b"\0", 1)[0].endswith(b"/")):
        return 0
    return _size(number(unit[pos + 124 : pos + 136]) if pax_size is None else pax_size)


def padded(length: int) -> int:
    """``length`` rounded up to whole blocks."""
    return -(-length // BLOCK) * BLOCK


def _size(value: int | None) -> int:
    return 0 if value is None or not 0 <= value < _NO_FILE else value


class TarScanner:
    """Feed it the stream in pieces of any size; it yields pieces in order, headers always whole.

    DATA and ZERO come as soon as they are there, in parts.
    """

    def __init__(self, *, is_tar: bool = False) -> None:
        self._buffer = bytearray()
        self._need = BLOCK  # the buffer is looked at when it is this long
        self._unit = 0  # bytes at the front of the buffer that are known to be header blocks
        self._sparse = False  # the block after them continues a sparse map
        self._in_padding = False
        self._data_left = 0
        self._first = True
        self._lost = False  # between bytes that are not a header and the next header
        self.opaque = False
        """The stream does not begin as a tar: all of it is plain data."""
        self.is_tar = is_tar
        """At least one valid header was seen."""

    @property
    def idle(self) -> bool:
        """Whether the next byte is the first of a block where a header is due."""
        return not self._buffer and not self._data_left and not self._in_padding

    def passed_header(self) -> None:
        """A valid header, and the data and padding that it speaks of, have gone another way. Only while it is idle."""
        self.is_tar, self._first, self._lost = True, False, False

    def feed(self, data: bytes | memoryview) -> Iterator[Piece]:
        """Yield what is complete now."""
        view = memoryview(data)
        while view:
            if self.opaque:
                yield Piece(Kind.DATA, view)
                return
            if self._data_left:
                part = view[: self._data_left]
                self._data_left -= len(part)
                yield Piece(Kind.DATA, part)
                view = view[len(part) :]
                continue
            part = view[: self._need - len(self._buffer)]
            self._buffer += part
            view = view[len(part) :]
            if len(self._buffer) == self._need:
                yield from self._step()

    def finish(self) -> Iterator[Piece]:
        """The stream has ended: yield what is left."""
        if self._buffer:
            first, padding = self._first, self._in_padding
            rest = self._take()
            self.opaque = self.opaque or (not self.is_tar and (first or any(rest)))
            if any(rest) or (self._lost and not padding):
                yield Piece(Kind.DATA, rest, fresh=not self._lost)
            else:
                yield Piece(Kind.ZERO, rest)

    def _take(self) -> bytes:
        taken = bytes(self._buffer)
        self._buffer.clear()
        self._need, self._unit, self._sparse, self._in_padding = BLOCK, 0, False, False
        return taken

    def _step(self) -> Iterator[Piece]:
        if self._in_padding:
            padding = self._take()
            yield Piece(Kind.DATA, padding, fresh=True) if any(padding) else Piece(Kind.ZERO, padding)
            return
        self._first = False
        block = bytes(self._buffer[-BLOCK:])
        if self._sparse:
            self._unit += BLOCK
            yield from self._main(more=block[_SPARSE_BLOCK_MORE] != 0)
        elif block == ZERO_BLOCK and not self._unit and not self._lost:
            yield Piece(Kind.ZERO, self._take())
        elif not valid(block):
            self.opaque = not self.is_tar
            fresh, self._lost = not self._lost, True
            yield Piece(Kind.DATA, self._take(), fresh=fresh)
        elif block[156:157] in EXTENDED:
            yield from self._extended(block)
        else:
            self._unit += BLOCK
            yield from self._main(more=block[156:157] == b"S" and block[_OLD_SPARSE_MORE] != 0)

    def _extended(self, block: bytes) -> Iterator[Piece]:
        length = _size(number(block[124:136]))
        end = self._unit + BLOCK + padded(length)
        if length > limits.MAX_EXTENDED or end > limits.MAX_UNIT:
            yield from self._header()
            return
        self._unit, self._need = end, end + BLOCK
        self.is_tar = True

    def _main(self, *, more: bool) -> Iterator[Piece]:
        if more and self._unit + BLOCK <= limits.MAX_UNIT:
            self._sparse, self._need = True, self._unit + BLOCK
            return
        yield from self._header()

    def _header(self) -> Iterator[Piece]:
        unit = self._take()
        size = data_size(unit)
        self.is_tar, self._lost = True, False
        self._data_left = size
        if size % BLOCK:
            self._in_padding, self._need = True, BLOCK - size % BLOCK
        yield Piece(Kind.HEADER, unit, size)


def has_global(unit: bytes) -> bool:
    """Whether one of these header blocks says something of all members that follow."""
    pos = 0
    while unit[pos + 156 : pos + 157] in EXTENDED and unit[pos + 156 : pos + 157]:
        if unit[pos + 156 : pos + 157] == b"g":
            return True
        pos += BLOCK + padded(_size(number(unit[pos + 124 : pos + 136])))
    return False


def member_name(unit: bytes) -> str:
    """The name of the member with these header blocks; bytes that are not UTF-8 become surrogate escapes."""
    pos, long_name = 0, b""
    while unit[pos + 156 : pos + 157] in EXTENDED and pos + BLOCK < len(unit):
        length = _size(number(unit[pos + 124 : pos + 136]))
        text = unit[pos + BLOCK : pos + BLOCK + length]
        if unit[pos + 156 : pos + 157] == b"L":
            long_name = text.rstrip(b"\0")
        elif unit[pos + 156 : pos + 157] in (b"x", b"X"):
            for key, value in pax_records(text) or ():
                if key in NAME_KEYS:
                    long_name = value
        pos += BLOCK + padded(length)
    name = unit[pos : pos + 100].split(b"\0", 1)[0]
    prefix = unit[pos + 345 : pos + 500].split(b"\0", 1)[0]
    if prefix and unit[pos + 257 : pos + 263] == b"ustar\0":
        name = prefix + b"/" + name
    return (long_name or name).decode("utf-8", "surrogateescape")
