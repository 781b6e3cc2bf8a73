"""Writes members to disk, one by one: each is there whole and right, or what was there before still is.

Nothing is ever written through a link. Links are placed after everything else, so that none from the archive can be in
the way of a member; folders get their modes and times at the very end, the innermost first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tarfile
from collections.abc import Callable, Iterable
from typing import Protocol

from zllm import partial
from zllm.extraction import attributes, names, sparse
from zllm.extraction.attributes import Attributes, Owners, Policy
from zllm.extraction.errors import DeviceError, NotExtractedError
from zllm.extraction.names import Parts
from zllm.extraction.tree import Tree

_LABEL, _CONTINUED, _DUMPDIR = b"V", b"M", b"D"  # GNU tar's
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NAME_MAX = 255
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS)
"""A hard link cannot be made here, but a copy can."""


class Source(Protocol):
    """The archive."""

    def pieces(self, member: tarfile.TarInfo) -> Iterable[tuple[int, bytes]]:
        """The member's data, checked, with the offset of each piece in the file.

        Raises:
            OSError: ``ESPIPE``: it has passed.
        """

    def original(self, link: tarfile.TarInfo) -> tarfile.TarInfo | None:
        """The member with the data of a hard link whose target is not on disk; None if there is none."""


class Report(Protocol):
    """Hears what happens. What a method raises ends the extraction."""

    def failed(self, member: tarfile.TarInfo, error: Exception) -> None:
        """A member was not extracted."""

    def unset(self, member: str, what: str, error: Exception) -> None:
        """A member was extracted, but its owner, mode or time could not be set."""

    def kept(self, member: tarfile.TarInfo) -> None:
        """A member was not extracted because something has its name already."""

    def note(self, text: str) -> None:
        """Something good to know."""

    def warn(self, text: str) -> None:
        """Something is not quite as it was meant."""


class Extractor:
    """Extracts below the folder ``path``, which must exist.

    Args:
        path: the folder, or a link to it.
        policy: what is restored.
        source: where data comes from.
        report: hears of everything that is worth telling.
        encoding: that of the members' names (``TarFile.encoding``).
        skipped: whether the member of that name is left out; a hard link to it gets the data instead.
        again: called with each link just before it is placed; returns what is to be placed, None for nothing, or
            raises what :meth:`Report.failed` is to hear.

    Raises:
        OSError: ``path`` cannot be opened.
    """

    def __init__(
        self,
        path: str | bytes | os.PathLike[str],
        policy: Policy,
        source: Source,
        report: Report,
        *,
        encoding: str = "utf-8",
        skipped: Callable[[str], bool] | None = None,
        again: Callable[[tarfile.TarInfo], tarfile.TarInfo | None] | None = None,
    ) -> None:
        self._policy = policy
        self._source = source
        self._report = report
        self._encoding = encoding
        self._skipped = skipped
        self._again = again
        self._owners = Owners()
        self._umask = attributes.current_umask()
        self._noted = False
        self._links: dict[Parts, tarfile.TarInfo] = {}
        self._placed: set[Parts] = set()  # symbolic links that are on disk
        self._folders: dict[Parts, tuple[Attributes, str, bool]] = {}  # True: special bits are those of the folder
        self._failed: set[Parts] = set()
        self._copies: dict[Parts, Parts] = {}  # of a hard link's target that was left out: where its data is
        self._tree = Tree(path, keep=policy.keep)

    def __enter__(self) -> Extractor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder. Without :meth:`finish` before it, links are missing."""
        self._tree.close()

    def add(self, member: tarfile.TarInfo) -> bool:
        """Extract one member; whether it is in place, or, for a link, will be. Every error goes to the report."""
        try:
            return self._add(member)
        except (tarfile.TarError, OSError) as exc:
            with contextlib.suppress(NotExtractedError):
                self._failed.add(self._parts(member.name))
            self._report.failed(member, _explained(exc))
            return False

    def finish(self) -> None:
        """Place the links, then give folders their modes, owners and times."""
        links, self._links = self._links, {}
        for parts, member in links.items():
            try:
                self._place_link(parts, member)
            except (tarfile.TarError, OSError) as exc:
                self._failed.add(parts)
                self._report.failed(member, _explained(exc))
        for parts in sorted(self._folders, reverse=True):
            self._finish_folder(parts, *self._folders.pop(parts))

    def _parts(self, name: str) -> Parts:
        return names.split(names.encoded(name, self._encoding), name)

    def _add(self, member: tarfile.TarInfo) -> bool:
        if member.type == _LABEL:
            return False
        if member.type == _CONTINUED:
            raise NotExtractedError(member.name, "continued from another volume: not extracted")
        parts = self._parts(member.name)
        folder = member.isdir() or member.type == _DUMPDIR
        if not parts and not folder:
            raise NotExtractedError(member.name, "no name for anything but a folder: not extracted")
        if member.name.startswith("/") and not self._noted:
            self._noted = True
            self._report.note(f"names are extracted relative: {member.name} as {member.name.lstrip('/') or '.'}")
        found = self._existing(parts) if self._policy.keep else None
        if found is not None:
            if not (folder and stat.S_ISDIR(found)):
                self._report.kept(member)
            return False
        if folder:
            self._make_folder(parts, member)
        elif member.issym():
            self._links.pop(parts, None)
            self._links[parts] = member
        elif member.islnk():
            self._hard_link(parts, member)
        else:
            self._entry(parts, member)
        return True

    def _existing(self, parts: Parts) -> int | None:
        """Type and mode of what has that name below the folder; None if nothing has."""
        if parts in self._links:
            return stat.S_IFLNK
        if not parts:
            return stat.S_IFDIR
        above, depth = self._tree.reach(parts[:-1])
        if depth == len(parts) - 1:
            with contextlib.suppress(FileNotFoundError):
                return os.stat(parts[-1], dir_fd=above, follow_symlinks=False).st_mode
        return None

    def _entry(self, parts: Parts, member: tarfile.TarInfo) -> None:
        if member.isfifo():
            self._place(parts, lambda room, name: self._special(room, name, member))
        elif member.ischr() or member.isblk():
            if not self._policy.devices:
                raise DeviceError(member.name)
            self._place(parts, lambda room, name: self._special(room, name, member))
        else:
            self._place(parts, lambda room, name: self._file(room, name, member))
            if not member.isreg():
                self._report.warn(f"{member.name}: unknown type {member.type!r}: extracted as a regular file")

    def _place(self, parts: Parts, make: Callable[[int, bytes], None]) -> None:
        """Have an entry made under a temporary name, and give it its own when it is whole."""
        if max(map(len, parts)) > _NAME_MAX:  # before any work
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        with self._tree.room(parts[:-1]) as room, partial.below(room, parts[-1]) as name:
            make(room, name)
            self._tree.swap(room, name, parts)
        self._links.pop(parts, None)
        self._folders.pop(parts, None)

    def _wanted(self, member: tarfile.TarInfo) -> Attributes:
        found = attributes.wanted(member, self._policy, self._owners)
        if found.times is None and member.mtime is not None:
            self._report.unset(member.name, "time", ValueError("out of range"))
        return found

    def _file(self, room: int, name: bytes, member: tarfile.TarInfo) -> None:
        wanted = self._wanted(member)
        if wanted.mode is None:
            wanted = attributes.with_mode(wanted, 0o666 & ~self._umask)
        descriptor = os.open(name, _NEW, 0o600, dir_fd=room)
        partial.lock(descriptor)  # so that no other process takes it for the remains of a killed one
        try:
            sparse.write(descriptor, self._source.pieces(member), member.size)
            attributes.to_descriptor(descriptor, wanted, self._unset(member.name))
        finally:
            os.close(descriptor)

    def _special(self, room: int, name: bytes, member: tarfile.TarInfo) -> None:
        wanted = self._wanted(member)
        if member.isfifo():
            os.mkfifo(name, 0o600, dir_fd=room)
        else:
            kind = stat.S_IFBLK if member.isblk() else stat.S_IFCHR
            try:
                device = os.makedev(member.devmajor, member.devminor)
            except (OverflowError, ValueError):
                raise NotExtractedError(member.name, "an impossible device number: not extracted") from None
            os.mknod(name, kind | 0o600, device, dir_fd=room)
        if wanted.mode is None:
            wanted = attributes.with_mode(wanted, 0o666 & ~self._umask)
        attributes.to_name(room, name, wanted, self._unset(member.name))

    def _unset(self, member: str) -> attributes.Failed:
        return lambda what, error: self._report.unset(member, what, error)

    # Folders

    def _make_folder(self, parts: Parts, member: tarfile.TarInfo) -> None:
        before = self._tree.make(parts) if parts else None
        self._links.pop(parts, None)
        wanted = self._wanted(member)
        inherits = member.mode is None or not self._policy.special_bits
        if wanted.mode is None and parts:
            wanted = attributes.with_mode(wanted, 0o777 & ~self._umask if before is None else before)
        self._folders[parts] = wanted, member.name, inherits

    def _finish_folder(self, parts: Parts, wanted: Attributes, shown: str, inherits: bool) -> None:
        try:
            if not parts:
                own = os.dup(self._tree.root)
            else:
                above, depth = self._tree.reach(parts[:-1])
                if depth < len(parts) - 1:
                    return
                own = os.open(parts[-1], _OPEN_FOLDER, dir_fd=above)
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):  # it is not a folder any more
                self._report.unset(shown, "mode", exc)
            return
        try:
            if wanted.mode is not None and inherits:  # the set-group-id bit is from the folder above it
                wanted = attributes.with_mode(wanted, wanted.mode | os.fstat(own).st_mode & 0o7000)
            attributes.to_descriptor(own, wanted, self._unset(shown))
        finally:
            os.close(own)

    # Links

    def _place_link(self, parts: Parts, member: tarfile.TarInfo) -> None:
        if member.islnk():
            self._hard_link(parts, member)
            return
        checked = self._again(member) if self._again is not None else member
        if checked is not None:
            self._place(parts, lambda room, name: self._symbolic(room, name, checked))
            self._placed.add(parts)

    def _symbolic(self, room: int, name: bytes, member: tarfile.TarInfo) -> None:
        target = names.encoded(member.linkname, self._encoding)
        if not target or b"\0" in target:
            raise NotExtractedError(member.name, "a link to an impossible name: not extracted")
        os.symlink(target, name, dir_fd=room)
        attributes.to_name(room, name, attributes.with_mode(self._wanted(member), None), self._unset(member.name))

    def _hard_link(self, parts: Parts, member: tarfile.TarInfo) -> None:
        target = self._target(member)
        if target == parts:
            raise NotExtractedError(member.name, "a hard link to itself: not extracted")
        if target in self._links:
            self._links.pop(parts, None)
            self._links[parts] = member
            return
        if target in self._failed:
            raise NotExtractedError(member.name, f"a hard link to {member.linkname}, which could not be extracted")
        place = self._copies.get(target, None if self._left_out(member.linkname) else target)
        if place is None or not self._linked(parts, place):
            self._copy(parts, member)
            self._copies[target] = parts

    def _left_out(self, name: str) -> bool:
        plain = "/".join(part for part in name.split("/") if part not in ("", "."))
        return self._skipped is not None and self._skipped(name) and self._skipped(plain)

    def _target(self, member: tarfile.TarInfo) -> Parts:
        try:
            target = self._parts(member.linkname)
        except NotExtractedError:
            target = ()
        if not target:
            reason = f"a hard link to the impossible name {member.linkname!r}: not extracted"
            raise NotExtractedError(member.name, reason)
        return target

    def _linked(self, parts: Parts, target: Parts) -> bool:
        """Make a hard link to what is on disk; whether there is such a thing, and the file system has hard links."""
        above, depth = self._tree.reach(target[:-1])
        if depth < len(target) - 1:
            return False
        folder = os.dup(above)
        try:
            state = os.stat(target[-1], dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(state.st_mode) or (stat.S_ISLNK(state.st_mode) and target not in self._placed):
                return False
            self._place(
                parts,
                lambda room, name: os.link(target[-1], name, src_dir_fd=folder, dst_dir_fd=room, follow_symlinks=False),
            )
            return True
        except OSError as exc:
            if exc.errno in (errno.ENOENT, *_NO_LINK):
                return False
            raise
        finally:
            os.close(folder)

    def _copy(self, parts: Parts, member: tarfile.TarInfo) -> None:
        original = self._source.original(member)
        if original is None:
            raise NotExtractedError(
                member.name, f"a hard link to {member.linkname}, which is neither on disk nor before it in the archive"
            )
        if original.issym():
            self._place(parts, lambda room, name: self._symbolic(room, name, original))
        elif original.isdir():
            raise NotExtractedError(member.name, f"a hard link to {member.linkname}, a folder: not extracted")
        else:
            try:
                self._entry(parts, original)
            except OSError as exc:
                if exc.errno != errno.ESPIPE:
                    raise
                reason = f"a hard link to {member.linkname}, whose data has passed: extract that, too, or use a file"
                raise NotExtractedError(member.name, reason) from None


def _explained(error: Exception) -> Exception:
    if isinstance(error, OSError):
        error.filename = error.filename2 = None  # temporary names; the report names the member
    return error
