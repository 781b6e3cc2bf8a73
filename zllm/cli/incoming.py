"""What is packed from stdin, or from what a command writes, as a file.

A header with the size stands before the data, so all of it is kept in an unnamed file until the end has come.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, BinaryIO

from zllm.cli import output
from zllm.cli.walk import member_name
from zllm.errors import UsageError, ZllmError

_PIECE = 1 << 20
_GRACE_SECONDS = 5
_COMMAND = "--stdin-from-command"


class CommandError(ZllmError):
    """The command whose output is packed could not be run, or failed."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--stdin-name", metavar="NAME", help="pack what stdin gives as a file NAME")
    parser.add_argument(
        _COMMAND,
        action="store_true",
        help="pack what the command behind -- writes, as NAME (default: the command's); if it fails, nothing is packed",
    )


@dataclass(frozen=True)
class Incoming:
    """A file to be: ``command`` writes it, or, if that is empty, stdin gives it."""

    name: str
    command: Sequence[str]

    @contextlib.contextmanager
    def spooled(self, folder: str | None) -> Iterator[BinaryIO]:
        """All of it, in a file without a name in ``folder``; None: in the system's folder for such.

        Raises:
            CommandError: the command could not be run, or failed.
            UsageError: stdin is closed, or a terminal.
            OSError: reading or writing failed.
        """
        plain = None if self.command else _regular(output.stdin())
        if plain is not None:
            yield plain
            return
        with tempfile.TemporaryFile(dir=folder) as spool:
            if self.command:
                self._run(spool)
            else:
                shutil.copyfileobj(output.stdin(), spool, _PIECE)
            spool.seek(0)
            yield spool

    def _run(self, spool: IO[bytes]) -> None:
        shown = self.command[0]  # arguments may be secrets
        try:
            process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=spool)
        except (OSError, ValueError) as error:
            raise CommandError(f"{shown}: {getattr(error, 'strerror', None) or error}") from error
        try:
            code = process.wait()
        except BaseException:
            _end(process)
            raise
        if code:
            how = f"was ended by signal {-code}" if code < 0 else f"failed with code {code}"
            raise CommandError(f"{shown} {how}: nothing is packed")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a command to end, and make it end if it does not."""
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _regular(file: BinaryIO) -> BinaryIO | None:
    """``file`` if it is one on the disk, which says its size."""
    with contextlib.suppress(OSError, ValueError):
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
    return None


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command line without the command, and the command, empty if there is none.

    Raises:
        UsageError: there should be one.
    """
    end = argv.index("--") if "--" in argv else len(argv)
    if _COMMAND not in argv[:end]:
        return list(argv), []
    command = list(argv[end + 1 :])
    if not command:
        raise UsageError(f"name the command behind --: {_COMMAND} -- pg_dump mydb")
    return list(argv[:end]), command


def parse(args: argparse.Namespace, command: Sequence[str], lists: Sequence[str]) -> Incoming | None:
    """What the options ask for. ``lists``: the files of ``-T``.

    Raises:
        UsageError: that makes no sense.
    """
    name = args.stdin_name
    if name is None and not command:
        return None
    if name is None:
        name = os.path.basename(command[0])
    if not name:
        raise UsageError("the name for stdin is empty: is a variable unset?")
    if name.endswith("/") or member_name(name) == ".":
        raise UsageError(f"{name} is not the name of a file: give --stdin-name another")
    if not command and "-" in (*lists, *args.exclude_from):
        raise UsageError("stdin cannot be a list of names or patterns and a file to pack: leave out one of them")
    return Incoming(member_name(name), command)
