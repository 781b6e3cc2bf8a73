"""``zllm test``: decodes everything and checks every checksum; writes nothing."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from zllm.archive.archive import Archive
from zllm.archive.check import Checker
from zllm.archive.member import Member
from zllm.cli import options, output, progress, reading
from zllm.errors import ZllmError

SUMMARY = "decode everything and check every checksum"

_PIECE = 1 << 20


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser("test", "Decodes ARCHIVE (- reads from stdin) and checks every checksum.")
    reading.arguments(
        result, members="what to test (default: everything)", verbose="sum up at the end; -vv names each member as well"
    )
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    args = reading.parse(parser(), argv, console)
    wanted = reading.Wanted(args.operands)
    members = size = 0
    with (
        progress.Progress(console, "testing") as bar,
        reading.opened(args, console, bar) as archive,
    ):
        reading.expect(bar, archive, wanted)
        whole = not args.operands
        if whole:  # every byte is looked at, whatever member it belongs to, and if to none
            checker = Checker(archive.view, lambda error, name: reading.report(error, name, console, args.archive))
            checker.run()
        for member in reading.members(archive, args.archive, console):
            if wanted(member.name):
                size += _check(archive, member, args, console, decode=not whole)
                members += 1
    wanted.report_unseen(console, "test")
    if not console.status:
        console.detail(f"{output.printable(args.archive)}: {output.count(members)}, {output.size(size)}, all whole")


def _check(archive: Archive, member: Member, args: argparse.Namespace, console: output.Console, *, decode: bool) -> int:
    """Bytes of data that the member has in the archive: of a sparse member, without its holes."""
    if console.verbose > 1:
        console.print(output.printable(member.name))
    start, size = member.stored
    if not decode:
        return size
    try:
        archive.expect(member)
        view = archive.view
        view.seek(start)
        left = size
        while left and (piece := view.read(min(_PIECE, left))):
            left -= len(piece)
    except ZllmError as error:
        reading.report(error, member.name, console, args.archive)
    return size
