"""Files that are being written: they get their final name when they are whole, and vanish when they are not.

A registry of the temporary names lets a signal remove them even while the main thread is inside a C call.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import BinaryIO

_live: set[str] = set()
_live_below: set[tuple[int, bytes]] = set()  # names relative to the descriptor of a folder


def remove_all() -> None:
    """Remove every unfinished file of this process. Safe to call from any thread, at any time."""
    for name in list(_live):
        forget(name)
    for folder, base in list(_live_below):
        with contextlib.suppress(OSError):
            os.unlink(base, dir_fd=folder)


def forget(name: str) -> None:
    """Remove one unfinished file, if it is still there."""
    with contextlib.suppress(OSError):
        os.unlink(name)
    _live.discard(name)


def create(target: str, mode: int = 0o666) -> tuple[int, str]:
    """A new file beside ``target``: its descriptor, open for writing, and its temporary name.

    ``mode`` is subject to the umask, as for any file. Raises :class:`OSError`.
    """
    folder, base = os.path.split(target)
    while True:
        name = os.path.join(folder, f".{_stem(base)}.{os.urandom(4).hex()}.part")
        _live.add(name)
        try:
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), mode)
            lock(descriptor)
            return descriptor, name
        except FileExistsError:
            _live.discard(name)
        except OSError as error:  # the temporary name would say nothing to the user
            _live.discard(name)
            raise OSError(error.errno, error.strerror, target) from None
        except BaseException:
            _live.discard(name)
            raise


def _stem(base: str) -> str:
    # 64 bytes leave room for the rest of the name: the limit is 255 bytes on common file systems.
    return os.fsdecode(os.fsencode(base)[:64])


def pattern(base: str) -> re.Pattern[str]:
    """What matches the temporary names of a file called ``base``."""
    return re.compile(rf"\.{re.escape(_stem(base))}\.[0-9a-f]{{8}}\.part", re.DOTALL)


def lock(descriptor: int) -> None:
    """Lock the file for as long as it is open, to show that it is being written; a ``kill -9`` leaves no lock."""
    with contextlib.suppress(ImportError, OSError):  # no such system, no locks on this file system
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)


def name_beside(base: bytes) -> bytes:
    """A temporary name for an entry that will be called ``base``."""
    return b".%s.%s.part" % (base[:64], os.urandom(4).hex().encode())


@contextlib.contextmanager
def below(folder: int, base: bytes) -> Iterator[bytes]:
    """A temporary name in the folder with that descriptor, for an entry that will be called ``base``.

    What still has the name when the block ends is removed, and so it is by a signal.
    """
    name = name_beside(base)
    _live_below.add((folder, name))
    try:
        yield name
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=folder)
        _live_below.discard((folder, name))


def publish(name: str, target: str, *, replace: bool = True) -> None:
    """Give the finished file ``name`` its final name, atomically.

    Raises:
        FileExistsError: ``target`` exists and ``replace`` is false.
    """
    try:
        if replace:
            os.replace(name, target)
        else:
            _publish_new(name, target)
    except FileExistsError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, target) from None
    _live.discard(name)


def _publish_new(name: str, target: str) -> None:
    try:
        os.link(name, target)  # unlike rename, this never replaces what another process made meanwhile
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(f"{target} exists") from None
        os.replace(name, target)
        return
    os.unlink(name)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Wait until the names in a folder are on the disk, where folders can be synced.

    Otherwise a power cut may leave a file without its new name.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def whole_file(target: str, *, replace: bool = True, sync: bool = True) -> Iterator[BinaryIO]:
    """A file that appears as ``target`` when the block ends well, and never existed when it does not.

    ``sync`` waits until the data is on the disk before the name appears, so that a power cut leaves either nothing
    (or the old file) or the whole new one.
    """
    descriptor, name = create(target)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
            publish(name, target, replace=replace)
    finally:
        if name in _live:
            forget(name)
