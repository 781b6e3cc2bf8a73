"""What every command that reads an archive shares: opening it, choosing members, saying what is wrong with one."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterable, Iterator

import zllm
from zllm.cli import options, output, patterns
from zllm.errors import EXIT_FAILURE, ZllmError


def arguments(parser: argparse.ArgumentParser, *, members: str | None = None) -> None:
    """The options of all of them. ``members`` is the help of the operands after the archive; None if there are none."""
    if members is None:
        parser.add_argument("operands", nargs="*", metavar="ARCHIVE|-", help="the archive; - reads from stdin")
    else:
        parser.add_argument("operands", nargs="*", metavar="ARCHIVE|- MEMBER", help=f"the archive, then {members}")
    options.archive_name(parser)
    options.model(parser, "the model, if the archive needs one that is not installed")
    options.threads(parser)
    options.verbosity(parser)


@contextlib.contextmanager
def opened(name: str, args: argparse.Namespace, progress: object = None) -> Iterator[zllm.ZllmFile]:
    """The archive ``name``; ``-`` is stdin, read once from front to end."""
    with (
        output.source(name) as file,
        zllm.open(
            fileobj=file, mode="r:*" if file.seekable() else "r|", model=args.model,
            threads=options.thread_count(args), progress=progress,
        ) as archive,
    ):  # fmt: skip
        yield archive


class Wanted:
    """Which members the operands ask for: a name, everything below a folder's name, or a shell pattern."""

    def __init__(self, operands: Iterable[str], excluded: Iterable[str] = ()) -> None:
        self.operands = [operand.rstrip("/") or "/" for operand in operands]
        self.excluded = [pattern.rstrip("/") for pattern in excluded]
        self._seen: set[str] = set()

    def __call__(self, name: str) -> bool:
        """Whether the member called ``name`` is wanted."""
        name = name.rstrip("/")
        if self.excluded and patterns.excluded(name, self.excluded):
            return False
        if not self.operands:
            return True
        hits = [operand for operand in self.operands if patterns.selected(name, operand)]
        self._seen.update(hits)
        return bool(hits)

    def report_unseen(self, console: output.Console) -> None:
        """One error for each operand that no member answered to."""
        for operand in self.operands:
            if operand not in self._seen:
                console.error(f"{operand}: no such member. zllm list shows what there is")


def report(error: Exception, member: str, console: output.Console) -> None:
    """Says what is wrong with one member, once, and goes on."""
    text = output.message(error)
    if member and member not in text:
        text = f"{member}: {text}"
    console.error(text, error.exit_code if isinstance(error, ZllmError) else EXIT_FAILURE)
