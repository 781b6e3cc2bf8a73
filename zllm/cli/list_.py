"""``zllm list``: what is inside an archive."""

from __future__ import annotations

import argparse
import json
import math
import stat
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from zllm.archive.archive import Archive
from zllm.archive.member import Member
from zllm.cli import checksums, names, options, output, reading
from zllm.errors import DamagedError

SUMMARY = "show what is inside; -v: codec, sizes, and why"


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser("list", "Shows what is inside ARCHIVE (- reads from stdin). Nothing is decoded.")
    reading.arguments(
        result, members="what to show: names, folders, shell patterns (default: everything)", decodes=False,
        verbose="a table: mode, sizes, codec, time, and why that codec",
    )  # fmt: skip
    result.add_argument("--json", action="store_true", help="one JSON object, for scripts (docs/cli.md)")
    result.add_argument("--null", action="store_true", help="names as they are, each ended by a NUL")
    result.add_argument(
        "--checksums", action="store_true",
        help="the SHA-256 of each file, as sha256sum -c reads it; small files are decoded for that",
    )  # fmt: skip
    result.add_argument(
        "--generations", action="store_true",
        help="instead, each change of the archive: number, time, members that it added and deleted, bytes",
    )  # fmt: skip
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    command = parser()
    args = reading.parse(command, argv, console)
    if args.checksums and (args.null or args.json or args.verbose or args.generations):
        command.error("--checksums prints what sha256sum -c reads: leave out the other forms")
    if args.null and (args.json or args.verbose):
        command.error(f"--null gives names alone: leave out {'--json' if args.json else '-v'}")
    if args.generations and (args.operands or args.null):
        command.error("--generations is about the archive as a whole: leave out the members and --null")
    wanted = reading.Wanted(args.operands)
    with reading.opened(args, console) as archive:
        if args.generations:
            _generations(archive, args, console)
            return
        wanted.settle(archive)
        members = (member for member in reading.members(archive, args.archive, console) if wanted(member.name))
        if args.checksums:
            checksums.show(archive, members, args, console)
        elif args.json:
            rows = [as_json(member) for member in members]
            print(json.dumps({"archive": names.of_member(args.archive), "members": rows}, allow_nan=False))
        elif args.verbose:
            _table(members)
        else:
            _names(members, args)
    wanted.report_unseen(console)


def _generations(archive: Archive, args: argparse.Namespace, console: output.Console) -> None:
    """All of them; a pipe is read to its end for that."""
    if archive.layout is None:
        archive.view.drain()
    rows = [
        {"number": g.number, "time": g.time or None, "members": g.members, "deleted": g.deleted, "bytes": g.size}
        for g in archive.generations
    ]
    if args.json:
        print(json.dumps({"archive": names.of_member(args.archive), "generations": rows}))
    else:
        print(f"{'generation':>10} {'time':19} {'added':>9} {'deleted':>9} {'bytes':>12}")
        for one in archive.generations:
            when = _when(one.time, "%Y-%m-%d %H:%M:%S") if one.time else "-"
            print(f"{one.number:10} {when:19} {one.members:9} {one.deleted:9} {one.size:12}")
    if any(isinstance(problem, DamagedError) for problem in archive.problems):  # members are not what was asked for
        reading.complain(archive, args.archive, console)


def _names(members: Iterable[Member], args: argparse.Namespace) -> None:
    for member in members:
        if args.null:
            sys.stdout.buffer.write(names.to_bytes(member.name) + b"\0")
        else:
            print(_name(member))


def _name(member: Member) -> str:
    """What a script may give back as an operand, as with tar -t: where links lead, the table says."""
    return output.printable(member.name + ("/" if member.isdir() else ""))


def _shown(member: Member) -> str:
    name = _name(member)
    if member.issym():
        return f"{name} -> {output.printable(member.linkname)}"
    if member.islnk():
        return f"{name} link to {output.printable(member.linkname)}"
    return name


def _table(members: Iterable[Member]) -> None:
    print(f"{'mode':10} {'size':>12} {'coded':>12} {'bits/byte':>9} {'codec':9} {'modified':16} name  (why)")
    count = size = coded = 0
    for member in members:
        stored = member.storage
        why = f"  ({output.printable(stored.reason)})" if stored.reason else ""
        codecs = output.printable("+".join(stored.codecs)) or "-"
        print(
            f"{_mode(member)} {member.size:12} {stored.coded_size:12} {_rate(stored.coded_size, member.size):>9}"
            f" {codecs:9} {_when(member.mtime):16} {_shown(member)}{why}"
        )
        count, size, coded = count + 1, size + member.size, coded + stored.coded_size
    print(f"{'total':10} {size:12} {coded:12} {_rate(coded, size):>9} {output.count(count)}")


def _when(mtime: float, form: str = "%Y-%m-%d %H:%M") -> str:
    """A time in the local time zone; ``?`` for one that no calendar has."""
    try:
        return time.strftime(form, time.localtime(mtime))
    except (OverflowError, ValueError, OSError):
        return "?"


def _rate(coded: int, size: int) -> str:
    return f"{8 * coded / size:.3f}" if size else "-"


def _mode(member: Member) -> str:
    kinds = {b"2": stat.S_IFLNK, b"3": stat.S_IFCHR, b"4": stat.S_IFBLK, b"6": stat.S_IFIFO}
    kind = stat.S_IFDIR if member.isdir() else kinds.get(member.type, stat.S_IFREG)
    return stat.filemode(kind | member.mode & 0o7777)


def as_json(member: Member) -> dict[str, Any]:
    """One member for ``list --json``. Bytes of a name that are not UTF-8 are lone surrogates, as Python has them."""
    return {
        "name": member.name,
        "type": _kind(member),
        "size": member.size,
        "coded_size": member.coded_size,
        "bits_per_byte": round(8 * member.coded_size / member.size, 4) if member.size else None,
        "codecs": list(member.codecs),
        "category": member.category,
        "reason": member.reason,
        "sha256": member.sha256,
        "mode": member.mode,
        "mtime": member.mtime if math.isfinite(member.mtime) else None,
        "uid": member.uid,
        "gid": member.gid,
        "uname": member.uname,
        "gname": member.gname,
        "linkname": member.linkname or None,
    }


def _kind(member: Member) -> str:
    if member.isdir():
        return "folder"
    if member.issym():
        return "symlink"
    if member.islnk():
        return "hardlink"
    return "file" if member.isreg() else "device" if member.isdev() and not member.isfifo() else "fifo"
