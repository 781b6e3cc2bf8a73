"""An archive that is changed in its place: each change is a generation behind its end, which counts when it is whole.

What is written before the last footer is on the disk before that is written, and a reader passes over what has no
footer, so whenever the power goes the archive is as it was before or as it is after.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import threading
import time
from typing import IO, BinaryIO, cast

from zllm.archive import layout, resuming
from zllm.archive.layout import Layout
from zllm.archive.options import Options
from zllm.archive.vault import Vault
from zllm.errors import BusyError, UsageError
from zllm.format.limits import DEFAULT, Limits

_TRIES = 3


class Growing:
    """The file of an archive, locked, for a writer that adds a generation. What is not completed by :meth:`publish` is
    taken away by :meth:`discard`, or passed over and overwritten if there was no time for that.

    Args:
        name: the file. It is followed if it is a link.
        limits: how much of the machine the archive may take when it is looked at.
        file: instead of the name, an open file with the archive from its position on; it is not locked, and stays open.
        options: the keys of the archive, if it is encrypted.

    Raises:
        FileNotFoundError: there is no such file.
        BusyError: another process changes it.
        UsageError: nothing can be added to it.
        LockedError: it is encrypted, and there is no key that opens it.
        NotZllmError, DamagedError, LimitError, UnsupportedVersionError: as for readers.
        OSError: it cannot be written.
    """

    def __init__(
        self,
        name: str,
        limits: Limits = DEFAULT,
        *,
        file: BinaryIO | None = None,
        options: Options | None = None,
    ) -> None:
        self.name = name
        self._own = file is None
        self.file: IO[bytes] = _opened(name) if file is None else file
        try:
            self.vault = Vault(options, limits)
            self.layout: Layout = layout.find(cast(BinaryIO, self.file), limits, opener=self.vault)
            self.vault.check()
            end = resuming.end_of(self.layout)
            self._size = self.file.seek(0, io.SEEK_END)
            self._end = self.layout.start + end.offset
            self._zeros = not self.layout.unfinished  # what is behind the end
        except BaseException:
            self._close()
            raise
        self.number = len(self.layout.generations)
        """Of the generation that is added."""
        self.added = 0
        """Bytes that were written."""
        self._changed = False
        self._stopped = False
        self._lock = threading.Lock()

    def write(self, data: bytes | memoryview, /) -> int:
        """Write behind the end."""
        with self._lock:  # a thread that codes the last section may outlive the writer that gave up
            if self._stopped:
                raise OSError(errno.EBADF, "the archive is closed", self.name)
            if not self._changed:
                self._changed = True
                self.file.truncate(self._end)
                self.file.seek(self._end)
            try:
                count = self.file.write(data)
            except OSError as error:
                raise type(error)(error.errno, error.strerror, self.name or None) from None
            self.added += count
            return count

    def is_this(self, path: str, *, follow: bool = False) -> bool:
        """Whether ``path`` is the archive."""
        try:
            return os.path.samestat(os.stat(path, follow_symlinks=follow), os.fstat(self.file.fileno()))
        except OSError:  # a file in memory has no descriptor, which is one, too
            return False

    def sync(self) -> None:
        """Wait until all that was written is on the disk."""
        self.file.flush()
        with contextlib.suppress(io.UnsupportedOperation):
            os.fsync(self.file.fileno())

    def publish(self) -> None:
        """The footer is written: from now on the change counts.

        Raises:
            FileNotFoundError: another file has the archive's name by now, or none.
            OSError: the disk does not take it.
        """
        if self._changed:
            self.sync()
        if self._own and not self.is_this(self.name, follow=True):
            raise FileNotFoundError(errno.ENOENT, "it was replaced while it was changed: that is lost", self.name)
        self._stopped = True
        self._close()

    def _close(self) -> None:
        if self._own:
            self.file.close()

    def discard(self) -> None:
        """Have the archive as it was."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            with contextlib.suppress(OSError, ValueError):
                if self._changed:
                    with contextlib.suppress(OSError):  # a full disk; what was not written is not wanted
                        self.file.flush()
                    self.file.truncate(self._end)
                    if self._zeros:
                        self.file.truncate(self._size)
                    self.sync()
            with contextlib.suppress(OSError, ValueError):
                self._close()


def epoch() -> int | None:
    """``SOURCE_DATE_EPOCH`` (reproducible-builds.org), in seconds; None if it is not set.

    Raises:
        UsageError: it is not a number of seconds.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise UsageError(f"SOURCE_DATE_EPOCH={text}: not a number of seconds since 1970")
    return int(text)


def now() -> int:
    """The time of a generation, in seconds since 1970: :func:`epoch`, or else the clock's.

    Raises:
        UsageError: as there.
    """
    told = epoch()
    return max(0, int(time.time())) if told is None else told


def _opened(name: str) -> IO[bytes]:
    """The file, locked, and sure to be the one that has the name."""
    for _ in range(_TRIES):
        if not stat.S_ISREG(os.stat(name).st_mode):
            raise UsageError(f"{name} is not a regular file: only such an archive can be changed")
        file = open(name, "r+b", buffering=0)  # noqa: SIM115 - closed by publish or discard
        try:
            lock(file.fileno(), name)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), os.stat(name)):
                    return file
        except BaseException:
            file.close()
            raise
        file.close()  # it was replaced before it was locked
    raise BusyError(f"{name} is replaced again and again by another process")


def lock(descriptor: int, name: str) -> None:
    """Lock the file for as long as it is open.

    Raises:
        BusyError: another process, or another archive object of this one, has it locked.
    """
    try:
        import fcntl
    except ImportError:
        _lock_elsewhere(descriptor, name)
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise BusyError(f"{name} is being changed by another process: try again when that has ended") from None
        # A file system without locks: as for everything there, it is the user's to see that one writes at a time.


def _lock_elsewhere(descriptor: int, name: str) -> None:
    """The same on Windows: of a byte that no archive reaches."""
    import msvcrt

    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        os.lseek(descriptor, 1 << 62, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        raise BusyError(f"{name} is being changed by another process: try again when that has ended") from None
    finally:
        os.lseek(descriptor, position, os.SEEK_SET)
