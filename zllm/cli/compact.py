"""``zllm compact``: an archive without what it does not need any more."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, cast

import zllm
from zllm.archive.archive import Archive
from zllm.archive.growing import Growing
from zllm.archive.member import Member
from zllm.cli import adding, heirs, options, output, passphrases, progress, reading, statistics
from zllm.format.names import plain

if TYPE_CHECKING:
    from zllm.archive.compacting import Counts

SUMMARY = "make an archive smaller that was changed: its newest state alone"


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser(
        "compact",
        "Replaces ARCHIVE by one of its newest state alone: without what was deleted or replaced, and without its\n"
        "generations. What stays together is copied as it is, the rest is packed again.",
    )
    result.add_argument("operands", nargs="*", metavar="ARCHIVE", help="the archive")
    options.archive_name(result)
    options.coding(result, added=True)
    passphrases.reading(result)
    options.statistics(result)
    options.verbosity(result, "sum up at the end")
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    command = parser()
    args = reading.parse(command, argv, console)
    if args.operands:
        command.error(f"one archive at a time: '{args.operands[0]}' is one name too many")
    started, before = time.monotonic(), 0
    reader = options.read_options(args)
    with adding.growing(args.archive, console, reader) as growing:
        before = os.fstat(growing.file.fileno()).st_size
        idle = adding.set_level(args, growing)
        with adding.read(growing, reader) as archive:
            counts = None if _is_compact(archive, growing) else _compact(archive, args, console)
    for text in idle:
        console.note(text)
    statistics.show(args.stats, console)
    name = output.printable(args.archive)
    if counts is None:
        console.detail(f"{name}: there is nothing to remove")
        return
    after, seconds = os.stat(args.archive).st_size, time.monotonic() - started
    console.facts.update(members=counts.members, bytes_before=before, archive_bytes=after)
    how = f"{output.count(counts.sections, 'section')} copied, {output.count(counts.again)} packed again"
    sizes = f"{output.size(before)} before, {output.size(after)} now"
    console.detail(f"{name}: {output.count(counts.members)}, {sizes}; {how}, {seconds:.1f} s")


def _is_compact(archive: Archive, growing: Growing) -> bool:
    """Whether nothing could be left out. Raises what is wrong with the archive."""
    names: set[bytes] = set()
    count = 0
    for member in archive.everything():
        names.add(plain(member.name))
        count += 1
    adding.check_whole(archive)
    return len(archive.generations) < 2 and count == len(names) and not growing.layout.unfinished


def _compact(archive: Archive, args: argparse.Namespace, console: output.Console) -> Counts:
    from zllm.archive.compacting import Compactor
    from zllm.archive.target import Target

    target = Target(args.archive, replace=True)
    try:
        with progress.Progress(console, "packing", None) as bar:
            new = zllm.ZllmFile(
                fileobj=cast(BinaryIO, target.file),
                mode="w",
                encoding="utf-8",
                **vars(replace(options.write_options(args, bar), passphrase=None, sealing=archive.sealing)),
            )
            first: dict[int, str] = {}  # by where the data is, its heir

            def give(link: Member) -> None:
                original = archive.original(link)
                place = -1 if original is None else original.offset
                heirs.give(archive, new, link, first.setdefault(place, link.name))

            counts = Compactor(archive, new.writer, give).run()
        for text in new.warnings:
            console.warn(text)
        target.publish()
    except BaseException:
        target.discard()
        raise
    return counts
