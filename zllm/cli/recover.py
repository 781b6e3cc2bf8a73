"""``zllm recover``: writes a whole archive of what is left of a damaged one."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import BinaryIO

from zllm.archive.archive import Archive
from zllm.archive.options import WriteOptions
from zllm.cli import options, output, passphrases
from zllm.errors import EXIT_DAMAGED, LockedError, UsageError, ZllmError
from zllm.planner.levels import DEFAULT_LEVEL, LEVELS

SUMMARY = "write a whole archive of what is left of a damaged one"


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser(
        "recover",
        "Writes all that is whole in the archive BROKEN to the archive FIXED, and names what is lost. BROKEN stays as\n"
        "it is. Parity is used, and what is not damaged is copied as it is.",
    )
    result.add_argument("operands", nargs="*", metavar="BROKEN FIXED", help="the damaged archive and the new one")
    result.add_argument("--force", "--overwrite", action="store_true", help="replace FIXED if it exists")
    options.parity(result)
    options.model(result, "the model, if the archive needs one that is not installed")
    options.threads(result)
    options.limit(result)
    options.device(result)
    passphrases.reading(result)
    options.verbosity(result)
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    command = parser()
    args = command.parse_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    if len(args.operands) != 2 or "" in args.operands:
        command.error("name the damaged archive, then the new one")
    args.archive, target = args.operands
    args.stats = None
    if args.archive == "-":
        raise UsageError("a pipe cannot be recovered: save it to a file")
    if os.path.exists(target) and os.path.exists(args.archive) and os.path.samefile(args.archive, target):
        raise UsageError(f"{target} is the damaged archive itself: give the new one another name")
    from zllm.archive.recovering import recover  # what only writers need

    with output.about(args.archive), output.source(args.archive) as source:
        try:
            archive = Archive(source, options.read_options(args))
        except LockedError as error:
            if error.tried or args.parity:
                raise
            source.seek(0)
            _without_key(source, target, args, console)
            return
        with output.target(target, force=args.force) as file:
            done = recover(archive, file, _writing(archive, args))
    for text in (*archive.warnings, *map(output.message, archive.problems)):
        console.note(output.prefixed(args.archive, text))
    _report(done.lost, args.archive, console)
    console.facts.update(copied=done.copied, packed=done.packed, lost=len(done.lost))
    sections = "1 section" if done.copied == 1 else f"{done.copied} sections"
    lost = "what is lost is named above" if done.lost else "nothing is lost"
    console.note(f"{sections} copied, {output.count(done.packed)} packed again: {lost}")


def _without_key(source: BinaryIO, target: str, args: argparse.Namespace, console: output.Console) -> None:
    """Mend what parity and checksums tell, without looking into encrypted parts."""
    from zllm.archive import keyless

    with output.target(target, force=args.force) as file:
        before = keyless.mend(source, file)
    for text in (*before.warnings, *map(output.message, before.problems)):
        console.note(output.prefixed(args.archive, text))
    with output.about(target), output.source(target) as made:
        after = keyless.test(made, seekable=True)
    for problem in after.problems:
        console.error(output.prefixed(target, output.message(problem)), problem.exit_code)
    lost = "what could not be mended is named above" if after.problems else "nothing is lost"
    console.note(f"no key was given: {output.count(after.parts, 'part')} copied as they are: {lost}")


def _writing(archive: Archive, args: argparse.Namespace) -> WriteOptions:
    """As the damaged archive was written, but without a model: what is packed again is little."""
    level = archive.manifest.get("level")
    if not isinstance(level, int) or level not in LEVELS:
        level = DEFAULT_LEVEL
    return WriteOptions(level=level, llm=False, threads=options.thread_count(args), parity=args.parity)


def _report(lost: Sequence[tuple[str, ZllmError]], name: str, console: output.Console) -> None:
    for member, problem in lost:
        text = output.message(problem)
        if member:
            text = f"lost: {text}" if text.startswith(f"{member}: ") else f"{member}: lost: {text}"
        console.error(output.prefixed(name, text), EXIT_DAMAGED)
