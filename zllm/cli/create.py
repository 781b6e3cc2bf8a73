"""``zllm create``: packs files and folders into an archive."""

from __future__ import annotations

import argparse
import os
import stat
import tarfile
import time
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import zllm
from zllm.archive.inputs import Padded
from zllm.archive.options import Cluster
from zllm.cli import options, output, progress, statistics, suggestions
from zllm.cli.walk import Found, Rules, Walk, names_from
from zllm.errors import UsageError
from zllm.stats import Stats


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser("create", "Packs files and folders into ARCHIVE; - writes to stdout.")
    result.add_argument("operands", nargs="*", metavar="ARCHIVE|- PATH", help="the archive, then what goes into it")
    options.archive_name(result)
    result.add_argument("-C", "--directory", metavar="DIR", help="names after it are below DIR, as in tar")
    _add_selection(result)
    result.add_argument("--force", "--overwrite", action="store_true", help="replace ARCHIVE if it exists")
    result.add_argument(
        "--reproducible", action="store_true", help="owner and group 0, no user names: the same tree, the same bytes"
    )
    options.coding(result)
    options.helpers(result)
    options.statistics(result)
    options.verbosity(result)
    return result


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--exclude", action="append", default=[], metavar="PATTERN", help="leave out what matches")
    parser.add_argument("-X", "--exclude-from", action="append", default=[], metavar="FILE", help="patterns in a file")
    parser.add_argument("-T", "--files-from", action="append", default=[], metavar="FILE", help="names in a file or -")
    parser.add_argument("--null", action="store_true", help="names of -T end with a NUL, as find -print0 writes them")
    parser.add_argument("--no-recursion", dest="recursive", action="store_false", help="do not enter folders")
    parser.add_argument("--one-file-system", action="store_true", help="do not enter other file systems")
    parser.add_argument("--dereference", action="store_true", help="store what links point to, not the links")


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    command = parser()
    args = command.parse_intermixed_args(options.order_folders(argv))
    console.verbose, console.quiet = args.verbose, args.quiet
    operands: list[str] = args.operands
    target = options.take_archive(args, operands, command)
    for name in args.files_from:
        operands += names_from(name, args.null)
    if not args.files_from and all(options.folder_of(operand) is not None for operand in operands):
        command.error("name the files and folders to pack")
    if slip := suggestions.swapped(target, [name for name in operands if options.folder_of(name) is None]):
        raise UsageError(slip)
    idle = options.check_coding(args)
    rules = _rules(args)
    started = time.monotonic()
    with options.cluster(args) as cluster, output.target(target, force=args.force) as file:
        rules.ours = _identities(target, file)
        total = _total(operands, rules) if progress.wanted(console) else None
        with progress.Progress(console, "packing", total) as bar:
            packer = _pack(file, args, operands, Walk(rules, console), bar, cluster=cluster)
    for text in idle:
        console.note(text)
    statistics.show(args.stats, console)
    console.detail(_summary(target, packer, time.monotonic() - started))


def _rules(args: argparse.Namespace) -> Rules:
    excluded = [*args.exclude, *(p for name in args.exclude_from for p in names_from(name, null=False))]
    return Rules(
        excluded=[pattern.rstrip("/") for pattern in excluded],
        recursive=args.recursive,
        one_file_system=args.one_file_system,
        dereference=args.dereference,
    )


def _identities(target: str, file: BinaryIO) -> set[tuple[int, int]]:
    """Which files are the archive: the one being written, and the one it will replace."""
    states = [os.fstat(file.fileno())]
    if os.path.exists(target):
        states.append(os.stat(target))
    return {(state.st_dev, state.st_ino) for state in states if stat.S_ISREG(state.st_mode)}


def _total(operands: Iterable[str], rules: Rules) -> int:
    """Bytes of all regular files, for the progress bar."""
    silent = output.Console()
    silent.print = lambda _: None
    found = Walk(rules, silent).operands(operands)
    return sum(entry.stat.st_size for entry in found if stat.S_ISREG(entry.stat.st_mode))


def _pack(
    file: BinaryIO,
    args: argparse.Namespace,
    operands: list[str],
    walk: Walk,
    bar: progress.Progress,
    *,
    cluster: Cluster | None,
) -> Packer:
    console = walk.console
    with zllm.open(
        fileobj=file, mode="w", level=args.level, model=args.model, llm=args.llm,
        threads=options.thread_count(args), progress=bar, stats=args.stats, dereference=args.dereference,
        embed_model=args.embed_model, cluster=cluster,
        device=args.device, executor=args.executor,
    ) as archive:  # fmt: skip
        packer = Packer(archive, console, reproducible=args.reproducible, stats=args.stats)
        for found in walk.operands(operands):
            packer.add(found)
        if walk.missing and not walk.found:
            raise UsageError("none of the named files exists: no archive was made")
    for warning in archive.warnings:
        console.warn(warning)
    packer.coded = file.tell() if file.seekable() else 0
    return packer


def _summary(target: str, packer: Packer, seconds: float) -> str:
    text = f"{output.printable(target)}: {output.count(packer.members)}, {output.size(packer.bytes)}"
    if packer.coded and packer.bytes:
        text += f" in {output.size(packer.coded)}, {8 * packer.coded / packer.bytes:.3f} bits per byte"
    return f"{text}, {output.size(packer.bytes / max(seconds, 1e-3))}/s"


class Packer:
    """Adds what a walk found. What cannot be read is reported and skipped; the archive stays whole."""

    def __init__(
        self, archive: zllm.ZllmFile, console: output.Console, *, reproducible: bool, stats: Stats | None = None
    ) -> None:
        self.archive = archive
        self.stats = stats
        self.console = console
        self.reproducible = reproducible
        self.members = 0
        self.bytes = 0
        self.coded = 0

    def add(self, found: Found) -> None:
        """Add one member. Raises OSError only if the archive cannot be written."""
        kind = stat.S_IFMT(found.stat.st_mode)
        if kind == stat.S_IFSOCK:
            self.console.note(f"{output.printable(found.path)}: a socket, ignored")
        elif kind == stat.S_IFREG:
            self._add_file(found)
        else:
            self._add_info(self._look(found, None), None)

    def _add_file(self, found: Found) -> None:
        # Opened before it is looked at, so that size and data are of one file; O_NONBLOCK in case it became a pipe.
        try:
            descriptor = os.open(found.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as error:
            self.console.warn(f"{output.os_message(error)}: skipped")
            return
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            info = self._look(found, file)
            if info is None or not info.isreg():
                self._add_info(info, None)
                return
            padded = Padded(file, info.size, self.stats)
            self._add_info(info, padded)
            self._report(found, padded, os.fstat(file.fileno()), info)

    def _report(self, found: Found, padded: Padded, after: os.stat_result, info: tarfile.TarInfo) -> None:
        if problem := padded.problem():
            self.console.warn(f"{found.path}: {problem}")
        elif (info.size, info.mtime) != (after.st_size, after.st_mtime):
            self.console.warn(f"{found.path}: it changed while it was read")

    def _look(self, found: Found, file: BinaryIO | None) -> tarfile.TarInfo | None:
        try:
            info = self.archive.gettarinfo(found.path, found.name, file)
        except OSError as error:
            self.console.warn(f"{output.os_message(error)}: skipped")
            return None
        if info is not None and self.reproducible:
            info.uid = info.gid = 0
            info.uname = info.gname = ""
        return info

    def _add_info(self, info: tarfile.TarInfo | None, data: Padded | None) -> None:
        if info is None:
            return
        if self.console.verbose:
            self.console.print(output.printable(info.name))
        self.archive.addfile(info, data)
        self.archive.members.clear()  # tarfile remembers them all, which adds up: a kilobyte each
        self.members += 1
        self.bytes += info.size
