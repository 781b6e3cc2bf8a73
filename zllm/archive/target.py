"""The file that an archive is written to: under a temporary name beside its place, until it is whole."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from typing import IO, BinaryIO, cast

from zllm import partial

_DESCRIPTOR = re.compile(r"/dev/fd/(\d+)|/proc/self/fd/(\d+)|/dev/std(out|err)")


class Target:
    """A file for writing that gets its name in :meth:`publish` and vanishes in :meth:`discard`.

    What is not a regular file (a named pipe, a device, ``/dev/stdout``) is written directly. A file that is replaced
    hands on its mode and, where the system permits it, its owner; until then no other user can read the new one. What
    killed processes left of the same target is removed. ``like``: whose mode and owner it gets, rather than those of
    the file that it replaces.

    Raises:
        FileExistsError: it exists and ``replace`` is false.
        OSError: it cannot be written.
    """

    def __init__(self, name: str, *, replace: bool, like: os.stat_result | None = None) -> None:
        self._replace = replace
        self._like = like
        self._final = ""
        self._temporary: str | None = None
        self._old: os.stat_result | None = None
        self.file: IO[bytes]
        if match := _DESCRIPTOR.fullmatch(name):
            number = int(match[1] or match[2] or (1 if match[3] == "out" else 2))
            self.file = os.fdopen(os.dup(number), "wb")  # opening it again would cut what is redirected with >>
            return
        with contextlib.suppress(FileNotFoundError):
            self._old = os.stat(name)
        if self._old is not None and not replace:
            raise FileExistsError(17, "File exists", name)
        if self._old is not None and not stat.S_ISREG(self._old.st_mode):
            self.file = open(name, "wb")  # noqa: SIM115 - closed by publish or discard
            return
        try:
            self._final = os.path.realpath(name)  # a link to the archive stays a link
            self._check_folder()
            descriptor, self._temporary = _create(self._final, 0o666 if self._old is like is None else 0o600)
        except OSError as error:
            raise type(error)(error.errno, _explained(error), name) from None
        self.file = os.fdopen(descriptor, "wb")
        remove_stale(self._final)

    def _check_folder(self) -> None:
        """Raises PermissionError if the old file could not be replaced in the end: in a folder like /tmp."""
        if self._old is None or not hasattr(os, "geteuid"):
            return
        folder = os.stat(os.path.dirname(self._final))
        if folder.st_mode & stat.S_ISVTX and os.geteuid() not in (0, folder.st_uid, self._old.st_uid):
            raise PermissionError(1, "it belongs to somebody else, and its folder lets only the owner replace it")

    def is_this(self, path: str, *, follow: bool = False) -> bool:
        """Whether ``path`` is the file being written, or the one that it will replace."""
        if self._temporary is None:
            return False
        try:
            state = os.stat(path, follow_symlinks=follow)
        except OSError:
            return False
        mine = [os.fstat(self.file.fileno()), *([] if self._old is None else [self._old])]
        return any(os.path.samestat(state, one) for one in mine)

    def publish(self) -> None:
        """It is whole: give it its name. Raises FileExistsError if another took it meanwhile, or OSError."""
        self.file.flush()
        if self._temporary is not None:
            descriptor = self.file.fileno()
            model = self._like or self._old
            if model is not None:
                _hand_on(model, descriptor)
            os.fsync(descriptor)
            # Before it is closed: without its lock it would look like what a killed process left.
            partial.publish(self._temporary, self._final, replace=self._replace)
            self._temporary = None
            partial.sync_folder(os.path.dirname(self._final))
        self.file.close()

    def discard(self) -> None:
        """It is not whole: remove it."""
        try:
            if self._temporary is not None:
                partial.forget(self._temporary)
        finally:
            with contextlib.suppress(OSError):  # a full disk; the file is gone anyway
                self.file.close()


@contextlib.contextmanager
def whole_file(name: str, *, replace: bool, like: os.stat_result | None = None) -> Iterator[BinaryIO]:
    """A :class:`Target` that is published when the block ends well, and discarded when it does not."""
    target = Target(name, replace=replace, like=like)
    try:
        yield cast(BinaryIO, target.file)
        target.publish()
    except BaseException:
        target.discard()
        raise


def _explained(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in (13, 30):  # EACCES, EROFS
        reason += ": an archive is first written under a temporary name in the same folder, which must be writable"
    return reason


def _hand_on(old: os.stat_result, descriptor: int) -> None:
    """Give the new file the mode of the old one, and its owner if that is possible."""
    mode = stat.S_IMODE(old.st_mode) & 0o777
    mine = os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (mine.st_uid, mine.st_gid):
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except OSError:
            try:
                os.fchown(descriptor, -1, old.st_gid)
            except OSError:  # another group now: it may do what everybody may
                mode = mode & 0o707 | (mode & 0o007) << 3 & mode
    os.fchmod(descriptor, mode)


def _create(final: str, mode: int) -> tuple[int, str]:
    """A new file beside ``final``, locked for as long as it is open."""
    while True:
        descriptor, name = partial.create(final, mode)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.lstat(name)):
                return descriptor, name
        os.close(descriptor)  # somebody took it for stale in the moment before it was locked
        partial.forget(name)


def _is_stale(descriptor: int) -> bool:
    """Whether it is a file that no process has locked. Locks it."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):  # locked; or no such system, or a file system without locks: who knows
        return False
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def remove_stale(final: str) -> None:
    """Remove temporary files of the target with that real path that no living process has locked."""
    folder, base = os.path.split(final)
    pattern = partial.pattern(base)
    try:
        names = [name for name in os.listdir(folder) if pattern.fullmatch(name)]
    except OSError:  # a folder that may be written, but not read
        return
    for name in names:
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if _is_stale(descriptor):
                    os.unlink(path)
            finally:
                os.close(descriptor)
