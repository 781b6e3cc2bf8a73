"""``zllm append``: adds files and folders to an archive."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from zllm.cli import adding, create, incoming, options, output, packing, passphrases, progress, statistics
from zllm.cli.walk import Walk

SUMMARY = "add files and folders to an archive"


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser(
        "append",
        "Adds files and folders to ARCHIVE, in its place, as one more generation; makes it if it does not exist.\n"
        "What is in the archive already stays: of members with the same name the last one counts.",
    )
    result.add_argument("operands", nargs="*", metavar="ARCHIVE PATH", help="the archive, then what is added to it")
    options.archive_name(result)
    packing.arguments(result)
    packing.newer(result)
    incoming.arguments(result)
    packing.reproducible(result)
    options.coding(result, added=True)
    passphrases.writing(result, identities=True)
    options.helpers(result)
    options.statistics(result)
    options.verbosity(result, "name each member, and sum up at the end")
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    job = packing.parse(parser(), argv, console)
    if job.target != "-" and not os.path.lexists(job.target):
        job.args.level = job.args.level or 6
        job.args.force = False
        create.make(job, console)
        return
    add(job, console)


def add(job: packing.Job, console: output.Console) -> None:
    """Add to an archive that is there."""
    args, started = job.args, time.monotonic()
    with options.cluster(args) as cluster, adding.growing(
        job.target, console, options.read_options(args)
    ) as archive:
        idle = adding.set_level(args, archive)
        job.spare()
        total = job.total() if progress.wanted(console) else None
        walk = Walk(job.rules, console)
        with (
            progress.Progress(console, "packing", total) as bar,
            packing.packer(archive, "a", job, console, bar=bar, cluster=cluster) as packer,
        ):
            packing.add_all(job, walk, packer, "nothing was added")
    for text in idle:
        console.note(text)
    statistics.show(args.stats, console)
    said = packing.summary(packer, archive.added, time.monotonic() - started)
    console.facts.update({**packing.facts(packer, archive.added), "generation": archive.number})
    console.detail(f"{output.printable(job.target)}: {said}, generation {archive.number}")
