"""``zllm test``: decodes everything and checks every checksum; writes nothing."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from zllm.archive.archive import Archive
from zllm.archive.check import Checker
from zllm.archive.member import Member
from zllm.cli import options, output, progress, reading
from zllm.errors import LockedError, ZllmError

SUMMARY = "decode everything and check every checksum"

_PIECE = 1 << 20


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser("test", "Decodes ARCHIVE (- reads from stdin) and checks every checksum.")
    reading.arguments(
        result, members="what to test (default: everything)", verbose="sum up at the end; -vv names each member as well"
    )
    result.add_argument(
        "--percent", type=_percent, default=100, metavar="N",
        help="decode N percent of the frames, chosen at random, and compare the checksums alone of the others",
    )  # fmt: skip
    result.add_argument(
        "--without-key", action="store_true",
        help="of an encrypted archive, compare the checksums alone, which show damage, but not forgery",
    )  # fmt: skip
    return result


def _percent(text: str) -> int:
    if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to 100")
    return int(text)


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    command = parser()
    args = reading.parse(command, argv, console)
    if args.percent < 100 and args.operands:
        command.error("--percent chooses from all members: leave out their names")
    if args.without_key:
        if args.operands or args.percent < 100 or args.passphrase or args.identities:
            command.error("--without-key tests whole archives, and needs neither names nor keys")
        _without_key(args, console)
        return
    try:
        _test(args, console)
    except LockedError as error:
        if error.tried or args.operands or args.archive == "-":
            raise
        _without_key(args, console)


def _without_key(args: argparse.Namespace, console: output.Console) -> None:
    """Compare the checksums of an encrypted archive."""
    from zllm.archive import keyless

    with output.about(args.archive), output.source(args.archive) as file:
        seen = keyless.test(file, seekable=file.seekable())
    name = output.shown(args.archive)
    for text in seen.warnings:
        console.warn(f"{name}: {text}")
    for problem in seen.problems:
        console.error(output.prefixed(args.archive, output.message(problem)), problem.exit_code)
    console.note(f"{name}: {keyless.NOT_AUTHENTICATED}")
    if not console.status:
        found = f"{output.count(seen.parts, 'part')}, {output.size(seen.size)}, no damage"
        console.detail(f"{output.printable(name)}: {found}")


def _test(args: argparse.Namespace, console: output.Console) -> None:
    wanted = reading.Wanted(args.operands)
    members = size = 0
    with (
        progress.Progress(console, "testing") as bar,
        reading.opened(args, console, bar) as archive,
    ):
        reading.expect(bar, archive, wanted)
        whole = not args.operands
        if whole:  # every byte is looked at, whatever member it belongs to, and if to none
            checker = Checker(
                archive.view, lambda error, name: reading.report(error, name, console, args.archive), args.percent
            )
            checker.run()
        for member in reading.members(archive, args.archive, console):
            if wanted(member.name):
                size += _check(archive, member, args, console, decode=not whole)
                members += 1
    wanted.report_unseen(console, "test")
    console.facts.update(members=members, bytes=size)
    if not console.status:
        found = "all whole" if args.percent == 100 else f"all whole of the {args.percent}% that were decoded"
        console.detail(f"{output.printable(args.archive)}: {output.count(members)}, {output.size(size)}, {found}")


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
