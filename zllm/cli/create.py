"""``zllm create``: packs files and folders into an archive."""

from __future__ import annotations

import argparse
import os
import stat
import time
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import zllm
from zllm.archive.options import Cluster
from zllm.cli import operands, options, output, progress, statistics, suggestions
from zllm.cli.operands import Folder, Name
from zllm.cli.packer import Packer
from zllm.cli.patterns import Excluded
from zllm.cli.walk import Rules, Walk, check_folders
from zllm.errors import UsageError

SUMMARY = "pack files and folders into an archive"


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser("create", "Packs files and folders into ARCHIVE; - writes to stdout.")
    result.add_argument("operands", nargs="*", metavar="ARCHIVE|- PATH", help="the archive, then what goes into it")
    options.archive_name(result)
    result.add_argument("-C", "--directory", metavar="DIR", help="look up the names after it in DIR, as tar does")
    _add_selection(result)
    result.add_argument("--force", "--overwrite", action="store_true", help="replace ARCHIVE if it exists")
    result.add_argument(
        "--reproducible",
        action="store_true",
        help="owner and group 0, no user names: the same tree gives the same bytes",
    )
    options.coding(result)
    options.helpers(result)
    options.statistics(result)
    options.verbosity(result, "name each member, and sum up at the end")
    return result


def _add_selection(parser: argparse.ArgumentParser) -> None:
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


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    command = parser()
    words, given = operands.split(argv, command)
    args = command.parse_args(words)
    console.verbose, console.quiet = args.verbose, args.quiet
    target = _archive(args, given, command)
    if all(isinstance(operand, Folder) for operand in given):
        command.error("name the files and folders to pack")
    if slip := suggestions.swapped(target, [operand.text for operand in given if isinstance(operand, Name)]):
        raise UsageError(slip)
    idle = options.check_coding(args)
    names = list(operands.expand(given, console, null=args.null, verbatim=args.verbatim_files_from))
    check_folders(names)
    rules = _rules(args)
    started = time.monotonic()
    with options.cluster(args) as cluster, output.target(target, force=args.force) as file:
        rules.ours = _identities(target, file)
        total = _total(names, rules) if progress.wanted(console) else None
        with progress.Progress(console, "packing", total) as bar:
            packer = _pack(file, args, names, Walk(rules, console), bar, cluster=cluster)
    for text in idle:
        console.note(text)
    statistics.show(args.stats, console)
    console.detail(_summary(target, packer, time.monotonic() - started))


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
    patterns = [*args.exclude, *(p for name in args.exclude_from for p in operands.lines_of_patterns(name))]
    return Rules(
        excluded=Excluded(patterns),
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


def _total(names: Iterable[Name | Folder], rules: Rules) -> int:
    """Bytes of all regular files without their holes, for the progress bar."""
    silent = output.Console()
    silent.print = lambda _: None
    states = (found.stat for found in Walk(rules, silent).operands(names))
    return sum(min(state.st_size, state.st_blocks * 512) for state in states if stat.S_ISREG(state.st_mode))


def _pack(
    file: BinaryIO,
    args: argparse.Namespace,
    names: list[Name | Folder],
    walk: Walk,
    bar: progress.Progress,
    *,
    cluster: Cluster | None,
) -> Packer:
    console = walk.console
    with zllm.open(
        fileobj=file, mode="w", level=args.level, model=args.model, llm=args.llm,
        threads=options.thread_count(args), progress=bar, stats=args.stats, dereference=args.dereference,
        embed_model=args.embed_model, parity=args.parity, cluster=cluster,
        device=args.device, executor=args.executor, encoding="utf-8",
    ) as archive:  # fmt: skip
        packer = Packer(archive, console, reproducible=args.reproducible, stats=args.stats)
        for found in walk.operands(names):
            packer.add(found)
        if walk.missing and not walk.found:
            raise UsageError("none of the named files exists: no archive was made")
        if walk.archives and not walk.found:
            raise UsageError("there is nothing to pack but the archive itself")
    for warning in archive.warnings:
        console.warn(warning)
    packer.coded = file.tell() if file.seekable() else 0
    return packer


def _summary(target: str, packer: Packer, seconds: float) -> str:
    text = f"{output.printable(target)}: {output.count(packer.members)}, {output.size(packer.bytes)}"
    if packer.coded and packer.bytes:
        text += f" in {output.size(packer.coded)}, {8 * packer.coded / packer.bytes:.3f} bits per byte"
    return f"{text}, {output.size(packer.bytes / max(seconds, 1e-3))}/s"
