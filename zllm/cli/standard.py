"""Stdin, stdout and stderr of the process: there even if the caller closed them, and able to show any name.

Done before anything else is opened. Or else an archive would get the descriptor of a closed stderr, and messages would
be written into it.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TextIO

from zllm.cli.places import NamedFile

ESCAPING = "zllm.escape"  # the name of the error handler for what an encoding does not have
_BUFFER = 1 << 16


def prepare() -> None:
    """Gives the process all three descriptors, and a stdout and stderr that escape what they cannot encode.

    Whoever reads from or writes to a stream that was closed gets an error (as with the tools of GNU); messages for a
    closed stderr vanish.
    """
    codecs.register_error(ESCAPING, escape)
    incoming = _open_descriptor(0, os.O_WRONLY)
    output = _open_descriptor(1, os.O_RDONLY)
    messages = _open_descriptor(2, os.O_RDWR)
    sys.stdin = sys.stdin or io.TextIOWrapper(io.BufferedReader(_named(incoming, "rb", "stdin")))
    sys.stdout = _stdout(sys.stdout, output)
    sys.stderr = _stderr(sys.stderr, messages)


def escape(error: UnicodeError) -> tuple[str, int]:
    """A codec error handler: bytes in octal, as for other bytes that cannot be shown."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(octal, error.object[error.start : error.end])), error.end


def octal(char: str) -> str:
    """``char`` as the bytes that it is in a name: ``\\303\\251``."""
    try:
        data = char.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair, which does not stand for a byte of a name
        data = char.encode("utf-8", "surrogatepass")
    return "".join(f"\\{byte:03o}" for byte in data)


def _open_descriptor(number: int, flags: int) -> int:
    """Opens ``number`` if it is closed, so that nothing else gets it. ``flags``: not what it is for, so it fails."""
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, flags)
        if null != number:
            os.dup2(null, number)
            os.close(null)
        else:
            os.set_inheritable(number, True)
    return number


def _stdout(before: TextIO | None, number: int) -> TextIO:
    """A stdout whose errors name it."""
    encoding, at_once = "utf-8", False
    if isinstance(before, io.TextIOWrapper):
        encoding, at_once = before.encoding, before.line_buffering or before.write_through
    elif before is not None:
        return before  # someone replaced it
    # Buffered even with python -u: what is not may write less than it was given.
    binary = io.BufferedWriter(_named(number, "wb", "stdout"), _BUFFER)
    return io.TextIOWrapper(binary, encoding, ESCAPING, line_buffering=at_once)


def _named(number: int, mode: str, shown: str) -> NamedFile:
    return NamedFile(number, mode, closefd=False, shown=shown)


def _stderr(before: TextIO | None, number: int) -> TextIO:
    if isinstance(before, io.TextIOWrapper):
        before.reconfigure(errors=ESCAPING)
    return before or open(number, "w", encoding="utf-8", errors=ESCAPING, closefd=False)
