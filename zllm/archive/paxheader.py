"""Header blocks of a member: a ustar block, and before it a pax extended header for what does not fit into that.

Text is written as the bytes that it has on this machine, UTF-8 or not, and without ``hdrcharset``, which GNU tar
complains of and does not need; :mod:`tarfile` reads such names back as they were. Times are exact decimal fractions.
"""

from __future__ import annotations

import functools
import tarfile
from collections.abc import Mapping
from typing import Any

from zllm.format.headerunits import Block, Pax, Plain, record_size

_TEXT = (("name", b"path", 100), ("linkname", b"linkpath", 100), ("uname", b"uname", 32), ("gname", b"gname", 32))
_MAX_OCTAL = 8**7
_NUMBERS = (("uid", _MAX_OCTAL), ("gid", _MAX_OCTAL), ("size", 8**11))
_MAX_TIME = 8**11
_NANO = 10**9


def build(info: Mapping[str, Any], extra: Mapping[str, str], encoding: str, nanoseconds: int | None) -> bytes:
    """The bytes of :func:`headers`."""
    return headers(info, extra, encoding, nanoseconds).build()


def headers(info: Mapping[str, Any], extra: Mapping[str, str], encoding: str, nanoseconds: int | None) -> Plain:
    """The headers of the member with these fields, which are named as :meth:`tarfile.TarInfo.get_info` names them.

    Args:
        info: the fields.
        extra: more pax records. They replace those of the same keyword that would be made from ``info``.
        encoding: of text with bytes that are no UTF-8, which are surrogate escapes.
        nanoseconds: the time, if it is known exactly; else it is ``info["mtime"]``.

    Raises:
        ValueError: text that cannot be encoded, or a number that no header can hold.
    """
    fields = dict(info)
    records: dict[bytes, bytes] = {}
    for field, keyword, length in _TEXT:
        text = info[field]
        if len(text) > length or not text.isascii():
            coded = _encoded(text, encoding)
            if len(coded) > length or not coded.isascii():
                records[keyword] = coded
        fields[field] = text.encode("ascii", "replace")[:length]
    for field, most in _NUMBERS:
        if not 0 <= info[field] < most:
            records[field.encode()] = b"%d" % info[field]
            fields[field] = 0
    mtime, time = _time(info["mtime"], nanoseconds)
    if time:
        records[b"mtime"] = time.encode()
    records.update((keyword.encode(), _encoded(value, encoding)) for keyword, value in extra.items())
    block = Block(_profile(fields), fields["name"].rstrip(b"\0"), fields["linkname"].rstrip(b"\0"), b"", b"", b"", b"")
    return Plain.of(block, fields["size"], mtime, _pax(records) if records else None)


def _pax(records: dict[bytes, bytes]) -> Pax:
    keys, values = tuple(records), tuple(records.values())
    length = sum(map(record_size, map(len, keys), map(len, values)))
    return Pax(_EXTENDED, b"=././@PaxHeader", b"", b"", keys, values, length, 0)


def _profile(fields: Mapping[str, Any]) -> bytes:
    kind = fields["type"]
    device = kind in (tarfile.CHRTYPE, tarfile.BLKTYPE)
    numbers = (fields["devmajor"], fields["devminor"]) if device else (None, None)
    return _block(
        fields["mode"] & 0o7777, fields["uid"], fields["gid"], kind, fields["uname"], fields["gname"], *numbers
    )


@functools.lru_cache(maxsize=1024)
def _block(  # noqa: PLR0917
    mode: int, uid: int, gid: int, kind: bytes, uname: bytes, gname: bytes, major: int | None, minor: int | None
) -> bytes:
    """What seldom changes in a block: its profile (:class:`zllm.format.headerunits.Block`)."""
    front = _octal(mode) + _octal(uid) + _octal(gid) + kind + b"ustar\x0000"
    devices = b"".join(bytes(8) if number is None else _octal(number) for number in (major, minor))
    return front + uname.ljust(32, b"\0") + gname.ljust(32, b"\0") + devices


def _encoded(text: str, encoding: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        pass
    try:
        return text.encode(encoding, "surrogateescape")
    except UnicodeEncodeError:  # an encoding that has not all the other characters
        return text.encode("utf-8", "surrogateescape")


def _time(mtime: float, nanoseconds: int | None) -> tuple[int, str]:
    """The seconds for the ustar block, rounded as by :mod:`tarfile`, and the pax record's text, which is empty where
    the block says it all."""
    seconds = round(mtime if nanoseconds is None else nanoseconds / _NANO)
    if nanoseconds is not None:
        text = decimal(nanoseconds) if nanoseconds % _NANO or not 0 <= seconds < _MAX_TIME else ""
    else:
        text = _fraction(mtime) if seconds != mtime or not 0 <= seconds < _MAX_TIME else ""
    return (seconds if 0 <= seconds < _MAX_TIME else 0), text


def _fraction(mtime: float) -> str:
    text = str(mtime)
    return f"{mtime:.9f}" if "e" in text else text


def decimal(nanoseconds: int) -> str:
    """A time as pax has it: seconds, with a fraction if there is one."""
    seconds, fraction = divmod(abs(nanoseconds), _NANO)
    text = f"{seconds}.{fraction:09}".rstrip("0").rstrip(".") if fraction else str(seconds)
    return f"-{text}" if nanoseconds < 0 else text


def _octal(value: int) -> bytes:
    if not 0 <= value < _MAX_OCTAL:
        raise ValueError(f"{value} does not fit into a header")
    return b"%07o\0" % value


_EXTENDED = _block(0, 0, 0, b"x", b"", b"", None, None)
