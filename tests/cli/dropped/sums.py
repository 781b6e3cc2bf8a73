"""``zllm sums``: the SHA-256 of each member, as ``sha256sum -c`` reads it."""

from __future__ import annotations

from collections.abc import Sequence

import zllm
from zllm.cli import options, output

SUMMARY = "print the members' SHA-256 for sha256sum -c"


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser("sums", "Prints the SHA-256 of each file in ARCHIVE that has one, and its name.")
    result.add_argument("archive", metavar="ARCHIVE", help="a file")
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    args = parser().parse_args(argv)
    with output.about(args.archive), zllm.open(args.archive) as archive:
        for member in archive:
            if member.sha256:
                print(f"{member.sha256}  {member.name}")
