"""Where things go: data to stdout or to a file that appears when it is whole; everything else to stderr."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import tarfile
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

from zllm.errors import EXIT_DAMAGED, EXIT_FAILURE, EXIT_MISSING, EXIT_OK, EXIT_WARNING, UsageError, ZllmError

# When several things went wrong, the code says the one that a script must hear of first.
_RANK = {EXIT_OK: 0, EXIT_WARNING: 1, EXIT_FAILURE: 2, EXIT_MISSING: 3, EXIT_DAMAGED: 4}


# Nothing more can be written: there is no point in going on with the next member.
FULL = (errno.ENOSPC, errno.EDQUOT)


class Console:
    """Messages to stderr, and the exit code that they add up to."""

    def __init__(self, program: str = "zllm") -> None:
        self.program = program
        self.verbose = 0
        self.quiet = False
        self.status = EXIT_OK
        self.print: Callable[[str], None] = _print

    def note(self, text: str) -> None:
        """Something good to know that changes no exit code; silent with ``-q``."""
        if not self.quiet:
            self._say(text)

    def detail(self, text: str) -> None:
        """A line that only ``-v`` or a person at a terminal wants."""
        if self.verbose or (not self.quiet and sys.stderr.isatty()):
            self.print(text)

    def warn(self, text: str) -> None:
        """Something was skipped or fell back: exit code 1 at least."""
        self._say(f"warning: {text}")
        self.raise_status(EXIT_WARNING)

    def error(self, text: str, status: int = EXIT_FAILURE) -> None:
        """Something failed: exit code ``status`` at least. The caller goes on with what is left."""
        self._say(text)
        self.raise_status(status)

    def raise_status(self, status: int) -> None:
        """Remember the gravest of the exit codes."""
        if _RANK.get(status, _RANK[EXIT_FAILURE]) > _RANK.get(self.status, _RANK[EXIT_FAILURE]):
            self.status = status

    def _say(self, text: str) -> None:
        self.print(f"{self.program}: {printable(text)}")


def _print(line: str) -> None:
    with contextlib.suppress(OSError):  # a closed stderr is no reason to lose a backup
        print(line, file=sys.stderr, flush=True)


def printable(name: str) -> str:
    """``name`` with control characters, backslashes and bytes that are no text escaped, as tar does."""
    if name.isprintable() and "\\" not in name:
        return name
    escapes = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
    parts = []
    for char in name:
        if char in escapes:
            parts.append(escapes[char])
        elif char.isprintable():
            parts.append(char)
        else:
            parts.extend(f"\\{byte:03o}" for byte in os.fsencode(char))
    return "".join(parts)


def message(error: BaseException) -> str:
    """One line for people: what happened, and what to do where that is known."""
    if isinstance(error, OSError):
        return os_message(error)
    if isinstance(error, (ZllmError, tarfile.TarError)):
        return str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        return "out of memory"
    return f"internal error: {type(error).__name__}: {error}. ZLLM_DEBUG=1 shows where; please report it"


def os_message(error: OSError) -> str:
    """``OSError`` as other tools word it: the name, then the reason."""
    reason = error.strerror or str(error)
    if error.errno in FULL:
        reason += ": free some space, or write elsewhere"
    name = error.filename
    if name is None:
        return reason
    return f"{os.fsdecode(name) if isinstance(name, bytes) else name}: {reason}"


def stdout(*, binary: bool = True) -> BinaryIO:
    """Stdout for data; ``binary`` data is not for a terminal.

    Raises:
        UsageError: stdout is a terminal, and the data is binary.
    """
    if binary and sys.stdout.isatty():
        raise UsageError("binary data is not written to a terminal: redirect the output, or name a file")
    sys.stdout.flush()
    return sys.stdout.buffer


def stdin() -> BinaryIO:
    """Stdin for binary data.

    Raises:
        UsageError: stdin is a terminal, so that nothing useful can come.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError("stdin is closed: name a file")
    if sys.stdin.isatty():
        raise UsageError("nothing to read: stdin is a terminal. zllm --help shows the commands")
    return cast(BinaryIO, sys.stdin.buffer)


@contextlib.contextmanager
def target(name: str, *, force: bool = False, binary: bool = True) -> Iterator[BinaryIO]:
    """Opens ``name`` for writing; ``-`` is stdout. A regular file appears when the block ends well.

    Devices and named pipes are written as they are.

    Raises:
        UsageError: the file exists and ``force`` is false, or stdout is a terminal and the data is ``binary``.
    """
    if name == "-":
        out = stdout(binary=binary)
        yield out
        out.flush()
        return
    if not name:
        raise UsageError("an empty name is no file: is a variable unset?")
    mode = _mode(name)
    if mode is not None and stat.S_ISDIR(mode):
        raise UsageError(f"{name} is a folder: name a file")
    if mode is not None and not stat.S_ISREG(mode):
        with open(name, "wb") as file:
            yield file
        return
    path = os.path.realpath(name)  # a link to the archive stays a link
    if mode is not None and not force:
        raise UsageError(f"{name} already exists: pass --force to replace it")
    from zllm.archive.target import whole_file

    try:
        with whole_file(path, replace=force) as file:
            yield file
    except FileExistsError:
        raise UsageError(f"{name} appeared meanwhile: pass --force to replace it") from None


def _mode(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def source(name: str) -> Iterator[BinaryIO]:
    """Opens an archive for reading; ``-`` is stdin."""
    if name == "-":
        yield stdin()
        return
    if os.path.isdir(name):
        raise UsageError(f"{name} is a folder, not an archive")
    with open(name, "rb") as file:
        yield file


def count(members: int) -> str:
    """A number of members, for people."""
    return "1 member" if members == 1 else f"{members} members"


def size(count: float) -> str:
    """``count`` bytes for people: 3 digits and a decimal unit."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError("unreachable")
