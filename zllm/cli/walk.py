"""Finds what is to be packed: folders are walked in a fixed order, by descriptors, so that no path is too long.

Every name is looked up in the open folder that it is in. Folders may be as deep as the file system has them: only the
innermost few are open, the others are opened again, and recognised by device and inode, on the way back.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from zllm.cli.operands import Folder, Name
from zllm.cli.output import Console
from zllm.cli.patterns import Excluded

Identity = tuple[int, int]
"""Device and inode."""

_OPEN = 24
"""Folders that are open at the same time, of the path to the innermost one."""
_PIECE = 4000
"""Bytes of a path that one system call is given: Linux takes 4,096."""
_TAG = "CACHEDIR.TAG"
_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PASSED = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True)
class Found:
    """One thing to pack. ``folder`` is open, and ``base`` the thing's name in it, only until the walk goes on."""

    folder: int | None
    base: str
    stat: os.stat_result
    given: str
    """Its path as the user wrote it or would write it: what patterns are compared with."""
    prefix: str
    """The folder of ``-C``, for messages."""
    name: str
    """Its name in the archive."""

    @property
    def path(self) -> str:
        """For messages: where it is."""
        return os.path.join(self.prefix, self.given)

    @property
    def identity(self) -> Identity:
        """Device and inode."""
        return self.stat.st_dev, self.stat.st_ino


@dataclass
class Rules:
    """What a walk leaves out. ``ours`` are the archive itself, and the file that it will replace."""

    excluded: Excluded = field(default_factory=lambda: Excluded(()))
    recursive: bool = True
    one_file_system: bool = False
    dereference: bool = False
    caches: bool = True
    """The contents of folders are packed that call themselves caches by a file CACHEDIR.TAG (bford.info/cachedir)."""
    newer: int | None = None
    """Only what has changed after this time, in nanoseconds, and folders."""
    ours: set[Identity] = field(default_factory=set)


def member_name(path: str) -> str:
    """The name in the archive: relative, and nothing that leads out of the folder it is extracted to, as in tar."""
    parts = path.split("/")
    if ".." in parts:
        parts = parts[len(parts) - parts[::-1].index("..") :]
    return "/".join(parts).strip("/") or "."


@dataclass
class _Level:
    """A folder that is being walked."""

    found: Found
    identity: Identity
    entries: Iterator[str]
    descriptor: int | None

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


class Walk:
    """Iterates over :class:`Found`. What cannot be read is reported, and the walk goes on."""

    def __init__(self, rules: Rules, console: Console) -> None:
        self.rules = rules
        self.console = console
        self.missing = 0  # operands that do not exist
        self.found = 0  # operands that do
        self.archives = 0  # operands that are the archive itself
        self.skipped = 0  # what could not be looked at
        self.caches: list[str] = []  # the names of folders whose contents were left out
        self._shortened = False

    def operands(self, operands: Iterable[Name | Folder]) -> Iterator[Found]:
        """Everything below ``operands``, in their order. Raises OSError for a folder of ``-C`` that is not there."""
        with contextlib.ExitStack() as stack:
            here: int | None = None
            prefix = ""
            for operand in operands:
                if isinstance(operand, Name):
                    yield from self._operand(operand.text, here, prefix)
                    continue
                prefix = os.path.join(prefix, operand.text)
                here = _change(operand.text, here, prefix)
                stack.close()
                stack.callback(os.close, here)

    def _operand(self, path: str, here: int | None, prefix: str) -> Iterator[Found]:
        name = member_name(path)
        given = path.rstrip("/") or "/"
        if not self._shortened and (path.startswith("/") or ".." in path.split("/")):
            self._shortened = True
            self.console.note(f"names are stored relative: {path} as {name}")
        with contextlib.ExitStack() as stack:
            try:
                folder, base = _reach(path, here, stack)
                state = os.stat(base, dir_fd=folder, follow_symlinks=self.rules.dereference)
            except (OSError, ValueError) as error:
                self.missing += 1
                hint = " (its line ends with a CR)" if path.endswith("\r") else ""
                self._skip(os.path.join(prefix, path), error, f"skipped{hint}")
                return
            found = Found(folder, base, state, given, prefix, name)
            if found.identity in self.rules.ours:
                self.archives += 1
                self.console.warn(f"{found.path}: it is the archive itself: skipped")
                return
            self.found += 1
            if not self.rules.excluded(given) and not self._is_old(found):
                yield from self._below(found)

    def _below(self, top: Found) -> Iterator[Found]:
        yield top
        levels: list[_Level] = []
        try:
            self._enter(top, levels)
            while levels:
                level = levels[-1]
                entry = next(level.entries, None)
                if entry is None:
                    self._leave(levels)
                    continue
                found = self._look(level, entry)
                if found is not None:
                    yield found
                    self._enter(found, levels)
        finally:
            for level in levels:
                level.close()

    def _look(self, level: _Level, entry: str) -> Found | None:
        """The entry of a folder, unless it is left out."""
        within = level.found
        given = f"{within.given}{'' if within.given.endswith('/') else '/'}{entry}"
        if self.rules.excluded(given):
            return None
        try:
            state = os.stat(entry, dir_fd=level.descriptor, follow_symlinks=self.rules.dereference)
        except OSError as error:
            self._skip(os.path.join(within.prefix, given), error, "skipped")
            return None
        found = Found(level.descriptor, entry, state, given, within.prefix, f"{within.name}/{entry}")
        return None if found.identity in self.rules.ours or self._is_old(found) else found

    def _is_old(self, found: Found) -> bool:
        """Whether neither data nor facts have changed since ``newer``, as GNU tar has it."""
        state, newer = found.stat, self.rules.newer
        if newer is None or stat.S_ISDIR(state.st_mode):
            return False
        return max(state.st_mtime_ns, state.st_ctime_ns) <= newer

    def _enter(self, found: Found, levels: list[_Level]) -> None:
        """Go into ``found``, if it is a folder to go into."""
        if not stat.S_ISDIR(found.stat.st_mode) or not self.rules.recursive:
            return
        if self.rules.one_file_system and levels and found.stat.st_dev != levels[0].found.stat.st_dev:
            return
        if any(level.identity == found.identity for level in levels):
            self.console.warn(f"{found.path}: it leads back to a folder that it is in: not entered")
            return
        try:
            descriptor = self._open(found.base, found.folder)
            state = os.fstat(descriptor)
            # By the bytes of the name: the same order in every locale.
            entries = sorted(os.listdir(descriptor), key=os.fsencode)
            if not self.rules.caches and _TAG in entries and _is_tag(descriptor):
                self.caches.append(found.name)
                entries = [_TAG]
        except OSError as error:
            self._skip(found.path, error, "its contents are skipped")
            return
        levels.append(_Level(found, (state.st_dev, state.st_ino), iter(entries), descriptor))
        if len(levels) > _OPEN:
            levels[-_OPEN - 1].close()

    def _open(self, base: str, folder: int | None) -> int:
        return os.open(base, _FOLDER | (0 if self.rules.dereference else os.O_NOFOLLOW), dir_fd=folder)

    def _leave(self, levels: list[_Level]) -> None:
        """Go back to the folder above, and open it again if need be."""
        left = levels.pop()
        try:
            if levels and levels[-1].descriptor is None:
                levels[-1].descriptor = self._again(left, levels)
        except OSError as error:
            self._skip(levels[-1].found.path, error, "the rest of its contents is skipped")
            levels[-1].entries = iter(())
        finally:
            left.close()

    def _again(self, left: _Level, levels: list[_Level]) -> int:
        """A descriptor of the innermost level. Raises OSError if the folder is not where it was."""
        with contextlib.suppress(OSError):
            if left.descriptor is not None:
                above = os.open("..", _FOLDER, dir_fd=left.descriptor)
                if _identity(above) == levels[-1].identity:
                    return above
                os.close(above)
        descriptor = self._open(levels[0].found.base, levels[0].found.folder)
        for level in levels[1:]:
            try:
                below = self._open(level.found.base, descriptor)
            finally:
                os.close(descriptor)
            descriptor = below
        if _identity(descriptor) != levels[-1].identity:
            os.close(descriptor)
            raise OSError("it was moved while it was read")
        return descriptor

    def _skip(self, path: str, error: Exception, consequence: str) -> None:
        self.skipped += 1
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        self.console.warn(f"{path}: {reason}: {consequence}")


def _is_tag(folder: int) -> bool:
    with contextlib.suppress(OSError):
        tag = os.open(_TAG, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        try:
            return os.read(tag, len(_SIGNATURE)) == _SIGNATURE
        finally:
            os.close(tag)
    return False


def check_folders(operands: Iterable[Name | Folder]) -> None:
    """Raises OSError for a folder of ``-C`` that is not there: before anything is packed."""
    walk = Walk(Rules(), Console())
    for _ in walk.operands(operand for operand in operands if isinstance(operand, Folder)):
        pass


def _identity(descriptor: int) -> Identity:
    state = os.fstat(descriptor)
    return state.st_dev, state.st_ino


def _change(folder: str, here: int | None, prefix: str) -> int:
    with contextlib.ExitStack() as stack:
        try:
            above, base = _reach(folder, here, stack)
            return os.open(base, _PASSED, dir_fd=above)
        except OSError as error:
            raise OSError(error.errno, error.strerror, prefix) from None


def _reach(path: str, here: int | None, stack: contextlib.ExitStack) -> tuple[int | None, str]:
    """An open folder, and a path from it that is short enough for the system. ``stack`` closes the folder."""
    while len(os.fsencode(path)) > _PIECE:
        end = path.rfind("/", 0, _PIECE // 4)  # characters have up to four bytes
        if end <= 0:
            break
        here = os.open(path[:end], _PASSED, dir_fd=here)
        stack.callback(os.close, here)
        path = path[end:].lstrip("/") or "."
    return here, path
