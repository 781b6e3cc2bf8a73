"""What has changed on disk since it was packed."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Callable

from zllm.archive.archive import Archive
from zllm.archive.member import Member
from zllm.cli import names, times
from zllm.cli.packer import TYPES
from zllm.cli.walk import Found, Identity

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_PIECE = 1 << 20


class Known:
    """The members of an archive, compared with what a walk finds, in the walk's order.

    Args:
        archive: the archive.
        by_content: compare what is in files of the same size, whatever their times; else they differ if their times do.
        owners: whether owners are compared.
    """

    def __init__(self, archive: Archive, *, by_content: bool = False, owners: bool = True) -> None:
        self.members = {member.name: member for member in archive}
        """The last of each name."""
        self.kept: set[str] = set()
        """Names that were found on disk, as they are in the archive."""
        self.seen: set[str] = set()
        """Names that were found on disk."""
        self._archive = archive
        self._by_content = by_content
        self._owners = owners
        self._identities: dict[str, Identity] = {}  # of files with several names, by their names

    def changed(self, found: Found) -> bool:
        """Whether the archive has something else of that name, or nothing."""
        name = names.of_member(found.name)
        self.seen.add(name)
        if found.stat.st_nlink > 1:
            self._identities[name] = found.identity
        member = self.members.get(name)
        if member is None or not self._same(member, found):
            return True
        self.kept.add(name)
        return False

    def _same(self, member: Member, found: Found) -> bool:
        state = found.stat
        owner = (member.uid, member.gid) if self._owners else None
        if member.mode != stat.S_IMODE(state.st_mode) or owner not in (None, (state.st_uid, state.st_gid)):
            return False
        if member.islnk():
            return self._same_link(member, found)
        if (tarfile.REGTYPE if member.isreg() else member.type) != TYPES.get(stat.S_IFMT(state.st_mode)):
            return False
        if member.isreg():
            return self._same_file(member, found)
        if member.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            return (member.devmajor, member.devminor) == (os.major(state.st_rdev), os.minor(state.st_rdev))
        return same_time(member, state) and (not member.issym() or link_text(found) == member.linkname)

    def _same_link(self, member: Member, found: Found) -> bool:
        """A hard link is the same if what it is another name of is, on disk as in the archive."""
        target = member.linkname.rstrip("/")
        return target in self.kept and self._identities.get(target) == found.identity

    def _same_file(self, member: Member, found: Found) -> bool:
        if member.size != found.stat.st_size:
            return False
        if not self._by_content:
            return same_time(member, found.stat)
        return same_content(self._archive, member, found)


def same_time(member: Member, state: os.stat_result) -> bool:
    """Whether the time of a member is that of a file, to the nanosecond where the archive has it so."""
    modified = times.stored(state.st_mtime_ns)
    if "mtime" in member.pax_headers:
        return member.mtime == _as_float(modified)
    return member.mtime == modified // 10**9


def _as_float(nanoseconds: int) -> float:
    """A time as readers have it who find it in a header with nine digits."""
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    return float(f"{sign}{rest // 10**9}.{rest % 10**9:09d}")


def link_text(found: Found) -> str | None:
    """Where a symbolic link leads; None if it is none any more."""
    try:
        return names.of_member(os.readlink(found.base, dir_fd=found.folder))
    except OSError:
        return None


def same_content(archive: Archive, member: Member, found: Found) -> bool:
    """Whether a file has a member's data: by the SHA-256 that the archive has, or else by the data itself.

    Raises:
        DamagedError, MissingModelError, MissingCodecError: that cannot be decoded.
    """
    try:
        descriptor = os.open(found.base, _READ, dir_fd=found.folder)
    except OSError:  # whoever packs it says so
        return False
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        sha256 = member.sha256 if member.sparse is None else None
        if sha256 is None:
            sha256 = _hash_of(archive.open(member).read)  # type: ignore[union-attr]
        return _hash_of(file.read) == sha256


def _hash_of(read: Callable[[int], bytes]) -> str:
    sha = hashlib.sha256()
    while data := read(_PIECE):
        sha.update(data)
    return sha.hexdigest()
