"""What every command that reads an archive shares: opening it, choosing members, saying what is wrong with one."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import zllm
from zllm.archive.archive import Archive
from zllm.archive.member import Member
from zllm.cli import names, options, output, passphrases, patterns, progress, suggestions
from zllm.errors import (
    EXIT_FAILURE,
    BrokenTarError,
    DamagedError,
    NotZllmError,
    UnsupportedVersionError,
    UsageError,
    ZllmError,
)
from zllm.format.ends import EMPTY


def arguments(
    parser: argparse.ArgumentParser,
    *,
    members: str | None = None,
    rest: str = "MEMBER",
    decodes: bool = True,
    verbose: str = "say more",
) -> None:
    """The options of all of them. ``members`` is the help of the operands after the archive, which are called ``rest``;
    None if there are none. ``decodes``: whether the command may need a model. ``verbose``: the help of ``-v``.
    """
    if members is None:
        parser.add_argument("operands", nargs="*", metavar="ARCHIVE|-", help="the archive; - reads from stdin")
    else:
        parser.add_argument("operands", nargs="*", metavar=f"ARCHIVE|- {rest}", help=f"the archive, then {members}")
    options.archive_name(parser)
    options.model(parser, "the model, if the archive needs one that is not installed")
    options.threads(parser)
    options.limit(parser)
    options.generation(parser)
    passphrases.reading(parser)
    if decodes:
        options.device(parser)
    else:
        parser.set_defaults(device="auto", executor="auto")
    options.statistics(parser)
    options.verbosity(parser, verbose)


def parse(command: options.Parser, argv: Sequence[str], console: output.Console) -> argparse.Namespace:
    """The arguments of a command: ``args.archive`` is the archive's name, ``args.operands`` what comes after it."""
    args = command.parse_intermixed_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    args.archive = options.take_archive(args, args.operands, command)
    if "" in (args.archive, getattr(args, "directory", None), *args.operands):
        raise UsageError("a name is empty: is a variable unset?")
    return args


@contextlib.contextmanager
def opened(
    args: argparse.Namespace, console: output.Console, done: Callable[[int], None] | None = None
) -> Iterator[Archive]:
    """The archive ``args.archive``; ``-`` is stdin, read once from front to end. ``done`` counts decoded bytes."""
    name = args.archive
    console.reported.clear()
    with output.about(name), output.source(name) as file:
        try:
            archive = Archive(file, options.read_options(args, done))
        except NotZllmError as error:
            advice = "" if str(error) == EMPTY else ": unpack it with the program that made it"
            raise NotZllmError(f"{output.shown(name)}: {error}{advice}") from error
        yield archive
        if args.stats is not None and not args.stats.codecs:  # nothing was decoded
            archive.tally(args.stats)
        for text in archive.warnings:
            console.warn(f"{output.shown(name)}: {text}")
    if args.stats is not None:
        from zllm.cli import statistics

        statistics.show(args.stats, console)


_M = TypeVar("_M", Member, zllm.ZllmInfo)


def members(archive: Archive, name: str, console: output.Console) -> Iterator[Member]:
    """As :func:`all_of`, straight from the archive."""
    return all_of(archive, archive, name, console)


def all_of(found: Iterable[_M], archive: Archive, name: str, console: output.Console) -> Iterator[_M]:
    """All members that can be read, one after the other; then says what is wrong with the archive, if anything is.

    ``name`` is the archive's, which messages begin with, for one run or script may look at several. ``found`` finds
    the members.
    """
    with contextlib.suppress(DamagedError, BrokenTarError, UnsupportedVersionError):  # it is among the problems
        yield from found
    complain(archive, name, console)


def complain(archive: Archive, name: str, console: output.Console) -> None:
    """Say what is wrong with the archive, as far as it was found."""
    for problem in archive.problems:
        if isinstance(problem, BrokenTarError) and problem.member is not None:
            report(problem, problem.member, console, name)
        else:
            console.error(output.prefixed(name, output.message(problem)), problem.exit_code)


def expect(bar: progress.Progress, archive: Archive, wanted: Wanted) -> None:
    """Settle what the operands mean, and tell the bar how much there is to decode, if that can be known.

    What is damaged is reported later.
    """
    wanted.settle(archive)
    if bar.shown and archive.layout is not None:
        with contextlib.suppress(DamagedError, BrokenTarError, UnsupportedVersionError):
            bar.expect(sum(member.size for member in archive if member.isreg() and wanted(member.name)))


class Wanted:
    """Which members the operands ask for: a name, everything below a folder's name, or a shell pattern.

    An operand that is the name of a member is never a pattern. Where the names are not known beforehand, in a pipe,
    it is one until a member of that name comes.
    """

    def __init__(self, operands: Iterable[str], excluded: Iterable[str] = ()) -> None:
        self.operands = [operand.rstrip("/") or "/" for operand in operands]
        self._excluded = patterns.Excluded(map(names.of_member, excluded))
        self._asked = [names.of_member(operand) for operand in self.operands]
        self._patterns = {operand for operand in self._asked if patterns.is_pattern(operand)}
        self._seen: set[str] = set()
        self._meant = dict.fromkeys(map(_plain, self._asked), "")

    def settle(self, archive: Archive) -> None:
        """Find out which operands are names of members, before the first member is asked for."""
        if self._patterns and archive.layout is not None:
            with contextlib.suppress(DamagedError, BrokenTarError, UnsupportedVersionError):
                for member in archive:
                    self._name(member.name.rstrip("/"))

    def _name(self, name: str) -> None:
        self._patterns -= {operand for operand in self._patterns if patterns.named(name, operand)}

    def __call__(self, name: str) -> bool:
        """Whether the member called ``name`` is wanted."""
        name = name.rstrip("/")
        if self._excluded(name):
            return False
        if not self._asked:
            return True
        if (plain := _plain(name)) in self._meant:
            self._meant[plain] = name
        if self._patterns:
            self._name(name)
        hits = [
            operand
            for operand in self._asked
            if patterns.named(name, operand) or (operand in self._patterns and patterns.matches(name, operand))
        ]
        self._seen.update(hits)
        return bool(hits)

    def report_unseen(self, console: output.Console, command: str = "") -> None:
        """One error for each operand that no member answered to. ``command``: what it was to be done to."""
        for operand, asked in zip(self.operands, self._asked, strict=True):
            if asked not in self._seen:
                console.error(suggestions.missing_member(operand, command, self._meant[_plain(asked)]))


def _plain(name: str) -> str:
    """What is the same in ``./a``, ``/a`` and ``a``."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def report(error: Exception, member: str, console: output.Console, archive: str = "") -> None:
    """Says what is wrong with one member, once, and goes on. ``archive``: its name, if the message is to tell it."""
    text = output.message(error)
    if member and not text.startswith(f"{member}: "):
        text = f"{member}: {text}"
    if isinstance(error, BrokenTarError):  # found in the stream, and again by reading the member
        if member in console.reported:
            console.raise_status(error.exit_code)
            return
        console.reported.add(member)
    if archive:
        text = output.prefixed(archive, text)
    console.error(text, error.exit_code if isinstance(error, ZllmError) else EXIT_FAILURE)
