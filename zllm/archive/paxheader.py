"""Header blocks of a member: a ustar block, and before it a pax extended header for what does not fit into that.

Text is written as the bytes that it has on this machine, UTF-8 or not, and without ``hdrcharset``, which GNU tar
complains of and does not need; :mod:`tarfile` reads such names back as they were. Times are exact decimal fractions.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from typing import Any

from zllm.format.limits import BLOCK

_TEXT = (("name", "path", 100), ("linkname", "linkpath", 100), ("uname", "uname", 32), ("gname", "gname", 32))
_NUMBERS = (("uid", 7), ("gid", 7), ("size", 11))
_MAX_TIME = 8**11
_NANO = 10**9


def build(info: Mapping[str, Any], extra: Mapping[str, str], encoding: str, nanoseconds: int | None) -> bytes:
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
    records: dict[str, bytes] = {}
    for field, keyword, length in _TEXT:
        text = _encoded(info[field], encoding)
        if len(text) > length or not text.isascii():
            records[keyword] = text
        fields[field] = info[field].encode("ascii", "replace")[:length]
    for field, digits in _NUMBERS:
        if not 0 <= info[field] < 8**digits:
            records[field] = b"%d" % info[field]
            fields[field] = 0
    fields["mtime"], time = _time(info["mtime"], nanoseconds)
    if time:
        records["mtime"] = time.encode()
    records.update((keyword, _encoded(value, encoding)) for keyword, value in extra.items())
    return (_extended(records) if records else b"") + _block(fields)


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


def _extended(records: Mapping[str, bytes]) -> bytes:
    data = b"".join(_record(keyword.encode(), value) for keyword, value in records.items())
    fields: dict[str, Any] = {"name": b"././@PaxHeader", "type": b"x", "size": len(data)}
    return _block(fields) + data + bytes(-len(data) % BLOCK)


def _record(keyword: bytes, value: bytes) -> bytes:
    body = b" " + keyword + b"=" + value + b"\n"
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return b"%d" % length + body


def _block(fields: Mapping[str, Any]) -> bytes:
    device = fields.get("type") in (tarfile.CHRTYPE, tarfile.BLKTYPE)
    front = b"".join((
        _text(fields.get("name", b""), 100), _octal(fields.get("mode", 0) & 0o7777, 7),
        _octal(fields.get("uid", 0), 7), _octal(fields.get("gid", 0), 7),
        _octal(fields.get("size", 0), 11), _octal(fields.get("mtime", 0), 11),
    ))  # fmt: skip
    back = b"".join((
        fields.get("type", b"0"), _text(fields.get("linkname", b""), 100), b"ustar\x0000",
        _text(fields.get("uname", b""), 32), _text(fields.get("gname", b""), 32),
        _octal(fields.get("devmajor", 0), 7) if device else bytes(8),
        _octal(fields.get("devminor", 0), 7) if device else bytes(8),
    ))  # fmt: skip
    back = back.ljust(BLOCK - len(front) - 8, b"\0")
    checksum = sum(front) + sum(b" " * 8) + sum(back)
    return front + b"%06o\0 " % checksum + back


def _text(value: bytes, length: int) -> bytes:
    return value.ljust(length, b"\0")


def _octal(value: int, digits: int) -> bytes:
    if not 0 <= value < 8**digits:
        raise ValueError(f"{value} does not fit into a header")
    return b"%0*o\0" % (digits, value)
