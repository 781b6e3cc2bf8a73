"""Archives made of hand-written tar headers, and every attribute of what came out of them."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path
from typing import Any

from zllm.archive.options import WriteOptions
from zllm.archive.writer import Writer
from zllm.cli import extract as command
from zllm.cli.output import Console

FILE, HARD, SYMBOLIC, CHARACTER, BLOCK, FOLDER, PIPE = b"0", b"1", b"2", b"3", b"4", b"5", b"6"


def number(value: int, width: int) -> bytes:
    """A field as tar programs write it: octal, or base 256 where that is too short or negative."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return (value % (1 << (8 * width)) | 1 << (8 * width - 1)).to_bytes(width, "big")


def header(name: bytes, kind: bytes = FILE, *, size: int = 0, link: bytes = b"", **fields: Any) -> bytes:
    """One header block. ``fields``: mode, uid, gid, mtime, device (two numbers), uname, gname."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = number(fields.get("mode", 0o755 if kind == FOLDER else 0o644), 8)
    block[108:116] = number(fields.get("uid", os.getuid()), 8)
    block[116:124] = number(fields.get("gid", os.getgid()), 8)
    block[124:136] = number(size, 12)
    block[136:148] = number(fields.get("mtime", 1_600_000_000), 12)
    block[148:157] = b" " * 8 + kind
    block[157 : 157 + len(link)] = link
    block[257:265] = b"ustar\x0000"
    block[265 : 265 + len(fields.get("uname", b""))] = fields.get("uname", b"")
    block[297 : 297 + len(fields.get("gname", b""))] = fields.get("gname", b"")
    major, minor = fields.get("device", (0, 0))
    block[329:337], block[337:345] = number(major, 8), number(minor, 8)
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def member(name: bytes, data: bytes = b"", kind: bytes = FILE, **fields: Any) -> bytes:
    """A header with its data; long names and targets get a pax header."""
    before = []
    link = fields.pop("link", b"")
    if len(name) > 100:
        before.append((b"path", name))
        name = name[:100]
    if len(link) > 100:
        before.append((b"linkpath", link))
        link = link[:100]
    front = pax(*before) if before else b""
    return front + header(name, kind, size=fields.pop("size", len(data)), link=link, **fields) + padded(data)


def pax(*records: tuple[bytes, bytes]) -> bytes:
    """A pax header for the next member."""
    text = b""
    for key, value in records:
        size = len(key) + len(value) + 3
        size += len(str(size + len(str(size))))
        text += b"%d %s=%s\n" % (size, key, value)
    return header(b"PaxHeader", b"x", size=len(text)) + padded(text)


def archive(path: str | os.PathLike[str], *parts: bytes, end: bytes = bytes(1024)) -> None:
    """An archive of these headers and data."""
    out = io.BytesIO()
    sink = Writer(out, WriteOptions(level=2))
    for part in parts:
        sink.write(part)
    sink.write(end)
    sink.close()
    Path(path).write_bytes(out.getvalue())


def run(*words: str) -> tuple[int, list[str]]:
    """``zllm extract`` in this process: the exit code, and the lines on stderr."""
    lines: list[str] = []
    console = Console()
    console.print = lines.append
    command.run(words, console)
    return console.status, lines


def state(root: str | os.PathLike[str], *, times: bool = True) -> dict[bytes, tuple[object, ...]]:
    """Every attribute of all below ``root``, and of itself, by name."""
    top = os.fsencode(root)
    first: dict[tuple[int, int], bytes] = {}
    found: dict[bytes, tuple[object, ...]] = {}

    def look(path: bytes) -> None:
        name = path[len(top) :] or b"."
        status = os.lstat(path)
        content: object = None
        if stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            content = hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
        elif stat.S_ISDIR(status.st_mode):
            for entry in sorted(os.listdir(path)):
                look(path + b"/" + entry)
        same = first.setdefault((status.st_dev, status.st_ino), name)
        size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
        found[name] = (
            oct(status.st_mode), status.st_uid, status.st_gid, size, status.st_mtime_ns if times else 0, content, same,
            status.st_rdev, 0 if stat.S_ISDIR(status.st_mode) else status.st_nlink,
        )  # fmt: skip

    look(top)
    return found
