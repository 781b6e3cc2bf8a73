"""Header blocks of one member as fields, and back: what :mod:`zllm.format.headers` sorts into columns."""

from __future__ import annotations

from dataclasses import dataclass

from zllm.format import limits
from zllm.format.tarscan import EXTENDED, number, padded, pax_records

BLOCK = limits.BLOCK
NAME_SIZE, LINK_SIZE, REST_SIZE = 100, 100, 167
NUMBER_SIZE, CHECK_SIZE = 12, 8
PROFILE_SIZE = 113
PAX_TYPES = (b"x", b"g", b"X")


@dataclass(slots=True)
class Block:
    """One 512-byte header block (POSIX.1-2017, pax, "ustar Interchange Format").

    ``name`` (100 bytes), ``link`` (100) and ``rest`` (167: prefix and what follows) come without the NULs at their
    ends. ``profile`` (113) is all that seldom changes: mode, uid, gid (24), type (1), magic to devminor (88). ``size``
    (12), ``mtime`` (12) and ``check`` (8) are as they stand.
    """

    profile: bytes
    name: bytes
    link: bytes
    rest: bytes
    size: bytes
    mtime: bytes
    check: bytes

    @property
    def kind(self) -> bytes:
        """The type flag."""
        return self.profile[24:25]

    def checksum(self) -> bytes:
        """The checksum field as every writer writes it."""
        fields = (self.name, self.profile, self.size, self.mtime, self.link, self.rest)
        return b"%06o\0 " % sum(b"".join(fields), CHECK_SIZE * 0x20)  # as if spaces were in its own place

    def build(self) -> bytes:
        """The block."""
        return b"".join((
            self.name.ljust(NAME_SIZE, b"\0"),
            self.profile[:24],
            self.size,
            self.mtime,
            self.check,
            self.profile[24:25],
            self.link.ljust(LINK_SIZE, b"\0"),
            self.profile[25:],
            self.rest.ljust(REST_SIZE, b"\0"),
        ))  # fmt: skip


@dataclass(slots=True)
class Extended:
    """An extended header: its block, and its text as pax records, or as a GNU long name without the NUL after it."""

    block: Block
    records: list[tuple[bytes, bytes]] | None = None
    text: bytes = b""

    def build_text(self) -> bytes:
        """The text that follows the block, not padded."""
        if self.records is None:
            return self.text + b"\0"
        return b"".join(pax_record(key, value) for key, value in self.records)


@dataclass(slots=True)
class Unit:
    """All header blocks of one member. ``tail``: blocks after the main one (sparse maps)."""

    extended: list[Extended]
    main: Block
    tail: bytes = b""

    def build(self) -> bytes:
        """The blocks."""
        out = []
        for part in self.extended:
            text = part.build_text()
            out += [part.block.build(), text, bytes(padded(len(text)) - len(text))]
        return b"".join((*out, self.main.build(), self.tail))


def pax_record(key: bytes, value: bytes) -> bytes:
    """``length key=value``, where the length counts itself."""
    rest = len(key) + len(value) + 3
    size = rest + len(str(rest))
    size = rest + len(str(size))
    return b"%d %s=%s\n" % (size, key, value)


def split_block(block: bytes) -> Block:
    """The fields of 512 bytes."""
    return Block(
        profile=block[100:124] + block[156:157] + block[257:345],
        name=block[:100].rstrip(b"\0"),
        link=block[157:257].rstrip(b"\0"),
        rest=block[345:].rstrip(b"\0"),
        size=block[124:136],
        mtime=block[136:148],
        check=block[148:156],
    )


def split(data: bytes) -> Unit | None:
    """The fields of a member's header blocks. None if these do not give back the very same bytes."""
    extended = []
    pos = 0
    while data[pos + 156 : pos + 157] in EXTENDED and pos + BLOCK < len(data):
        block = split_block(data[pos : pos + BLOCK])
        length = number(block.size)
        if length is None or not 0 < length <= limits.MAX_EXTENDED:
            return None
        text = data[pos + BLOCK : pos + BLOCK + length]
        records = pax_records(text) if block.kind in PAX_TYPES else None
        if block.kind in PAX_TYPES and records is None:
            return None
        extended.append(Extended(block, records, text[:-1]))
        pos += BLOCK + padded(length)
    if pos + BLOCK > len(data):
        return None
    unit = Unit(extended, split_block(data[pos : pos + BLOCK]), data[pos + BLOCK :])
    return unit if unit.build() == data else None
