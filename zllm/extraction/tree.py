"""The folder that is extracted to: everything below it is reached component by component, and no link is followed.

Each folder is opened relative to the descriptor of the one above it, so paths may be longer than the system's limit,
and what another process does to names on the way leads nowhere else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from zllm import partial
from zllm.extraction.names import Parts

MOST_IMPLIED = 1024
"""Folders that one member may need which do not exist. A tree of any depth has its folders as members, each in its
turn; only a name that was made up makes one member make thousands of folders."""
_KEPT = 16  # descriptors that stay open at both ends of a path; those between are opened again when they are needed
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_THE_WAY = (errno.ENOTDIR, errno.ELOOP)


class Tree:
    """Folders below ``path``, which may itself be a link to a folder.

    ``keep``: a link where a folder should be is an error; otherwise a folder takes its place.

    Raises:
        OSError: ``path`` is not a folder that can be opened.
    """

    def __init__(self, path: str | bytes | os.PathLike[str], *, keep: bool = False) -> None:
        self.root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._keep = keep
        self._names: list[bytes] = []
        self._open: list[int | None] = []
        self._proc = _has_proc(self.root)

    def close(self) -> None:
        """Close all descriptors."""
        self._shorten(0)
        os.close(self.root)

    def reach(self, parts: Parts) -> tuple[int, int]:
        """How far ``parts`` leads through folders that exist: the last one's descriptor, and the number of parts.

        The descriptor belongs to the tree, and is valid until its next call.
        """
        depth = 0
        for mine, theirs in zip(self._names, parts, strict=False):
            if mine != theirs:
                break
            depth += 1
        while depth and self._open[depth - 1] is None:
            depth -= 1
        self._shorten(depth)
        while depth < len(parts):
            try:
                self._push(parts[depth])
            except OSError as exc:
                if exc.errno not in (errno.ENOENT, *_IN_THE_WAY):
                    raise
                break
            depth += 1
        return self._last, depth

    def enter(self, parts: Parts) -> int:
        """The descriptor of the folder ``parts``, made if it is missing; valid until the tree's next call.

        Raises:
            OSError: a folder cannot be made, or something other than a folder or a link is where one should be.
        """
        folder, depth = self.reach(parts)
        self._bound(len(parts) - depth)
        for place in range(depth, len(parts)):
            self._make(folder, parts[place], os.fsdecode(b"/".join(parts[: place + 1][-3:])))
            self._push(parts[place])
            folder = self._last
        return folder

    @contextlib.contextmanager
    def room(self, parts: Parts) -> Iterator[int]:
        """A descriptor for temporary files that will go to the folder ``parts``: its own, or the nearest one's above
        it if it does not exist. Nothing is made yet.
        """
        folder, depth = self.reach(parts)
        self._bound(len(parts) - depth)
        if depth == len(parts):
            yield folder
            return
        copy = os.dup(folder)  # entering more folders may close the tree's own
        try:
            yield copy
        finally:
            os.close(copy)

    def forget(self, parts: Parts) -> None:
        """``parts`` is not the folder that it was."""
        if tuple(self._names[: len(parts)]) == parts:
            self._shorten(len(parts) - 1)

    def swap(self, room: int, temporary: bytes, parts: Parts) -> None:
        """Give the finished entry ``temporary`` its name, in place of what has it: a file, a link, an empty folder.

        Raises:
            OSError: it cannot be replaced; ``ENOTEMPTY`` for a folder that is not empty.
        """
        folder, name = self.enter(parts[:-1]), parts[-1]
        try:
            self._rename(room, temporary, folder, name)
        except OSError as exc:
            if exc.errno not in (errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST):
                raise
            _remove_empty(folder, name)
            self.forget(parts)
            self._rename(room, temporary, self.enter(parts[:-1]), name)

    def make(self, parts: Parts) -> int | None:
        """Make the folder ``parts`` for its owner only; in place of a file or link of that name, if there is one.

        The mode of the one that was there before; that one becomes writable for its owner.
        """
        folder, name = self.enter(parts[:-1]), parts[-1]
        try:
            os.mkdir(name, 0o700, dir_fd=folder)
            return None
        except FileExistsError:
            state = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISDIR(state.st_mode):
            self._replace(folder, name, 0o700)
            return None
        if state.st_uid == os.geteuid() and state.st_mode & 0o700 != 0o700:
            own = os.open(name, _FOLDER, dir_fd=folder)
            try:
                self.chmod(own, folder, name, stat.S_IMODE(state.st_mode) | 0o700)
            finally:
                os.close(own)
        return stat.S_IMODE(state.st_mode)

    def chmod(self, own: int, folder: int, name: bytes, mode: int) -> None:
        """Set the mode of the folder with the descriptor ``own``, which may be one for paths only."""
        if self._proc:
            os.chmod(b"/proc/self/fd/%d" % own, mode)
        else:
            os.chmod(name, mode, dir_fd=folder)

    def _bound(self, missing: int) -> None:
        if missing > MOST_IMPLIED:
            raise OSError(errno.ENAMETOOLONG, f"{missing} folders above it do not exist: extract them first")

    def _make(self, folder: int, name: bytes, shown: str) -> None:
        try:
            os.mkdir(name, dir_fd=folder)
        except FileExistsError:
            state = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(state.st_mode):
                return
            if not stat.S_ISLNK(state.st_mode):
                raise OSError(errno.ENOTDIR, f"{shown} is not a folder") from None
            if self._keep:
                raise OSError(errno.ELOOP, f"{shown} is a link: it is kept, and not followed") from None
            self._replace(folder, name, 0o777)

    def _replace(self, folder: int, name: bytes, mode: int) -> None:
        """A new folder in place of a file or link. That one goes when the folder is there."""
        temporary = partial.name_beside(name)
        os.mkdir(temporary, mode, dir_fd=folder)
        try:
            os.unlink(name, dir_fd=folder)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.rmdir(temporary, dir_fd=folder)
            raise

    def _rename(self, room: int, temporary: bytes, folder: int, name: bytes) -> None:
        # By way of /proc where there is one: what watches the process then sees which file it is, not a bare name.
        source = b"/proc/self/fd/%d/%s" % (room, temporary) if self._proc else temporary
        os.rename(source, name, src_dir_fd=room, dst_dir_fd=folder)

    @property
    def _last(self) -> int:
        found = self._open[-1] if self._open else self.root
        assert found is not None
        return found

    def _push(self, name: bytes) -> None:
        self._open.append(os.open(name, _FOLDER, dir_fd=self._last))
        self._names.append(name)
        middle = len(self._open) - _KEPT
        if middle > _KEPT:
            between = self._open[middle - 1]
            if between is not None:
                self._open[middle - 1] = None
                os.close(between)

    def _shorten(self, depth: int) -> None:
        while len(self._open) > max(depth, 0):
            self._names.pop()
            descriptor = self._open.pop()
            if descriptor is not None:
                os.close(descriptor)


def _remove_empty(folder: int, name: bytes) -> None:
    try:
        os.rmdir(name, dir_fd=folder)
    except OSError as exc:
        if exc.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise OSError(errno.ENOTEMPTY, "a folder that is not empty is in the way") from None
        raise


def _has_proc(descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(f"/proc/self/fd/{descriptor}"), os.fstat(descriptor))
    except OSError:
        return False
