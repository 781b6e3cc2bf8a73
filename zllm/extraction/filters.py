"""Extraction filters as the newest :mod:`tarfile` has them, on every Python: ``data``, ``tar`` and ``fully_trusted``.

Exceptions are those of :mod:`tarfile` where it has them, so that ``except tarfile.FilterError`` catches them.
"""

from __future__ import annotations

import copy
import errno
import os
import stat
import tarfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

_MAX_LINKS = 40  # as Linux has it

if TYPE_CHECKING or hasattr(tarfile, "FilterError"):
    from tarfile import (
        AbsoluteLinkError,
        AbsolutePathError,
        FilterError,
        LinkOutsideDestinationError,
        OutsideDestinationError,
        SpecialFileError,
    )
else:

    class FilterError(tarfile.TarError):
        """A member was refused. ``tarinfo``: the member."""

        def __init__(self, tarinfo, message):
            self.tarinfo = tarinfo
            super().__init__(message)

    class AbsolutePathError(FilterError):
        """Its name is absolute."""

        def __init__(self, tarinfo):
            super().__init__(tarinfo, f"member {tarinfo.name!r} has an absolute path")

    class OutsideDestinationError(FilterError):
        """It would be outside of the folder extracted to."""

        def __init__(self, tarinfo, path):
            super().__init__(tarinfo, f"{tarinfo.name!r} would be extracted to {path!r}, outside the destination")

    class SpecialFileError(FilterError):
        """It is a device or a pipe."""

        def __init__(self, tarinfo):
            super().__init__(tarinfo, f"{tarinfo.name!r} is a special file")

    class AbsoluteLinkError(FilterError):
        """It is a link to an absolute name."""

        def __init__(self, tarinfo):
            super().__init__(tarinfo, f"{tarinfo.name!r} is a link to an absolute path")

    class LinkOutsideDestinationError(FilterError):
        """It is a link that leads out of the folder extracted to."""

        def __init__(self, tarinfo, path):
            super().__init__(tarinfo, f"{tarinfo.name!r} would link to {path!r}, outside the destination")


__all__ = [
    "NAMED", "AbsoluteLinkError", "AbsolutePathError", "FilterError", "LinkOutsideDestinationError",
    "OutsideDestinationError", "SpecialFileError", "data_filter", "fully_trusted_filter", "tar_filter",
]  # fmt: skip

Filter = Callable[[tarfile.TarInfo, str], "tarfile.TarInfo | None"]


def fully_trusted_filter(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
    """The member as it is."""
    return member


def tar_filter(member: tarfile.TarInfo, path: str, *, places: bool = True) -> tarfile.TarInfo:
    """The member with a relative name, and without special bits and write permission for others.

    ``places``: whether links on disk may put it outside. Where they are replaced, not followed, they cannot.

    Raises:
        FilterError: it would be outside of the folder ``path``.
        OSError: where it would be cannot be found out.
    """
    changes = _inside(member, path, places=places)
    if member.mode is not None:
        changes["mode"] = member.mode & 0o755
    return _changed(member, changes)


def data_filter(member: tarfile.TarInfo, path: str, *, places: bool = True) -> tarfile.TarInfo:
    """As :func:`tar_filter`; without owners, files readable and writable for their owner, folders with default modes.

    Raises:
        FilterError: it would be outside of the folder ``path``, is a link that leads there, or is a device or a pipe.
        OSError: where it would be, or lead, cannot be found out.
    """
    changes = _inside(member, path, places=places)
    mode = member.mode
    if member.isreg() or member.islnk():
        if mode is not None:
            mode &= 0o755 if mode & 0o100 else 0o644
            changes["mode"] = mode | 0o600
    elif member.isdir() or member.issym():
        changes["mode"] = None
    else:
        raise SpecialFileError(member)
    changes.update(uid=None, gid=None, uname=None, gname=None)
    if member.islnk() or member.issym():
        changes["linkname"] = _link_inside(member, changes.get("name", member.name), path)
    return _changed(member, changes)


NAMED: dict[str, Filter] = {"data": data_filter, "tar": tar_filter, "fully_trusted": fully_trusted_filter}


def _inside(member: tarfile.TarInfo, path: str, *, places: bool) -> dict[str, Any]:
    name = member.name.lstrip("/")
    if places:
        destination = _real(path)
        target = _real(os.path.join(destination, name))
        if not _below(target, destination):
            raise OutsideDestinationError(member, target)
    return {} if name == member.name else {"name": name}


def _link_inside(member: tarfile.TarInfo, name: str, path: str) -> str:
    """The normalised target: ``a/../b`` must not depend on what ``a`` is when the link is followed."""
    if os.path.isabs(member.linkname):
        raise AbsoluteLinkError(member)
    linkname = os.path.normpath(member.linkname)
    start = os.path.dirname(name.rstrip("/")) if member.issym() else ""
    destination = _real(path)
    for way in (member.linkname, linkname):
        target = _real(os.path.join(destination, start, way))
        if not _below(target, destination):
            raise LinkOutsideDestinationError(member, target)
    return linkname


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _real(path: str) -> str:
    """The path without links; what does not exist is taken for a folder without links.

    Unlike :func:`os.path.realpath`, it never gives up silently: a path that is too long, or a loop, is an OSError.
    """
    start = _encoded(os.fspath(path))
    if b"\0" in start:
        raise OSError(errno.EINVAL, "a name with a NUL")
    waiting = os.path.join(os.getcwdb(), start).split(b"/")[::-1]
    current, links = b"/", 0
    while waiting:
        part = waiting.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            current = os.path.dirname(current)
            continue
        following = os.path.join(current, part)
        try:
            is_link = stat.S_ISLNK(os.lstat(following).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            is_link = False
        if not is_link:
            current = following
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fsdecode(following))
        target = os.readlink(following)
        if target.startswith(b"/"):
            current = b"/"
        waiting += target.split(b"/")[::-1]
    return os.fsdecode(current)


def _encoded(path: str) -> bytes:
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:  # names of members may have what the locale lacks
        return path.encode("utf-8", "surrogateescape")


def _changed(member: tarfile.TarInfo, changes: dict[str, Any]) -> tarfile.TarInfo:
    if all(getattr(member, key) == value for key, value in changes.items()):
        return member
    result = copy.copy(member)
    for key, value in changes.items():
        setattr(result, key, value)
    return result
