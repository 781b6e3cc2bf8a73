"""Puts what a walk found into an archive. What cannot be read is reported and skipped; the archive stays whole."""

from __future__ import annotations

import os
import stat
import tarfile
import time
from typing import BinaryIO, cast

import zllm
from zllm.archive import sparse
from zllm.archive.inputs import Padded
from zllm.cli import names, output, times
from zllm.cli.extended import Extended
from zllm.cli.walk import Found, Identity
from zllm.extraction.attributes import current_umask
from zllm.format.limits import MAX_EXTENDED
from zllm.stats import Stats

TYPES = {
    stat.S_IFREG: tarfile.REGTYPE, stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE, stat.S_IFCHR: tarfile.CHRTYPE, stat.S_IFBLK: tarfile.BLKTYPE,
}  # fmt: skip
"""The types of members, by what is on disk."""
# O_NONBLOCK in case it has become a pipe without a writer.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_NAME_ROOM = MAX_EXTENDED - 4096
_ATTRIBUTES_ROOM = MAX_EXTENDED // 2


class Packer:
    """Adds members to an archive."""

    def __init__(
        self,
        archive: zllm.ZllmFile,
        console: output.Console,
        *,
        reproducible: bool,
        stats: Stats | None = None,
        xattrs: bool = False,
        acls: bool = False,
    ) -> None:
        self.archive = archive
        self.stats = stats
        self.console = console
        self.reproducible = reproducible
        self.attributes = Extended(xattrs, acls) if reproducible else Extended(xattrs, acls, self._user, self._group)
        self.members = 0
        self.bytes = 0
        self._links: dict[Identity, str] = {}  # of files with several names: the name under which it is packed
        self._users: dict[int, str] = {}
        self._groups: dict[int, str] = {}
        self._attributes_noted = False

    def know(self, found: Found) -> None:
        """It is in the archive already: other names of the same file become links to it."""
        self._remember(found, found.stat)

    def add(self, found: Found) -> None:
        """Add one member. Raises OSError only if the archive cannot be written."""
        kind = stat.S_IFMT(found.stat.st_mode)
        if kind == stat.S_IFSOCK:
            self.console.note(f"{output.printable(found.path)}: socket ignored")
        elif kind not in TYPES:
            self.console.warn(f"{found.path}: unknown file type: skipped")
        elif len(os.fsencode(found.name)) > _NAME_ROOM:
            self.console.warn(f"{found.path}: its path has over a million bytes: skipped")
        elif kind == stat.S_IFREG:
            self._add_file(found)
        else:
            self._add_other(found)

    def _add_other(self, found: Found) -> None:
        """What has no data: a folder, a symbolic link, a pipe, a device."""
        info = self._info(found, found.stat)
        if info.issym():
            try:
                info.linkname = names.of_member(os.readlink(found.base, dir_fd=found.folder))
            except OSError as error:
                self._skip(found, error)
                return
        if info.isdir() and not (self._attributes_noted and not self.attributes.wanted):
            self._look_into(found, info)
        first = self._first(found, found.stat) if info.issym() else None
        if first is not None:
            info.type, info.linkname = tarfile.LNKTYPE, first
        self._put(found.name, info, None)
        if info.issym():
            self._remember(found, found.stat)

    def add_stream(self, name: str, file: BinaryIO) -> None:
        """Add what is left of ``file``, which is on the disk, as a file that was made now."""
        info = zllm.ZllmInfo(names.of_member(name))
        info.mode = 0o666 & ~current_umask()
        info.set_mtime_ns(times.stored(time.time_ns()))
        if not self.reproducible:
            info.uid, info.gid = os.geteuid(), os.getegid()
            info.uname, info.gname = self._user(info.uid), self._group(info.gid)
        info.size = max(0, os.fstat(file.fileno()).st_size - file.tell())
        padded = Padded(file, info.size, self.stats)
        self._put(name, info, padded)
        if problem := padded.problem():
            self.console.warn(f"{name}: {problem}")

    def _look_into(self, found: Found, info: zllm.ZllmInfo) -> None:
        follow = 0 if self.archive.dereference else os.O_NOFOLLOW
        try:
            descriptor = os.open(found.base, _READ | os.O_DIRECTORY | follow, dir_fd=found.folder)
        except OSError:  # the walk says so when it wants to enter it
            return
        try:
            self._look_for_attributes(found, info, descriptor)
        finally:
            os.close(descriptor)

    def _add_file(self, found: Found) -> None:
        follow = self.archive.dereference
        try:
            descriptor = os.open(found.base, _READ | (0 if follow else os.O_NOFOLLOW), dir_fd=found.folder)
        except OSError as error:
            self._skip(found, error)
            return
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            # From the open file, so that size and data are of one and the same.
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                self.console.warn(f"{found.path}: it was replaced while it was looked at: skipped")
                return
            info = self._info(found, state)
            first = self._first(found, state)
            if first is not None:
                info.type, info.linkname = tarfile.LNKTYPE, first
                self._put(found.name, info, None)
                return
            self._look_for_attributes(found, info, descriptor)
            self._put_data(found, info, cast(BinaryIO, file), state)
            self._remember(found, state)

    def _look_for_attributes(self, found: Found, info: zllm.ZllmInfo, descriptor: int) -> None:
        """Take the extended attributes and lists of a file or folder, or say, once, that it has some."""
        if self._attributes_noted and not self.attributes.wanted:
            return
        problems: list[str] = []
        records, left = self.attributes.of(descriptor, problems.append)
        for problem in problems:
            self.console.warn(f"{found.path}: {problem}: packed without")
        if sum(map(len, records.values())) > _ATTRIBUTES_ROOM:
            self.console.warn(f"{found.path}: its extended attributes have over half a million bytes: packed without")
        else:
            info.pax_headers = {**info.pax_headers, **records}
        if left and not self._attributes_noted:
            self._attributes_noted = True
            self.console.note(f"{output.printable(found.path)}: {self.attributes.left_out()}")

    def _put_data(self, found: Found, info: zllm.ZllmInfo, file: BinaryIO, state: os.stat_result) -> None:
        source: BinaryIO | sparse.SparseReader = file
        info.size = state.st_size
        pieces = sparse.pieces_of(file, state)
        if pieces is not None:
            source = sparse.SparseReader(file, pieces)
            info.size = source.size
            info.store_holes(info.name, state.st_size)
        padded = Padded(source, info.size, self.stats)
        self._put(found.name, info, padded)
        after = os.fstat(file.fileno())
        if problem := padded.problem():
            self.console.warn(f"{found.path}: {problem}")
        elif (state.st_size, state.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            self.console.warn(f"{found.path}: it changed while it was read")

    def _info(self, found: Found, state: os.stat_result) -> zllm.ZllmInfo:
        info = zllm.ZllmInfo(names.of_member(found.name))
        info.type = TYPES[stat.S_IFMT(state.st_mode)]
        info.mode = stat.S_IMODE(state.st_mode)
        info.set_mtime_ns(times.stored(state.st_mtime_ns))
        if not self.reproducible:
            info.uid, info.gid = state.st_uid, state.st_gid
            info.uname, info.gname = self._user(state.st_uid), self._group(state.st_gid)
        if info.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            info.devmajor, info.devminor = os.major(state.st_rdev), os.minor(state.st_rdev)
        return info

    def _user(self, number: int) -> str:
        if number not in self._users:
            import pwd

            try:
                self._users[number] = names.of_member(pwd.getpwuid(number).pw_name)
            except KeyError:
                self._users[number] = ""
        return self._users[number]

    def _group(self, number: int) -> str:
        if number not in self._groups:
            import grp

            try:
                self._groups[number] = names.of_member(grp.getgrgid(number).gr_name)
            except KeyError:
                self._groups[number] = ""
        return self._groups[number]

    def _first(self, found: Found, state: os.stat_result) -> str | None:
        """The name of the member that this one is a hard link to; None if it is the first."""
        name = self._links.get((state.st_dev, state.st_ino)) if state.st_nlink > 1 else None
        return None if name == names.of_member(found.name) else name

    def _remember(self, found: Found, state: os.stat_result) -> None:
        if state.st_nlink > 1:
            self._links.setdefault((state.st_dev, state.st_ino), names.of_member(found.name))

    def _skip(self, found: Found, error: OSError) -> None:
        self.console.warn(f"{found.path}: {error.strerror or error}: skipped")

    def _put(self, name: str, info: zllm.ZllmInfo, data: Padded | None) -> None:
        if self.console.verbose:
            self.console.print(output.printable(name))
        self.archive.addfile(info, data)
        self.archive.members.clear()  # tarfile remembers them all, which adds up: a kilobyte each
        self.members += 1
        self.bytes += info.size
