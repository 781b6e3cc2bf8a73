"""Extended attributes and POSIX access control lists, as the pax records that star, GNU tar and libarchive use.

An attribute is a record ``SCHILY.xattr.NAME`` with its value as it is. Of lists, ``SCHILY.acl.access`` and
``SCHILY.acl.default``, the text is stored (``user::rw-,user:anna:r--,...``), since numbers mean nothing elsewhere.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator, Mapping

XATTR = "SCHILY.xattr."
ACLS = {"SCHILY.acl.access": "system.posix_acl_access", "SCHILY.acl.default": "system.posix_acl_default"}
"""The attributes in which Linux has the lists, by the keywords of their records."""
PASSED_OVER = {"security.selinux", *ACLS.values()}
"""Attributes that are no records of their own: the label is given by the system that unpacks."""

Lookup = Callable[[int], str]
Number = Callable[[str], "int | None"]

_HEAD = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_VERSION = 2
_TAGS = {0x01: "user", 0x02: "user", 0x04: "group", 0x08: "group", 0x10: "mask", 0x20: "other"}
_NAMED = {"user": 0x02, "group": 0x08}
_OWN = {"user": 0x01, "group": 0x04, "mask": 0x10, "other": 0x20}
_NOBODY = 0xFFFFFFFF
_MOST_ENTRIES = 8192  # Linux has 64 KiB for an attribute; each may ask for a name
_BITS = ((4, "r"), (2, "w"), (1, "x"))


def acl_text(value: bytes, user: Lookup, group: Lookup) -> str:
    """The list that Linux has in an attribute's ``value``, as text. ``user`` and ``group`` give names, empty where
    there is none: the number stands then.

    Raises:
        ValueError: it is not such a list.
    """
    if len(value) < _HEAD.size or (len(value) - _HEAD.size) % _ENTRY.size or _HEAD.unpack_from(value)[0] != _VERSION:
        raise ValueError("an access control list of an unknown kind")
    entries = []
    for tag, bits, number in _ENTRY.iter_unpack(value[_HEAD.size :]):
        kind = _TAGS.get(tag)
        if kind is None:
            raise ValueError("an access control list of an unknown kind")
        lookup = {0x02: user, 0x08: group}.get(tag)
        name = (lookup(number) or str(number)) if lookup else ""
        entries.append(f"{kind}:{name}:{''.join(letter if bits & bit else '-' for bit, letter in _BITS)}")
    return ",".join(entries)


def acl_value(text: str, user: Number, group: Number) -> bytes:
    """The other way. Names that do not exist here need a number behind their permissions, as star writes it.

    Raises:
        ValueError: it is not such a text, or names somebody who does not exist.
    """
    lines = text.replace("\n", ",").split(",")
    if len(lines) > _MOST_ENTRIES:
        raise ValueError("an access control list that no file can have")
    found = [entry for line in lines if (entry := line.partition("#")[0].strip())]
    entries = [_entry(entry, {"user": user, "group": group}) for entry in found]
    return _HEAD.pack(_VERSION) + b"".join(_ENTRY.pack(*entry) for entry in sorted(entries))


def _entry(text: str, numbers: Mapping[str, Number]) -> tuple[int, int, int]:
    kind, *rest = text.split(":")
    kind = {"u": "user", "g": "group", "m": "mask", "o": "other"}.get(kind, kind)
    if kind in ("mask", "other") and len(rest) == 1:  # Solaris and old stars
        rest = ["", *rest]
    if kind not in _OWN or len(rest) not in (2, 3) or not set(rest[1]) <= set("rwx-"):
        raise ValueError(f"{text!r} is not an entry of an access control list")
    name, letters = rest[:2]
    bits = sum(bit for bit, letter in _BITS if letter in letters)
    if not name:
        return _OWN[kind], bits, _NOBODY
    if kind not in _NAMED:
        raise ValueError(f"{text!r} is not an entry of an access control list")
    number = numbers[kind](name)
    for digits in (name, *rest[2:]):
        if number is None and digits.isascii() and digits.isdigit() and int(digits) < _NOBODY:
            number = int(digits)
    if number is None:
        raise ValueError(f"there is no {kind} {name} here")
    return _NAMED[kind], bits, number


def attributes_of(records: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Names and values of all attributes that a member's pax records have, without lists."""
    for keyword, value in records.items():
        name = keyword.removeprefix(XATTR)
        if name != keyword and name not in PASSED_OVER:
            yield name, _bytes(value)


def has_any(records: Mapping[str, str]) -> bool:
    """Whether they have attributes or lists."""
    return any(keyword in ACLS or keyword.startswith(XATTR) for keyword in records)


def text_of(value: bytes) -> str:
    """A value as pax records have it in Python, where text may have bytes that are not UTF-8."""
    return value.decode("utf-8", "surrogateescape")


def _bytes(value: str) -> bytes:
    with contextlib.suppress(UnicodeEncodeError):
        return value.encode("utf-8", "surrogateescape")
    return value.encode("utf-8", "surrogatepass")
