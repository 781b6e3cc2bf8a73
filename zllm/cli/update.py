"""``zllm update``: brings an archive up to date with the files and folders that it was made of."""

from __future__ import annotations

import stat
import time
from collections.abc import Sequence

import zllm
from zllm.archive.archive import Archive
from zllm.archive.growing import Growing
from zllm.cli import adding, heirs, names, options, output, packing, passphrases, patterns, progress, statistics
from zllm.cli.changes import Known
from zllm.cli.operands import Name
from zllm.cli.packer import Packer
from zllm.cli.walk import Found, Walk, member_name

SUMMARY = "add what is new or changed to an archive"


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser(
        "update",
        "Adds to ARCHIVE, in its place, what of PATH is new, or differs in size, time, mode or owner from what is in\n"
        "it. What it replaces can still be read by --generation. If nothing differs, nothing is written.",
    )
    result.add_argument("operands", nargs="*", metavar="ARCHIVE PATH", help="the archive, then what goes into it")
    options.archive_name(result)
    packing.arguments(result)
    packing.reproducible(result)
    result.add_argument(
        "--hash", action="store_true", help="compare the content of files of the same size, and not their times"
    )
    result.add_argument(
        "--delete", action="store_true", help="delete members below the PATHs that are not on the disk any more"
    )
    options.coding(result, added=True)
    passphrases.reading(result)
    options.helpers(result)
    options.statistics(result)
    options.verbosity(result, "name each member that is added or deleted, and sum up at the end")
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    job = packing.parse(parser(), argv, console)
    args, started = job.args, time.monotonic()
    reader = options.read_options(args)
    with options.cluster(args) as cluster, adding.growing(job.target, console, reader) as growing:
        idle = adding.set_level(args, growing)
        job.spare()
        with adding.read(growing, reader) as archive:
            known = Known(archive, by_content=args.hash, owners=not args.reproducible)
            adding.check_whole(archive)
            with (
                progress.Progress(console, "packing", None) as bar,
                packing.packer(growing, "a", job, console, bar=bar, cluster=cluster) as packer,
            ):
                update = Update(job, known, packer, Walk(job.rules, console))
                update.run()
                update.delete(archive)
    for text in idle:
        console.note(text)
    statistics.show(args.stats, console)
    console.facts.update(update.facts(growing))
    console.detail(f"{output.printable(job.target)}: {update.summary(growing, time.monotonic() - started)}")


class Update:
    """Compares, and packs what differs. ``added``, ``changed`` and ``deleted`` count members."""

    def __init__(self, job: packing.Job, known: Known, packer: Packer, walk: Walk) -> None:
        self.job = job
        self.known = known
        self.packer = packer
        self.walk = walk
        self.added = self.changed = self.deleted = 0
        self._replaced: set[str] = set()

    def run(self) -> None:
        """Add what is new or changed."""
        for found in self.walk.operands(self.job.names):
            if self.known.changed(found):
                self._add(found)
            else:
                self.packer.know(found)
        packing.check_found(self.walk, "nothing was changed")

    def _add(self, found: Found) -> None:
        before = self.packer.members
        self.packer.add(found)
        if self.packer.members == before:  # it could not be read: what the archive has of it stays
            return
        name = names.of_member(found.name)
        old = self.known.members.get(name)
        if old is None:
            self.added += 1
            return
        self.changed += 1
        self._replaced.add(name)
        if old.isdir() and not _is_folder(found):  # what was below it cannot be there any more
            self._replaced.update(other for other in self.known.members if other.startswith(f"{name}/"))

    def delete(self, archive: Archive) -> None:
        """Delete what was replaced, and, if that is asked for, what has vanished."""
        console = self.packer.console
        vanished = self._vanished() if self.job.args.delete else set()
        if vanished and self.walk.skipped:
            console.warn("nothing is deleted: not everything could be looked at")
            vanished = set()
        self.deleted = len(vanished)
        if console.verbose:
            for name in sorted(vanished):
                console.print(f"deleted: {output.printable(name)}")
        gone = self._replaced | vanished
        new: zllm.ZllmFile = self.packer.archive
        moved = heirs.add(archive, new, heirs.of(self.known.members, gone).values())
        if gone:
            new.delete([*gone, *moved])

    def _vanished(self) -> set[str]:
        """Names of members below the names that were given, and were not found, nor left out."""
        tops = [names.of_member(member_name(one.text)) for one in self.job.names if isinstance(one, Name)]
        return {
            name
            for name in self.known.members
            if name not in self.known.seen
            and any(top == "." or patterns.named(name, top) for top in tops)
            and not self.job.rules.excluded(name)
            and not any(name.startswith(f"{names.of_member(cache)}/") for cache in self.walk.caches)
        }

    def facts(self, growing: Growing) -> dict[str, int | str]:
        """What was done, for programs."""
        counts = {"added": self.added, "changed": self.changed, "deleted": self.deleted}
        return {**packing.facts(self.packer, growing.added), **counts, "generation": growing.number}

    def summary(self, growing: Growing, seconds: float) -> str:
        """What was done, for people."""
        if not (self.added or self.changed or self.deleted):
            return "nothing has changed"
        counts = f"{self.added} added, {self.changed} changed, {self.deleted} deleted"
        return f"{counts}: {packing.summary(self.packer, growing.added, seconds)}, generation {growing.number}"


def _is_folder(found: Found) -> bool:
    return stat.S_ISDIR(found.stat.st_mode)
