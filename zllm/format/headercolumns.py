"""The columns of header blocks: which there are, and what writers and readers of them share.

``docs/zllm-format.md`` lists them.
"""

from __future__ import annotations

import re
from enum import IntEnum

from zllm.format import headerunits, limits
from zllm.format.wire import unzigzag, zigzag

WHAT = "the section map"
U32 = 1 << 32
MAX_OCTAL = 8**11 - 1
MAX_UNITS = limits.WINDOW // limits.BLOCK
TIME = re.compile(rb"(0|[1-9][0-9]{0,9})(?:\.([0-9]{1,9}))?")
TIME_KEYS = frozenset({b"mtime", b"atime", b"ctime", b"LIBARCHIVE.creationtime"})
ENDS = (b"\0", b" ")


class Col(IntEnum):
    """The columns, in order."""

    PARTS = 0
    RAW_SIZES = 1
    RAW = 2
    PROFILES = 3
    EXTENDED_PROFILE = 4
    MAIN_PROFILE = 5
    EXTENDED_FORM = 6
    MAIN_FORM = 7
    SHORT_FORM = 8
    EXTENDED_NAMES = 9
    NAMES = 10
    LINKS = 11
    RESTS = 12
    LITERALS = 13
    KEYS = 14
    KEY_NUMBERS = 15
    VALUES = 16
    DIGITS = 17
    SECONDS = 18  # 4 columns: bytes 0 (lowest) to 3
    FRACTIONS = 22  # 4 columns
    SIZES = 26  # 2 columns: bytes 0 and 1; the rest are varints in SIZE_TOPS
    SIZE_TOPS = 28
    TAIL_SIZES = 29
    TAILS = 30


COLUMNS = 31
RAW, MAIN, PAX, LONG, MAIN_WITH_TAIL = range(5)  # parts
LITERAL, NUL, SPACE, FOLLOWS, ROUNDED = range(5)  # forms of a number
BASE = 5  # a form byte is size form + 5 * mtime form + 25 * (the checksum is a literal)
PLAIN, CUT, ASCII = range(3)  # forms of a short name
COLUMN_OF = {b"path": Col.NAMES, b"linkpath": Col.LINKS}
"""Where pax records with names are."""


def hidden(text: bytes) -> bytes:
    """``text`` without NULs, and a NUL after it."""
    if b"\0" in text or b"\1" in text:
        text = text.replace(b"\1", b"\1\3").replace(b"\0", b"\1\2")
    return text + b"\0"


def shown(text: bytes) -> bytes:
    """The inverse of :func:`hidden`, but for the NUL after it."""
    return text.replace(b"\1\2", b"\0").replace(b"\1\3", b"\1")


def shortened(long: bytes, form: int) -> bytes:
    """What writers put into the 100 bytes of a name that has a longer or non-ASCII version elsewhere."""
    if form == ASCII:
        long = long.decode("utf-8", "surrogateescape").encode("ascii", "replace")
    return long[: headerunits.NAME_SIZE].rstrip(b"\0")


def rounded(match: re.Match[bytes]) -> int:
    """What :data:`TIME` has matched, in whole seconds."""
    return int(match[1]) + (match[2] is not None and match[2][:1] >= b"5")


class Said:
    """What a member's extended headers say that its main block repeats: names, and the time, in seconds."""

    __slots__ = ("floor", "link", "name", "rounded")

    def __init__(self) -> None:
        self.name: bytes | None = None
        self.link: bytes | None = None
        self.floor: int | None = None
        self.rounded: int | None = None

    def take(self, key: bytes, value: bytes) -> None:
        """One more record."""
        if key == b"mtime":
            if match := TIME.fullmatch(value):
                self.floor, self.rounded = int(match[1]), rounded(match)
        elif key == b"path":
            self.name = value
        elif key == b"linkpath":
            self.link = value


class Times:
    """Seconds as differences from the last of the same keyword."""

    def __init__(self) -> None:
        self.last: dict[bytes, int] = {}

    def difference(self, key: bytes, seconds: int) -> int:
        """``seconds`` as it is stored."""
        delta = (seconds - self.last.get(key, 0)) % U32
        self.last[key] = seconds
        return zigzag(delta - U32 if delta >> 31 else delta)

    def seconds(self, key: bytes, coded: int) -> int:
        """The inverse of :meth:`difference`."""
        self.last[key] = seconds = (self.last.get(key, 0) + unzigzag(coded)) % U32
        return seconds

    @property
    def extended(self) -> int:
        """The time of the extended header before."""
        return self.last.get(b"extended", 0)
