"""``zllm test``: decodes everything and checks every checksum; writes nothing."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence

import zllm
from zllm.cli import options, output, progress, reading
from zllm.errors import TruncatedError, ZllmError

_PIECE = 1 << 20


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser("test", "Decodes ARCHIVE (- reads from stdin) and checks every checksum.")
    reading.arguments(result, members="what to test (default: everything)")
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    command = parser()
    args = command.parse_intermixed_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    name = options.take_archive(args, args.operands, command)
    wanted = reading.Wanted(args.operands)
    members = size = 0
    with reading.opened(name, args) as archive:
        total = None
        if progress.wanted(console) and name != "-":
            total = sum(member.size for member in archive if member.isreg() and wanted(member.name))
        with progress.Progress(console, "testing", total) as bar:
            for member in archive:
                if wanted(member.name):
                    _check(archive, member, console, bar)
                    members, size = members + 1, size + member.size
    wanted.report_unseen(console)
    if not console.status:
        console.detail(f"{output.printable(name)}: {members} members, {output.size(size)}, all whole")


def _check(archive: zllm.ZllmFile, member: tarfile.TarInfo, console: output.Console, bar: progress.Progress) -> None:
    if console.verbose > 1:
        console.print(output.printable(member.name))
    if not member.isreg():
        return
    try:
        stream = archive.extractfile(member)
        while stream is not None and (piece := stream.read(_PIECE)):
            bar(len(piece))
    except TruncatedError:
        raise
    except ZllmError as error:
        reading.report(error, member.name, console)
