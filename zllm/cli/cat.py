"""``zllm cat``: members, or the whole tar stream, to stdout."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence

from zllm.archive.archive import Archive
from zllm.archive.member import Member
from zllm.cli import names, options, output, reading
from zllm.errors import ZllmError

SUMMARY = "write members, or the whole tar stream, to stdout"

_PIECE = 1 << 20


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser("cat", "Writes members of ARCHIVE (- reads from stdin) to stdout, one after the other.")
    reading.arguments(result, members="the members")
    result.add_argument("--tar", action="store_true", help="write the whole archive as a tar stream")
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    command = parser()
    args = reading.parse(command, argv, console)
    if bool(args.operands) == args.tar:
        command.error("name the members, or pass --tar for everything")
    if args.tar:
        _tar(args, console)
        return
    with reading.opened(args, console) as archive:
        if archive.layout is None:
            _in_archive_order(archive, args, console)
        else:
            _in_given_order(archive, args, console)


def _in_archive_order(archive: Archive, args: argparse.Namespace, console: output.Console) -> None:
    wanted = reading.Wanted(args.operands)
    for member in reading.members(archive, args.archive, console):
        if wanted(member.name):
            _write(archive, member, console)
    wanted.report_unseen(console)


def _in_given_order(archive: Archive, args: argparse.Namespace, console: output.Console) -> None:
    known: list[Member] | None = None
    for operand in args.operands:
        wanted = reading.Wanted([operand])
        exact = archive.find_alone(names.of_member(operand))  # the last of a name counts, as in tar
        if exact is None and known is None:
            known = list(reading.members(archive, args.archive, console))
        if exact is None:
            exact = next((member for member in reversed(known or ()) if member.name == operand), None)
        for member in [exact] if exact is not None else known or ():
            if wanted(member.name):
                _write(archive, member, console)
        wanted.report_unseen(console)
    if known is None:
        reading.complain(archive, args.archive, console)


def _write(archive: Archive, member: Member, console: output.Console) -> None:
    try:
        archive.expect(member)
        stream = archive.open(member)
        if stream is not None:
            shutil.copyfileobj(stream, sys.stdout.buffer, _PIECE)
    except ZllmError as error:
        reading.report(error, member.name, console)


def _tar(args: argparse.Namespace, console: output.Console) -> None:
    from zllm.cli import statistics, streams

    with output.about(args.archive), output.source(args.archive) as file:
        out = output.stdout()
        with streams.decoder(file, options.read_options(args), console.warn) as stream:
            shutil.copyfileobj(stream, out, _PIECE)
    statistics.show(args.stats, console)
