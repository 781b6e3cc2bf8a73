"""What the commands share that put files into archives: what is packed, and how."""

from __future__ import annotations

import argparse
import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import zllm
from zllm.cli import incoming, memory, operands, options, output, places, progress, suggestions, times
from zllm.cli.incoming import Incoming
from zllm.cli.operands import Folder, Name
from zllm.cli.packer import Packer
from zllm.cli.patterns import VERSION_CONTROL, Excluded
from zllm.cli.walk import Rules, Walk, check_folders
from zllm.errors import UsageError

if TYPE_CHECKING:
    from zllm.archive.growing import Growing
    from zllm.archive.options import Cluster
    from zllm.format.notepart import Note


def arguments(parser: argparse.ArgumentParser) -> None:
    """What is packed: ``-C`` and ``-T``, which have their place among the names, and what is left out."""
    parser.add_argument("-C", "--directory", metavar="DIR", help="look up the names after it in DIR, as tar does")
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave out names that match, and all below them",
    )
    parser.add_argument(
        "-X",
        "--exclude-from",
        action="append",
        default=[],
        metavar="FILE",
        help="leave out what matches a line of FILE",
    )
    parser.add_argument(
        "--exclude-vcs",
        action="store_true",
        help="leave out what git, Subversion and others keep: .git, .svn, CVS, ...",
    )
    parser.add_argument(
        "--exclude-caches",
        action="store_true",
        help="leave out what is in folders with a file CACHEDIR.TAG, but for that file",
    )
    parser.add_argument("-T", "--files-from", metavar="FILE", help="pack the names in FILE, one a line; - is stdin")
    parser.add_argument(
        "--null", action="store_true", help="names in -T files end with a NUL, as find -print0 writes them"
    )
    parser.add_argument(
        "--verbatim-files-from", action="store_true", help="in -T files, lines that begin with -C are names, too"
    )
    parser.add_argument("--no-recursion", dest="recursive", action="store_false", help="do not enter folders")
    parser.add_argument("--one-file-system", action="store_true", help="do not enter other file systems")
    parser.add_argument("--dereference", action="store_true", help="store what symbolic links point to, not the links")
    parser.add_argument("--xattrs", action="store_true", help="pack extended attributes, capabilities among them")
    parser.add_argument("--acls", action="store_true", help="pack access control lists")


def newer(parser: argparse.ArgumentParser) -> None:
    """``--newer``, which would not go with comparing."""
    parser.add_argument(
        "-N",
        "--newer",
        type=times.newer,
        metavar="DATE|FILE",
        help="pack what has changed since DATE (2026-11-30, 2026-11-30T12:00, @SECONDS), or since FILE (a name with a"
        " slash) has; and folders",
    )


def reproducible(parser: argparse.ArgumentParser) -> None:
    """``--reproducible``."""
    parser.add_argument(
        "--reproducible",
        action="store_true",
        help="owner and group 0, no user names: the same tree gives the same bytes",
    )


@dataclass
class Job:
    """What a command line asks for: the archive, the names of what goes into it with the folders that they are looked
    up in, and what is left out.
    """

    args: argparse.Namespace
    target: str
    names: list[Name | Folder]
    rules: Rules
    incoming: Incoming | None = None

    def total(self) -> int:
        """Bytes of all regular files without their holes, for the progress bar."""
        silent = output.Console()
        silent.print = lambda _: None
        states = (found.stat for found in Walk(self.rules, silent).operands(self.names))
        return sum(min(state.st_size, state.st_blocks * 512) for state in states if stat.S_ISREG(state.st_mode))

    def spare(self, *files: BinaryIO) -> None:
        """Leave out the archive itself: what is written, and what has its name."""
        states = [os.fstat(file.fileno()) for file in files]
        if os.path.exists(self.target):
            states.append(os.stat(self.target))
        self.rules.ours = {(state.st_dev, state.st_ino) for state in states if stat.S_ISREG(state.st_mode)}


def parse(command: options.Parser, argv: Sequence[str], console: output.Console) -> Job:
    """What the command line asks for.

    Raises:
        UsageError: that makes no sense.
        OSError: a folder, or a list of names or patterns, cannot be read.
    """
    argv, writer = incoming.split(argv)
    words, given = operands.split(argv, command)
    args = command.parse_args(words)
    console.verbose, console.quiet = args.verbose, args.quiet
    target = _archive(args, given, command)
    lists = [operand.text for operand in given if isinstance(operand, operands.NameList)]
    coming = incoming.parse(args, writer, lists) if hasattr(args, "stdin_name") else None
    if coming is None and all(isinstance(operand, Folder) for operand in given):
        command.error("name the files and folders to pack")
    if slip := suggestions.swapped(target, [operand.text for operand in given if isinstance(operand, Name)]):
        raise UsageError(slip)
    if args.level is not None:
        options.check_coding(args)
    names = list(operands.expand(given, console, null=args.null, verbatim=args.verbatim_files_from))
    check_folders(names)
    return Job(args, target, names, _rules(args), coming)


def _archive(args: argparse.Namespace, given: list[operands.Operand], command: options.Parser) -> str:
    """The archive's name; takes it off ``given`` unless ``-f`` gave it."""
    if args.file is None:
        place = next((number for number, operand in enumerate(given) if isinstance(operand, Name)), None)
        if place is None:
            command.error("name the archive (- for a pipe)")
        return given.pop(place).text
    if not args.file:
        raise UsageError("the name of the archive is empty: is a variable unset?")
    return str(args.file)


def _rules(args: argparse.Namespace) -> Rules:
    patterns = [
        *args.exclude,
        *(VERSION_CONTROL if args.exclude_vcs else ()),
        *(p for name in args.exclude_from for p in operands.lines_of_patterns(name)),
    ]
    return Rules(
        excluded=Excluded(patterns),
        recursive=args.recursive,
        one_file_system=args.one_file_system,
        dereference=args.dereference,
        caches=not args.exclude_caches,
        newer=getattr(args, "newer", None),
    )


@contextlib.contextmanager
def packer(
    file: BinaryIO | Growing,
    mode: str,
    job: Job,
    console: output.Console,
    *,
    bar: progress.Progress,
    cluster: Cluster | None,
) -> Iterator[Packer]:
    """Packs into the archive in ``file`` until the block ends: it is complete then, and its warnings are said."""
    memory.give_back_large()
    args = job.args
    notes: Sequence[Note] = ()
    if getattr(args, "carry_decoder", False):
        from zllm.archive import carried

        notes = carried.decoder()
    with zllm.open(
        fileobj=file, mode=mode, dereference=args.dereference, encoding="utf-8",
        **{**vars(options.write_options(args, bar, cluster)), "notes": notes},
    ) as archive:  # fmt: skip
        yield Packer(
            archive, console, reproducible=args.reproducible, stats=args.stats, xattrs=args.xattrs, acls=args.acls
        )  # fmt: skip
    for warning in archive.warnings:
        console.warn(warning)


def add_all(job: Job, walk: Walk, packer: Packer, outcome: str) -> None:
    """Pack what the names stand for, and what comes from stdin or a command.

    Raises:
        UsageError: there was nothing to pack; ``outcome`` says what follows from that.
    """
    if job.incoming is not None:
        beside = job.target != "-" and places.descriptor(job.target) is None
        folder = os.path.dirname(os.path.abspath(job.target)) if beside else None
        with job.incoming.spooled(folder) as file:
            packer.add_stream(job.incoming.name, file)
    for found in walk.operands(job.names):
        packer.add(found)
    if job.incoming is None:
        check_found(walk, outcome)


def check_found(walk: Walk, outcome: str) -> None:
    """Raise UsageError if there was nothing to pack; ``outcome`` says what follows from that."""
    if walk.missing and not walk.found:
        raise UsageError(f"none of the named files exists: {outcome}")
    if walk.archives and not walk.found:
        raise UsageError("there is nothing to pack but the archive itself")


def facts(packer: Packer, coded: int) -> dict[str, int | str]:
    """What was packed, for programs; ``coded`` as for :func:`summary`."""
    return {"members": packer.members, "bytes": packer.bytes, **({"coded_bytes": coded} if coded else {})}


def summary(packer: Packer, coded: int, seconds: float) -> str:
    """What was packed, for people. ``coded``: bytes that it takes in the archive, 0 if that is not known."""
    text = f"{output.count(packer.members)}, {output.size(packer.bytes)}"
    if coded and packer.bytes:
        text += f" in {output.size(coded)}, {8 * coded / packer.bytes:.3f} bits per byte"
    return f"{text}, {output.size(packer.bytes / max(seconds, 1e-3))}/s"
