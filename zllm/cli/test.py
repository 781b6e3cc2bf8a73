"""``zllm test``: decodes everything and checks every checksum; writes nothing."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence

from zllm.cli import options, output, progress, reading
from zllm.errors import ZllmError

_PIECE = 1 << 20


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser("test", "Decodes ARCHIVE (- reads from stdin) and checks every checksum.")
    reading.arguments(result, members="what to test (default: everything)")
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
        for member in reading.members(archive, console):
            if wanted(member.name):
                size += _check(archive, member, console)
                members += 1
    wanted.report_unseen(console, "test")
    if not console.status:
        console.detail(f"{output.printable(args.archive)}: {output.count(members)}, {output.size(size)}, all whole")


def _check(archive: reading.Archive, member: tarfile.TarInfo, console: output.Console) -> int:
    """Bytes of data that were read, whole or not."""
    if console.verbose > 1:
        console.print(output.printable(member.name))
    count = 0
    if member.isreg():
        try:
            archive.expect(member)
            stream = archive.extractfile(member)
            while stream is not None and (piece := stream.read(_PIECE)):
                count += len(piece)
        except ZllmError as error:
            reading.report(error, member.name, console)
    return count
