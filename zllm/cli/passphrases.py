"""Where passphrases and keys come from: never from the command line, which everybody on the machine can read."""

from __future__ import annotations

import argparse
import functools
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from typing import Any

from zllm.cli import output
from zllm.errors import UsageError

_COMMAND, _FILE = "ZLLM_PASSPHRASE_COMMAND", "ZLLM_PASSPHRASE_FILE"
_MOST = 1 << 16  # bytes of a passphrase
_NOWHERE = (
    "there is no terminal to ask for a passphrase: --passphrase-fd, --passphrase-file or --passphrase-command say "
    "where it is"
)


def reading(parser: argparse.ArgumentParser, *, identities: bool = True) -> argparse._ArgumentGroup:
    """Options of commands that may read an encrypted archive: the passphrase, and ``--identity``; their group."""
    group = parser.add_argument_group(
        "encryption",
        "Without these, the passphrase comes from ZLLM_PASSPHRASE_COMMAND, ZLLM_PASSPHRASE_FILE, or a prompt.",
    )
    group.add_argument(
        "--passphrase-fd", dest="passphrase", action=_Source, metavar="N", help="read the passphrase from descriptor N"
    )
    group.add_argument(
        "--passphrase-file", dest="passphrase", action=_Source, metavar="FILE", help="it is the content of FILE"
    )
    group.add_argument(
        "--passphrase-command", dest="passphrase", action=_Source, metavar="CMD", help="it is what CMD prints"
    )
    if identities:
        group.add_argument(
            "--identity", dest="identities", action="append", default=[], metavar="FILE",
            help="a secret key (zllm key new) that opens the archive",
        )  # fmt: skip
    return group


def writing(parser: argparse.ArgumentParser, *, identities: bool = False) -> None:
    """Options of commands that may make an encrypted archive."""
    group = reading(parser, identities=identities)
    group.add_argument(
        "--encrypt", action="store_true",
        help="encrypt a new archive with a passphrase, names and all; the options that say where it is do so, too",
    )  # fmt: skip
    group.add_argument(
        "--recipient", dest="recipients", action="append", default=[], metavar="KEY|FILE",
        help="encrypt a new archive so that the secret key that belongs to this public one opens it",
    )  # fmt: skip


class _Source(argparse.Action):
    """Remembers where the passphrase is."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        if namespace.passphrase is not None:
            raise argparse.ArgumentError(self, "one passphrase is enough")
        ways: dict[str, Callable[[str], str]] = {
            "--passphrase-fd": _from_descriptor, "--passphrase-file": _from_file, "--passphrase-command": _from_command,
        }  # fmt: skip
        namespace.passphrase = functools.cache(functools.partial(ways[str(option)], values))


def chosen(args: argparse.Namespace, *, new: bool) -> str | Callable[[], str | None] | None:
    """The passphrase that the options name; else what finds one when it is needed; None if a ``new`` archive is not to
    be encrypted with one.

    Raises:
        UsageError: it cannot be had.
    """
    source = getattr(args, "passphrase", None)
    if source is not None:
        return str(source())
    if new:
        return _for_new if getattr(args, "encrypt", False) else None
    if getattr(args, "without_key", False):
        return None
    return _for_old


@functools.cache
def _from_environment() -> str | None:
    command, name = os.environ.get(_COMMAND, ""), os.environ.get(_FILE, "")
    if command:
        return _from_command(command, _COMMAND)
    return _from_file(name, _FILE) if name else None


def _for_old() -> str | None:
    known = _from_environment()
    return known if known is not None or not _has_terminal() else _ask("Passphrase of the archive: ")


def _for_new() -> str:
    known = _from_environment()
    if known is not None:
        return known
    if not _has_terminal():
        raise UsageError(_NOWHERE)
    first = _ask("New passphrase for the archive: ")
    if not first:
        raise UsageError("the passphrase is empty")
    if _ask("The same once more: ") != first:
        raise UsageError("these were two different passphrases: nothing was written")
    return first


@functools.cache
def _ask(question: str) -> str:
    import getpass

    try:
        return getpass.getpass(question)
    except EOFError:
        raise UsageError("no passphrase was entered") from None


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _from_descriptor(text: str) -> str:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise UsageError(f"--passphrase-fd: '{output.printable(text)}' is not the number of a descriptor")
    try:
        with open(int(text), "rb", closefd=int(text) > 2) as file:
            return _passphrase(file.read(_MOST), f"descriptor {text}")
    except OSError as error:
        raise UsageError(f"--passphrase-fd {text}: {error.strerror}") from None


def _from_file(name: str, said: str = "--passphrase-file") -> str:
    try:
        with open(name, "rb") as file:
            return _passphrase(file.read(_MOST), name)
    except OSError as error:
        raise UsageError(f"{said}: {name}: {error.strerror}") from None


def _from_command(command: str, said: str = "--passphrase-command") -> str:
    try:
        words = shlex.split(command)
        done = subprocess.run(words or [""], stdout=subprocess.PIPE, check=False)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{said}: {reason}") from None  # not the command, which may have a secret in it
    if done.returncode:
        raise UsageError(f"{said}: the command failed with code {done.returncode}")
    return _passphrase(done.stdout, "what the command prints")


def _passphrase(data: bytes, where: str) -> str:
    """A passphrase is a line, whose end is not part of it."""
    line = data.removesuffix(b"\n").removesuffix(b"\r")
    if len(data) >= _MOST or b"\n" in line:
        raise UsageError(f"{where}: a passphrase is one line")
    if not line:
        raise UsageError(f"{where}: the passphrase is empty")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{where}: a passphrase is text in UTF-8") from None
