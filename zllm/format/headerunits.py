"""Header blocks of one member as fields, and back: what :mod:`zllm.format.headers` sorts into columns."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

from zllm.format import limits, tarscan
from zllm.format.tarscan import EXTENDED, number, padded, pax_records

BLOCK = limits.BLOCK
NAME_SIZE, LINK_SIZE, REST_SIZE = 100, 100, 167
NUMBER_SIZE, CHECK_SIZE = 12, 8
PROFILE_SIZE = 113
PAX_TYPES = (b"x", b"g", b"X")
PLAIN_KINDS = (b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"\0")
_NO_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")
_USTAR = b"ustar\0"
_MAGIC, _PREFIX_SIZE = slice(25, 31), 155  # the magic is in a profile
_ONLY_TIME = (b"mtime",)
_NO_SIZE = 1 << 63
_U32 = 1 << 32


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


class Pax(NamedTuple):
    """The extended header of a :class:`Plain`: its block, and the records ``keys`` and ``values``, of ``length`` bytes.

    ``name`` is ``/`` and the made-up folder that the block's name has in the folder of the member's name, or ``=`` and
    all of the block's name. ``end`` is what comes after the digits of the time: NUL or space.
    """

    profile: bytes
    name: bytes
    link: bytes
    rest: bytes
    keys: tuple[bytes, ...]
    values: tuple[bytes, ...]
    length: int
    mtime: int
    end: bytes = b"\0"

    def value(self, key: bytes) -> bytes | None:
        """The value of a record, None if there is none."""
        return self.values[self.keys.index(key)] if key in self.keys else None


class Plain(NamedTuple):
    """Header blocks of a member as nearly all are: one block, before it at most one pax extended header, numbers in
    octal, right checksums. Nothing is built of it until somebody asks for the bytes (:meth:`build`).

    ``header_size`` is how many bytes these are, and ``data_size`` how many bytes of data follow them. Fields are those
    of :class:`Block`; ``ends``: what comes after the digits of size and time, NUL or space.
    """

    header_size: int
    data_size: int
    profile: bytes
    name: bytes
    link: bytes
    rest: bytes
    size: int
    mtime: int
    ends: tuple[bytes, bytes] = (b"\0", b"\0")
    pax: Pax | None = None

    @classmethod
    def of(cls, block: Block, size: int, mtime: int, pax: Pax | None) -> Plain:
        """That of a block, with these numbers instead of its own, and of an extended header."""
        header_size = BLOCK if pax is None else 2 * BLOCK + padded(pax.length)
        given = None if pax is None else pax.value(b"size")
        data = stored_size(block.profile, block.name, size, given)
        return cls(header_size, data, block.profile, block.name, block.link, block.rest, size, mtime, pax=pax)

    @property
    def storable(self) -> bool:
        """Whether columns can have it as it is: times in 32 bits, keywords that are such, within the limits. Of those
        that are not, the bytes are stored."""
        if self.profile[24:25] not in PLAIN_KINDS or self.mtime >= _U32:
            return False
        pax = self.pax
        if pax is None:
            return True
        named = all(key and b"=" not in key for key in pax.keys) and len(set(pax.keys)) == len(pax.keys)
        return named and 0 < pax.length <= limits.MAX_EXTENDED and pax.mtime < _U32

    @property
    def long_name(self) -> bytes:
        """The name of the member as the extended header has it, or else the block."""
        long = None if self.pax is None else self.pax.value(b"path")
        return self.name if long is None else long

    @property
    def full_name(self) -> bytes:
        """The name of the member: see :func:`tarscan.member_name`."""
        if self.pax is not None and self.pax.keys != _ONLY_TIME:
            named = [v for k, v in zip(self.pax.keys, self.pax.values, strict=True) if k in tarscan.NAME_KEYS]
            if named and named[-1]:
                return named[-1]
        name = self.name.split(b"\0", 1)[0]
        prefix = self.rest[:_PREFIX_SIZE].split(b"\0", 1)[0]
        return prefix + b"/" + name if prefix and self.profile[_MAGIC] == _USTAR else name

    def checksum(self) -> int:
        """The sum in the main block's checksum field."""
        numbers = b"%011o%011o" % (self.size, self.mtime) + self.ends[0] + self.ends[1]
        return sum(self.name + self.link + self.rest + numbers, CHECK_SIZE * 0x20 + _sum(self.profile))

    def build(self) -> bytes:
        """The blocks."""
        size, mtime = (b"%011o" % value + end for value, end in zip((self.size, self.mtime), self.ends, strict=True))
        main = Block(self.profile, self.name, self.link, self.rest, size, mtime, b"")
        main.check = main.checksum()
        pax = self.pax
        if pax is None:
            return main.build()
        name = beside(self.long_name, pax.name[1:]) if pax.name[:1] == b"/" else pax.name[1:]
        size, mtime = b"%011o\0" % pax.length, b"%011o" % pax.mtime + pax.end
        block = Block(pax.profile, name, pax.link, pax.rest, size, mtime, b"")
        block.check = block.checksum()
        return Unit([Extended(block, list(zip(pax.keys, pax.values, strict=True)))], main).build()


Headers = bytes | Plain
"""Header blocks of one member."""


def built(headers: Headers) -> bytes:
    """The blocks as bytes."""
    return headers if isinstance(headers, bytes) else headers.build()


def header_size(headers: Headers) -> int:
    """How many bytes the blocks are."""
    return len(headers) if isinstance(headers, bytes) else headers.header_size


def data_size(headers: Headers) -> int:
    """How many bytes of data the member has: see :func:`tarscan.data_size`."""
    return tarscan.data_size(headers) if isinstance(headers, bytes) else headers.data_size


def member_name(headers: Headers) -> str:
    """The name of the member; bytes that are not UTF-8 become surrogate escapes."""
    if isinstance(headers, bytes):
        return tarscan.member_name(headers)
    return headers.full_name.decode("utf-8", "surrogateescape")


def stored_size(profile: bytes, name: bytes, size: int, pax_size: bytes | None) -> int:
    """How many bytes of data a member has whose block says ``size``, and whose extended header ``pax_size``."""
    kind = profile[24:25]
    if kind in _NO_DATA or (kind == b"\0" and name.split(b"\0", 1)[0].endswith(b"/")):
        return 0
    if pax_size is not None and pax_size.isdigit() and len(pax_size) < 20:
        size = int(pax_size)
    return size if size < _NO_SIZE else 0


@functools.lru_cache(maxsize=1024)
def _sum(profile: bytes) -> int:
    return sum(profile)


def beside(name: bytes, folder: bytes) -> bytes:
    """The name of the extended header of ``name``: in a made-up folder in its own folder."""
    front, slash, base = name.rstrip(b"/").rpartition(b"/")
    return front + slash + folder + b"/" + base


def name_beside(name: bytes, long: bytes) -> bytes:
    """The name of an extended header of the member called ``long``, as in :class:`Pax`."""
    folder = name.rpartition(b"/")[0].rpartition(b"/")[2]
    return b"/" + folder if name == beside(long, folder) else b"=" + name


def record_size(key: int, value: int) -> int:
    """Bytes of a pax record, by those of its keyword and value; its length counts itself."""
    rest = key + value + 3
    if rest < 98:  # two digits, and nearly all are
        return rest + (1 if rest < 9 else 2)
    size = rest + len(str(rest))
    return rest + len(str(size))


def pax_record(key: bytes, value: bytes) -> bytes:
    """``length key=value``, where the length counts itself."""
    return b"%d %s=%s\n" % (record_size(len(key), len(value)), key, value)


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
