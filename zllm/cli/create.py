"""``zllm create``: packs files and folders into an archive."""

from __future__ import annotations

import time
from collections.abc import Sequence

from zllm.cli import incoming, options, output, packing, passphrases, progress, statistics
from zllm.cli.walk import Walk

SUMMARY = "pack files and folders into an archive"


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser("create", "Packs files and folders into ARCHIVE; - writes to stdout.")
    result.add_argument("operands", nargs="*", metavar="ARCHIVE|- PATH", help="the archive, then what goes into it")
    options.archive_name(result)
    packing.arguments(result)
    packing.newer(result)
    incoming.arguments(result)
    result.add_argument("--force", "--overwrite", action="store_true", help="replace ARCHIVE if it exists")
    packing.reproducible(result)
    result.add_argument(
        "--carry-decoder", action="store_true",
        help="put the source of a decoder in C, and the specifications, in front: those who have no zllm compile it",
    )  # fmt: skip
    options.coding(result)
    passphrases.writing(result)
    options.helpers(result)
    options.statistics(result)
    options.verbosity(result, "name each member, and sum up at the end")
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    make(packing.parse(parser(), argv, console), console)


def make(job: packing.Job, console: output.Console) -> None:
    """Make the archive; an old one is replaced if the options say so."""
    args, started = job.args, time.monotonic()
    idle = options.check_coding(args)
    with options.cluster(args) as cluster, output.target(job.target, force=args.force) as file:
        job.spare(file)
        total = job.total() if progress.wanted(console) else None
        walk = Walk(job.rules, console)
        with (
            progress.Progress(console, "packing", total) as bar,
            packing.packer(file, "w", job, console, bar=bar, cluster=cluster) as packer,
        ):
            packing.add_all(job, walk, packer, "no archive was made")
        coded = file.tell() if file.seekable() else 0
    for text in idle:
        console.note(text)
    statistics.show(args.stats, console)
    console.facts.update(packing.facts(packer, coded))
    console.detail(f"{output.printable(job.target)}: {packing.summary(packer, coded, time.monotonic() - started)}")
