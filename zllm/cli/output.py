"""Where things go: data to stdout or to a file that appears when it is whole; everything else to stderr."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import sys
import tarfile
from collections.abc import Callable, Iterator
from typing import BinaryIO, TextIO, cast

from zllm.cli import places
from zllm.cli.standard import octal
from zllm.errors import EXIT_DAMAGED, EXIT_FAILURE, EXIT_MISSING, EXIT_OK, EXIT_WARNING, UsageError, ZllmError

# When several things went wrong, the code says the one that a script must hear of first.
_RANK = {EXIT_OK: 0, EXIT_WARNING: 1, EXIT_FAILURE: 2, EXIT_MISSING: 3, EXIT_DAMAGED: 4}


# Nothing more can be written: there is no point in going on with the next member.
FULL = (errno.ENOSPC, errno.EDQUOT)
_BUFFER = 1 << 16
_EMPTY = "the archive's name is empty: name a file, or - for a pipe"
_LONG = 9000  # characters of a message; the longest path has 4096 bytes


class Console:
    """Messages to stderr, and the exit code that they add up to."""

    def __init__(self, program: str = "zllm") -> None:
        self.program = program
        self.verbose = 0
        self.quiet = False
        self.warned = 0
        self.to_stdout = False  # files are decompressed to stdout: unzllm does, in C as well
        self.status = EXIT_OK
        self.reported: set[str] = set()  # members of the archive at hand that the tar stream breaks off in
        self.print: Callable[[str], None] = _print
        self.machine = False
        """A program reads what is said."""
        self.facts: dict[str, int | str] = {}
        """What was done, for such a program."""

    def note(self, text: str) -> None:
        """Something good to know that changes no exit code; silent with ``-q``."""
        if not self.quiet:
            self._message("note", text)

    def detail(self, text: str) -> None:
        """A line that only ``-v`` or a person at a terminal wants."""
        if self.verbose or (not self.quiet and on_terminal(sys.stderr)):
            self.print(text)

    def warn(self, text: str) -> None:
        """Something was skipped or fell back: exit code 1 at least."""
        self.warned += 1
        self._message("warning", text)
        self.raise_status(EXIT_WARNING)

    def error(self, text: str, status: int = EXIT_FAILURE) -> None:
        """Something failed: exit code ``status`` at least. The caller goes on with what is left."""
        self._message("error", text)
        self.raise_status(status)

    def progress(self, label: str, unit: str) -> Callable[[int, int | None], None] | None:
        """What hears how much is done, if it is not a bar on a terminal."""
        return None

    def finished(self, status: int) -> None:
        """The process ends with this code."""

    def raise_status(self, status: int) -> None:
        """Remember the gravest of the exit codes."""
        if _RANK.get(status, _RANK[EXIT_FAILURE]) > _RANK.get(self.status, _RANK[EXIT_FAILURE]):
            self.status = status

    def _message(self, level: str, text: str) -> None:
        """A message of the level ``note``, ``warning`` or ``error``."""
        if level == "warning":
            text = f"warning: {text}"
        if len(text) > _LONG:  # a name may have any length; one line should fit on a screen
            text = f"{text[: _LONG // 2]}[...]{text[-_LONG // 2 :]}"
        self.print(f"{self.program}: {printable(text)}")


def _print(line: str) -> None:
    # Neither a closed stderr nor one that cannot take the line is a reason to lose a backup.
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:  # print() would write to stdout, among the data
            print(line, file=sys.stderr, flush=True)


def on_terminal(stream: TextIO | None) -> bool:
    """Whether a person sees what is written to ``stream``; it may be closed."""
    with contextlib.suppress(OSError, ValueError):
        return stream is not None and stream.isatty()
    return False


def printable(name: str) -> str:
    """``name`` with control characters, backslashes and bytes that are not text escaped, as tar does."""
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
            parts.append(octal(char))
    return "".join(parts)


def message(error: BaseException) -> str:
    """One line for people: what happened, and what to do where that is known."""
    if isinstance(error, OSError):
        return os_message(error)
    if isinstance(error, (ZllmError, tarfile.TarError)):
        return str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] != "zllm":
        return f"the Python package {error.name} is missing: pip install zllm installs what it needs"
    return f"internal error: {type(error).__name__}: {error}. ZLLM_DEBUG=1 shows where; please report it"


def os_message(error: OSError) -> str:
    """``OSError`` as other tools word it: the name, then the reason."""
    reason = error.strerror or str(error)
    if error.errno in FULL:
        reason += ": free some space, or write elsewhere"
    name = error.filename
    if name is None or isinstance(name, int):
        return reason
    return f"{os.fsdecode(name)}: {reason}"


def stdout(*, binary: bool = True) -> BinaryIO:
    """Stdout for data; ``binary`` data is not for a terminal.

    Raises:
        UsageError: stdout is a terminal, and the data is binary.
    """
    if sys.stdout is None:
        raise UsageError("stdout is closed: name a file")
    if binary and on_terminal(sys.stdout):
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
    if on_terminal(sys.stdin):
        raise UsageError("nothing to read: stdin is a terminal. zllm --help shows the commands")
    return cast(BinaryIO, sys.stdin.buffer)


@contextlib.contextmanager
def target(
    name: str, *, force: bool = False, binary: bool = True, like: os.stat_result | None = None
) -> Iterator[BinaryIO]:
    """Opens ``name`` for writing; ``-`` is stdout. A regular file appears when the block ends well.

    Devices, named pipes and open descriptors (``/dev/fd/N``) are written as they are. ``like``: whose mode and owner it
    gets; until it is whole, no other user can read it.

    Raises:
        UsageError: the file exists and ``force`` is false, or stdout is a terminal and the data is ``binary``.
    """
    if not name:
        raise UsageError(_EMPTY)
    number = places.descriptor(name)
    if number is not None and number != 1:
        yield from _written(number, name)
        return
    if name == "-" or number == 1:
        out = stdout(binary=binary)
        yield out
        out.flush()
        return
    mode = _mode(name)
    if mode is not None and stat.S_ISDIR(mode):
        raise UsageError(f"{name} is a folder: name a file")
    if mode is not None and not stat.S_ISREG(mode):
        yield from _written(name, name)
        return
    if mode is not None and not force:
        raise UsageError(f"{name} already exists: pass --force to replace it")
    from zllm.archive.target import whole_file

    try:
        with whole_file(name, replace=force, like=like) as file:
            yield file
    except FileExistsError:
        raise UsageError(f"{name} appeared meanwhile: pass --force to replace it") from None


def _written(place: str | int, shown: str) -> Iterator[BinaryIO]:
    """A device, a pipe, or a descriptor of this process, which stays open."""
    raw = places.NamedFile(place, "wb", shown=shown, closefd=isinstance(place, str))
    with io.BufferedWriter(raw, _BUFFER) as file:
        yield file


def _mode(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def source(name: str) -> Iterator[BinaryIO]:
    """Opens an archive for reading; ``-`` is stdin.

    Raises:
        UsageError: it cannot be an archive: a folder, an empty name, a terminal.
        OSError: it cannot be opened.
    """
    if not name:
        raise UsageError(_EMPTY)
    number = places.descriptor(name)
    if name == "-" or number == 0:
        yield stdin()
        return
    if number is None and os.path.isdir(name):
        raise UsageError(f"{name} is a folder, not an archive")
    raw = places.NamedFile(name if number is None else number, "rb", shown=name, closefd=number is None)
    with io.BufferedReader(raw, _BUFFER) as file:
        yield file


def shown(name: str) -> str:
    """How messages name an archive."""
    return {"-": "stdin"}.get(name, name)


@contextlib.contextmanager
def about(name: str) -> Iterator[None]:
    """Errors in an archive name it: ``a.zllm: not a zllm archive``."""
    try:
        yield
    except ZllmError as error:
        if type(error) is not UsageError:
            error.args = (prefixed(name, str(error)), *error.args[1:])
        raise


def prefixed(name: str, text: str) -> str:
    """``text`` with the archive's name in front, unless it begins with it."""
    return text if text.startswith(f"{shown(name)}: ") else f"{shown(name)}: {text}"


def count(number: int, what: str = "member") -> str:
    """A number of things, for people."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def size(count: float) -> str:
    """``count`` bytes for people: 3 digits and a decimal unit."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError("unreachable")
