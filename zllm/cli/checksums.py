"""The SHA-256 of members, in the form of ``sha256sum``."""

from __future__ import annotations

import argparse
import hashlib
import sys
import tarfile
from collections.abc import Iterable

from zllm.archive.archive import Archive
from zllm.archive.member import Member
from zllm.cli import names, output, reading
from zllm.format.names import plain

_PIECE = 1 << 20


def show(archive: Archive, members: Iterable[Member], args: argparse.Namespace, console: output.Console) -> None:
    """Print a line for each file, a hard link too; of members with the same name for the last, but from a pipe."""
    last: dict[bytes, int] = {}
    if archive.layout is not None:
        members = list(members)
        last = {plain(member.name): member.offset for member in members}
    for member in members:
        if not (member.isreg() or member.islnk()) or last.get(plain(member.name), member.offset) != member.offset:
            continue
        try:
            sys.stdout.buffer.write(line(of(archive, member), member.name))
        except (tarfile.TarError, ValueError) as error:
            reading.report(error, member.name, console, args.archive)


def of(archive: Archive, member: Member) -> str:
    """The SHA-256 of a file's data, hexadecimal: the one that the archive has, or else that of the decoded data.

    Raises:
        ZllmError: that cannot be decoded, or a link leads to nothing.
        tarfile.StreamError: a link, while a pipe is read.
    """
    if member.isreg() and member.sparse is None and member.sha256 is not None:
        return member.sha256
    sha = hashlib.sha256()
    archive.expect(member)
    data = archive.open(member)
    while data is not None and (piece := data.read(_PIECE)):
        sha.update(piece)
    return sha.hexdigest()


def line(sha256: str, name: str) -> bytes:
    """A line of ``sha256sum``, which escapes names with backslashes and line ends."""
    plain_name = names.to_bytes(name)
    escaped = plain_name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return b"%s%s  %s\n" % (b"\\" if escaped != plain_name else b"", sha256.encode(), escaped)
