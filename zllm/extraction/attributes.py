"""Mode, owner, times and extended attributes of what was extracted: what they should be, and setting them."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import stat
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from zllm.format import extended

_DECIMAL = re.compile(r"([+-]?)([0-9]{1,30})(?:\.([0-9]*))?")
_SPECIAL = 0o7000
_CAPABILITY = "security.capability"


def nanoseconds(text: str) -> int | None:
    """The exact nanoseconds of a pax time, cut off (towards the past) after nine digits; None if it is not one."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        return None
    fraction = match[3] or ""
    value = int(match[2]) * 10**9 + int(fraction[:9].ljust(9, "0"))
    if match[1] == "-":
        return -value - any(digit != "0" for digit in fraction[9:])
    return value


def modified(member: tarfile.TarInfo) -> int | None:
    """When the member was modified, in nanoseconds; None if it does not say, or not in finite numbers.

    The text of a pax header is exact; :attr:`tarfile.TarInfo.mtime` is a float of it. A member whose time was changed
    since gets that one.
    """
    seconds: float | None = member.mtime
    if seconds is None:
        return None
    text = member.pax_headers.get("mtime")
    if text is not None:
        exact = nanoseconds(text)
        with contextlib.suppress(ValueError, OverflowError):
            if exact is not None and float(text) == seconds:
                return exact
    if isinstance(seconds, int):
        return seconds * 10**9
    return round(seconds * 10**9) if math.isfinite(seconds) and abs(seconds) < 2**62 else None


def current_umask() -> int:
    """The permissions that new files of this process do not get."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


@dataclass(frozen=True)
class Policy:
    """What is restored beside names and data, and how."""

    umask: int = 0
    """Permissions that are withheld."""
    special_bits: bool = False
    """Set-user-id, set-group-id and sticky bits are restored."""
    owners: bool = False
    numeric_owner: bool = False
    """Owners are found by their numbers, not by their names."""
    devices: bool = False
    xattrs: Callable[[str], bool] | None = None
    """Whether the extended attribute of that name is restored; None: none is."""
    acls: bool = False
    """Access control lists are restored."""
    keep: bool = False
    """What exists is not replaced."""
    now: int | None = None
    """The time of last access, in nanoseconds; None: the same as that of modification."""


@dataclass(frozen=True)
class Attributes:
    """Of one entry. None: left as it is."""

    mode: int | None = None
    owner: tuple[int, int] | None = None
    times: tuple[int, int] | None = None
    """Of last access and of modification, in nanoseconds."""
    extended: tuple[tuple[str, Callable[[], bytes]], ...] = ()
    """Names of extended attributes, access control lists among them, and what gives their values or raises ValueError.
    Links, pipes and devices get none."""


class Owners:
    """Looks owners up, each once."""

    def __init__(self) -> None:
        self._users: dict[str, int | None] = {}
        self._groups: dict[str, int | None] = {}

    def of(self, member: tarfile.TarInfo, *, numeric: bool) -> tuple[int, int]:
        """User and group: by their names if they exist here, else by the numbers; -1 where the member has neither."""
        user, group = member.uid, member.gid
        if not numeric and member.uname:
            user = self._user(member.uname, user)
        if not numeric and member.gname:
            group = self._group(member.gname, group)
        return (-1 if user is None else user), (-1 if group is None else group)

    def _user(self, name: str, number: int) -> int:
        found = self.user(name)
        return number if found is None else found

    def _group(self, name: str, number: int) -> int:
        found = self.group(name)
        return number if found is None else found

    def user(self, name: str) -> int | None:
        """The user's number here; None if there is no such user."""
        if name not in self._users:
            self._users[name] = None
            with contextlib.suppress(ImportError, KeyError, ValueError):
                import pwd

                self._users[name] = pwd.getpwnam(name).pw_uid
        return self._users[name]

    def group(self, name: str) -> int | None:
        """The group's number here; None if there is no such group."""
        if name not in self._groups:
            self._groups[name] = None
            with contextlib.suppress(ImportError, KeyError, ValueError):
                import grp

                self._groups[name] = grp.getgrnam(name).gr_gid
        return self._groups[name]


def wanted(member: tarfile.TarInfo, policy: Policy, owners: Owners) -> Attributes:
    """What the member's entry should get."""
    mode: int | None = member.mode
    if mode is not None:
        mode = mode & (0o7777 if policy.special_bits else 0o777) & ~policy.umask
    time = modified(member)
    owner = owners.of(member, numeric=policy.numeric_owner) if policy.owners else (-1, -1)
    return Attributes(
        mode,
        None if owner == (-1, -1) else owner,
        None if time is None else (time if policy.now is None else policy.now, time),
        _extended(member, policy, owners),
    )


def _extended(member: tarfile.TarInfo, policy: Policy, owners: Owners) -> tuple[tuple[str, Callable[[], bytes]], ...]:
    records = member.pax_headers
    if not records or not (policy.xattrs or policy.acls):
        return ()
    found: list[tuple[str, Callable[[], bytes]]] = []
    if policy.xattrs:
        found += [
            (name, partial(bytes, value)) for name, value in extended.attributes_of(records) if policy.xattrs(name)
        ]
    if policy.acls:
        user, group = (_nobody, _nobody) if policy.numeric_owner else (owners.user, owners.group)
        for keyword, name in extended.ACLS.items():
            if keyword in records:
                found.append((name, partial(extended.acl_value, records[keyword], user, group)))
    return tuple(found)


def _nobody(_: str) -> None:
    """Names are not looked up."""


Failed = Callable[[str, Exception], None]
"""Hears what could not be set ("owner", "mode", "time", "extended attribute NAME"), and why."""


def _attempt(what: str, failed: Failed, call: Callable[[], None]) -> bool:
    try:
        call()
    except (OSError, OverflowError, ValueError) as exc:
        failed(what, exc)
        return False
    return True


def to_descriptor(descriptor: int, attributes: Attributes, failed: Failed) -> None:
    """Set the attributes of an open file or folder."""
    mode, owner, times = attributes.mode, attributes.owner, attributes.times
    own = owner is None or _attempt("owner", failed, lambda: os.fchown(descriptor, *owner))
    if not own and mode is not None:
        mode &= ~_SPECIAL  # or it would run as somebody else than it was meant to
    if mode is not None:
        _attempt("mode", failed, lambda: os.fchmod(descriptor, mode))
    for name, value in attributes.extended:  # a new owner would take capabilities away, a new mode change a list's mask
        if name == _CAPABILITY and not own:
            continue  # for the same reason
        what = "access control list" if name in extended.ACLS.values() else f"extended attribute {name}"
        _attempt(what, failed, partial(_set_extended, descriptor, name, value))
    if times is not None:
        _attempt("time", failed, lambda: os.utime(descriptor, ns=times))


def _set_extended(descriptor: int, name: str, value: Callable[[], bytes]) -> None:
    if not hasattr(os, "setxattr"):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    os.setxattr(descriptor, name, value())


def to_name(folder: int, name: bytes, attributes: Attributes, failed: Failed) -> None:
    """Set the attributes of a new entry that cannot be opened: a link (then without a mode), a pipe, a device."""
    mode, owner, times = attributes.mode, attributes.owner, attributes.times
    if owner is not None:
        _attempt("owner", failed, lambda: os.chown(name, *owner, dir_fd=folder, follow_symlinks=False))
    if mode is not None:
        _attempt("mode", failed, lambda: _set_mode(folder, name, mode))
    if times is not None:
        _attempt("time", failed, lambda: os.utime(name, ns=times, dir_fd=folder, follow_symlinks=False))


def _set_mode(folder: int, name: bytes, mode: int) -> None:
    """Of a pipe or device; not of what another process puts in its place, such as a link."""
    if not hasattr(os, "O_PATH"):
        os.chmod(name, mode, dir_fd=folder, follow_symlinks=False)
        return
    own = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        kind = os.fstat(own).st_mode
        if stat.S_ISLNK(kind) or stat.S_ISREG(kind) or stat.S_ISDIR(kind):
            raise OSError(errno.EEXIST, "it was replaced meanwhile")
        os.chmod(b"/proc/self/fd/%d" % own, mode)
    finally:
        os.close(own)


def with_mode(attributes: Attributes, mode: int | None) -> Attributes:
    """The same with another mode; None for links, which have none."""
    return replace(attributes, mode=mode)
