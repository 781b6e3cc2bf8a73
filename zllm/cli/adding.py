"""What the commands share that change an archive in its place."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator

from zllm.archive.archive import Archive
from zllm.archive.growing import Growing
from zllm.archive.options import ReadOptions
from zllm.archive.target import remove_stale
from zllm.cli import options, output, places
from zllm.errors import NotZllmError, UsageError

_DEFAULT_LEVEL = 6


@contextlib.contextmanager
def growing(name: str, console: output.Console, reader: ReadOptions) -> Iterator[Growing]:
    """The archive, locked, which ``reader`` has the keys of. What was not published when the block ends is taken back.

    Raises:
        UsageError: it is not a file, or nothing can be added to it.
        BusyError: another process changes it.
    """
    if name == "-" or places.descriptor(name) is not None:
        raise UsageError("an archive is changed in its place: name a file")
    if os.path.isdir(name):
        raise UsageError(f"{name} is a folder, not an archive")
    with output.about(name):
        try:
            found = Growing(name, options=reader)
        except NotZllmError as error:
            raise NotZllmError(f"{name}: {error}: nothing was changed") from error
        if found.layout.unfinished:
            console.note(
                f"{name}: {found.layout.unfinished} bytes of a generation that was never finished are overwritten"
            )
        remove_stale(os.path.realpath(name))  # of a compaction that was killed
        try:
            yield found
        finally:
            found.discard()


def set_level(args: argparse.Namespace, archive: Growing) -> list[str]:
    """Have ``args.level`` be the archive's, if none is given; what to say of options without effect."""
    if args.level is None:
        level = archive.layout.manifest.get("level")
        args.level = level if isinstance(level, int) and 1 <= level <= 9 else _DEFAULT_LEVEL
    return options.check_coding(args)


@contextlib.contextmanager
def read(found: Growing, reader: ReadOptions) -> Iterator[Archive]:
    """The archive as it is, read through a descriptor of its own: the other is where the writer's next byte goes.

    Raises:
        FileNotFoundError: another file has its name by now.
    """
    with open(found.name, "rb") as file:
        if not os.path.samestat(os.fstat(file.fileno()), os.fstat(found.file.fileno())):
            raise FileNotFoundError(2, "it was replaced meanwhile", found.name)
        file.seek(found.layout.start)
        yield Archive(file, reader, vault=found.vault)


def check_whole(archive: Archive) -> None:
    """Raise what is wrong with an archive whose members have all been asked for: then it is not changed."""
    for problem in archive.problems:
        problem.args = (f"{problem}: nothing was changed", *problem.args[1:])
        raise problem
