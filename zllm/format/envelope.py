"""Envelopes: what every part of an archive begins with, whatever it is, and the checksum that it ends with.

A part is envelope, body, checksum. All checksums begin with the archive's id, so that parts of an archive that is
stored inside a member are never taken for parts of the archive around it. The one behind a body is a CRC: of a damaged
part it tells which bit is wrong, if only one is (:mod:`zllm.format.repair`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from zllm.errors import DamagedError
from zllm.format import limits
from zllm.format.wire import MAX_VARINT_BYTES, checksum, checksum64, put_varint

SYNC = b"\xb5Z"
ENVELOPE_CHECK_SIZE, CHECK_SIZE = 2, 4
MAX_SIZE = len(SYNC) + 2 + 2 * MAX_VARINT_BYTES + ENVELOPE_CHECK_SIZE
"""Most bytes of an envelope."""
LEAST_PART = len(SYNC) + 4 + ENVELOPE_CHECK_SIZE + CHECK_SIZE
"""Bytes of a part with an empty body."""

SKIP = 0x01
"""Ignore-me flag: a reader that does not know this kind may pass over the part."""
SEALED = 0x10
"""Reject-me flag: the body is encrypted."""
REJECT = 0xF0
"""Flags that a reader must know; the others may be ignored."""
ID_SIZE = 4


class Kind(IntEnum):
    """What a part is. Numbers are never used again."""

    SECTION = 1
    FRAME = 2
    MODEL = 3
    DIRECTORY = 4
    FOOTER = 5
    KEYS = 6
    PARITY = 7
    NOTE = 8


_PIECE = 1 << 20
_LONGEST: dict[int, int] = {
    Kind.SECTION: limits.MAX_SECTION_HEADER + limits.MAX_MAP,
    Kind.FRAME: limits.MAX_PAYLOAD + 2 + MAX_VARINT_BYTES,
    Kind.MODEL: limits.MAX_MODEL + 64,
    Kind.DIRECTORY: limits.MAX_DIRECTORY,
    Kind.FOOTER: MAX_VARINT_BYTES,
    Kind.KEYS: limits.MAX_KEYS,
}
_TAGS = 1 << 17  # of a sealed body: 16 bytes for each MiB


@dataclass(frozen=True, slots=True)
class Envelope:
    """``sequence`` is the number of the part in its archive, ``length`` the bytes of its body."""

    kind: int
    sequence: int
    length: int
    flags: int = 0

    def fields(self) -> bytes:
        """All but the checksum."""
        out = bytearray(SYNC)
        out += bytes((self.kind, self.flags))
        put_varint(out, self.sequence)
        put_varint(out, self.length)
        return bytes(out)

    def pack(self, seed: int) -> bytes:
        """The envelope's bytes."""
        fields = self.fields()
        return fields + checksum(ENVELOPE_CHECK_SIZE, fields, seed=seed)

    @property
    def size(self) -> int:
        """Bytes of the envelope."""
        return len(SYNC) + 2 + _varint_size(self.sequence) + _varint_size(self.length) + ENVELOPE_CHECK_SIZE

    @property
    def whole(self) -> int:
        """Bytes of the part: envelope, body and checksum."""
        return self.size + self.length + CHECK_SIZE

    @property
    def may_be_skipped(self) -> bool:
        """A reader that does not know the part's kind may pass over it."""
        return bool(self.flags & SKIP)


def seed_of(archive_id: bytes) -> int:
    """What checksums of an archive with that id are seeded with."""
    return int.from_bytes(archive_id, "little")


def id_of(kind: int, *body: bytes | memoryview) -> bytes:
    """The id of an archive whose first section, or else whose directory, has that kind and body."""
    return checksum(ID_SIZE, bytes([kind]), *body)


def crc_of(seed: int, *pieces: bytes | bytearray | memoryview) -> int:
    """The checksum of a part whose bytes, up to its end, these are together."""
    crc = seed
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
    return crc


def check_of(seed: int, *pieces: bytes | bytearray | memoryview) -> bytes:
    """The bytes of :func:`crc_of`."""
    return crc_of(seed, *pieces).to_bytes(CHECK_SIZE, "little")


def seal(seed: int, envelope: Envelope, *body: bytes | memoryview) -> tuple[bytes, bytes]:
    """What stands before a body and what behind it: its envelope and its checksum."""
    front = envelope.pack(seed)
    return front, check_of(seed, front, *body)


def part(seed: int, kind: int, sequence: int, body: bytes, flags: int = 0) -> bytes:
    """A whole part."""
    front, check = seal(seed, Envelope(kind, sequence, len(body), flags), body)
    return front + body + check


def holds(seed: int, part: bytes | memoryview) -> bool:
    """Whether the checksum at the end of a whole part is that of all before it."""
    view = memoryview(part)
    return check_of(seed, view[:-CHECK_SIZE]) == view[-CHECK_SIZE:]


def holds_in_pieces(seed: int, envelope: Envelope, read: Callable[[int], bytes]) -> bool:
    """Whether the checksum of a part holds, however long it is: ``read`` gives up to so many bytes of what follows the
    envelope, none at the end.
    """
    crc = crc_of(seed, envelope.pack(seed))
    left = envelope.length
    while left:
        piece = read(min(left, _PIECE))
        if not piece:
            return False
        crc = crc_of(crc, piece)
        left -= len(piece)
    return crc.to_bytes(CHECK_SIZE, "little") == read(CHECK_SIZE)


def parse(data: bytes | bytearray | memoryview, seed: int | None) -> Envelope:
    """The envelope that ``data`` begins with. Without a seed, its checksum is not compared.

    Raises:
        DamagedError: there is none, or its checksum does not match.
    """
    envelope, end = _fields(data)
    if seed is not None:
        check = checksum64(data[:end], seed=seed) & 0xFFFF
        if _CHECK.unpack(data[end : end + ENVELOPE_CHECK_SIZE])[0] != check:
            raise DamagedError(_BAD)
    return envelope


def is_cut(data: bytes) -> bool:
    """Whether ``data``, the last bytes of a source, are the beginning of an envelope, and not all of it."""
    if not 0 < len(data) < MAX_SIZE or data[: len(SYNC)] != SYNC[: len(data)]:
        return False
    try:
        _, end = _fields(data + SYNC[len(data) :] + b"\1" * MAX_SIZE)
    except DamagedError:
        return False
    return end + ENVELOPE_CHECK_SIZE > len(data)


_CHECK = struct.Struct("<H")
_BAD = "the archive is damaged: the checksum of an envelope does not match"
_MISSING = "the archive is damaged: there is no part where one should be"


def _fields(data: bytes | bytearray | memoryview) -> tuple[Envelope, int]:
    """The envelope, unchecked, and where its checksum begins."""
    if data[: len(SYNC)] != SYNC or len(data) < LEAST_PART - CHECK_SIZE:
        raise DamagedError(_MISSING)
    kind, flags = data[2], data[3]
    sequence, at = _varint(data, 4)
    length, at = _varint(data, at)
    if at + ENVELOPE_CHECK_SIZE > len(data):
        raise DamagedError(_MISSING)
    if length > _LONGEST.get(kind, 1 << 62) + (_TAGS if flags & SEALED else 0):
        raise DamagedError(f"the archive is damaged: a part of {length} bytes cannot be")
    return Envelope(kind, sequence, length, flags), at


def _varint(data: bytes | bytearray | memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):  # below 2^63
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if not byte and shift:
                break
            return value, at
    raise DamagedError(_MISSING)


def _varint_size(value: int) -> int:
    return max(1, (value.bit_length() + 6) // 7)
