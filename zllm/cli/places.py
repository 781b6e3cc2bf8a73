"""Places to read from and write to that are not files of their own: open descriptors by their names, and pipes.

``/dev/stdout``, ``/dev/fd/63`` (which is what a shell makes of ``>(command)``) and their like are descriptors that the
process has already. Opening such a name again would begin at the file's start, or fail where only the descriptor may
be used; so the descriptor itself is used.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from typing import Any

_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_NUMBERED = re.compile(r"(?:/dev|/proc/self|/proc/thread-self|/proc/([0-9]+))/fd/([0-9]{1,9})", re.ASCII)


def descriptor(name: str) -> int | None:
    """The descriptor that ``name`` stands for; None for the name of a file.

    Raises:
        OSError: the process has no such descriptor.
    """
    number = _number(os.path.normpath(name)) if name.startswith("/") else None
    if number is not None:
        try:
            os.fstat(number)
        except OSError as error:
            raise OSError(error.errno, os.strerror(error.errno or errno.EBADF), name) from None
    return number


def is_special(name: str) -> bool:
    """Whether ``name`` is a descriptor, a pipe or a device: not a file or folder of its own, and not nothing."""
    if descriptor(name) is not None:
        return True
    try:
        mode = os.stat(name).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _number(path: str) -> int | None:
    if path in _STANDARD:
        return _STANDARD[path]
    match = _NUMBERED.fullmatch(path)
    if match is None or (match[1] is not None and int(match[1]) != os.getpid()):
        return None
    return int(match[2])


class NamedFile(io.FileIO):
    """A file whose errors name it, which those of reading and writing do not in Python."""

    def __init__(self, file: str | int, mode: str, *, shown: str, closefd: bool = True) -> None:
        super().__init__(file, mode, closefd)
        self.shown = shown

    def write(self, data: Any, /) -> int:
        """As in :class:`io.FileIO`."""
        try:
            return super().write(data)
        except OSError as error:
            raise self._named(error) from None

    def readinto(self, buffer: Any, /) -> int:
        """As in :class:`io.FileIO`."""
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise self._named(error) from None

    def read(self, size: int | None = -1, /) -> bytes:
        """As in :class:`io.FileIO`."""
        try:
            return super().read(-1 if size is None else size)
        except OSError as error:
            raise self._named(error) from None

    def readall(self) -> bytes:
        """As in :class:`io.FileIO`."""
        try:
            return super().readall()
        except OSError as error:
            raise self._named(error) from None

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """As in :class:`io.FileIO`."""
        try:
            return super().seek(offset, whence)
        except OSError as error:
            raise self._named(error) from None

    def _named(self, error: OSError) -> OSError:
        error.filename = error.filename or self.shown
        return error
