"""A member of an archive: what its headers say, and how it is stored."""

from __future__ import annotations

import functools
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from zllm.archive import storage
from zllm.archive.storage import Storage, Stored
from zllm.format.headerunits import Pax, Plain

if TYPE_CHECKING:
    from zllm.archive.finding import Header
    from zllm.archive.view import TarView

_FOLDERS = (tarfile.DIRTYPE, b"D")  # D: of ``tar --listed-incremental``, whose data is a list of names
_MAGIC, _OLD_GNU = slice(25, 33), b"ustar  \0"  # of a profile
_ONLY_TIME = (b"mtime",)
_REGULAR = (b"0", b"\0", b"7")
_PREFIX_SIZE = 155
_MAX_DIGITS = 20  # of a size: more, and it is none


@dataclass(slots=True)
class Member(Stored):
    """What the headers say. Names are UTF-8, other bytes surrogate escapes; numbers are as :class:`tarfile.TarInfo` has
    them, and so is ``type``. Nothing is decoded for them.

    ``offset`` and ``offset_data`` are where headers and data begin in the tar stream, ``stored`` where the data begins
    and how many bytes it has there: of a sparse member, without its holes. ``sparse``: offset and size of each
    extent between holes.
    """

    name: str
    size: int
    mtime: float
    linkname: str
    offset: int
    offset_data: int
    stored: tuple[int, int]
    view: TarView = field(repr=False, compare=False)
    pax: Pax | dict[str, str] | None = field(repr=False)
    mode: int
    type: bytes
    uid: int
    gid: int
    uname: str
    gname: str
    devmajor: int
    devminor: int
    sparse: list[tuple[int, int]] | None = None
    _storage: Storage | None = field(default=None, repr=False, compare=False)

    def isreg(self) -> bool:
        """Whether it is a file."""
        return self.type in _REGULAR or self.type == tarfile.GNUTYPE_SPARSE

    def isdir(self) -> bool:
        """Whether it is a folder."""
        return self.type in _FOLDERS

    def issym(self) -> bool:
        """Whether it is a symbolic link."""
        return self.type == tarfile.SYMTYPE

    def islnk(self) -> bool:
        """Whether it is a hard link."""
        return self.type == tarfile.LNKTYPE

    def isfifo(self) -> bool:
        """Whether it is a pipe."""
        return self.type == tarfile.FIFOTYPE

    def isdev(self) -> bool:
        """Whether it is a device or a pipe."""
        return self.type in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)

    @property
    def pax_headers(self) -> dict[str, str]:
        """The records of its pax header."""
        if not isinstance(self.pax, Pax):
            return self.pax or {}
        return {
            key.decode("utf-8", "surrogateescape"): value.decode("utf-8", "surrogateescape")
            for key, value in zip(self.pax.keys, self.pax.values, strict=True)
        }

    @property
    def storage(self) -> Storage:
        """How it is stored, looked up when it is first asked for.

        Raises:
            ValueError: the archive is closed.
            tarfile.StreamError: the archive is a pipe that has gone on.
        """
        if self._storage is None:
            self._storage = storage.look_up(self.view, self.name, self.offset_data)
        return self._storage


def of_stream(view: TarView, name: str, size: int) -> Member:
    """A stream that is not a tar, all ``size`` bytes of it, as if it were a member."""
    owner = _Profile(0o644, tarfile.REGTYPE, 0, 0, "", "", 0, 0)
    return Member(name, size, 0, "", 0, 0, (0, size), view, None, *owner)


def of_parsed(view: TarView, info: tarfile.TarInfo, found: Header) -> Member:
    """A member with the facts that :mod:`tarfile` has found."""
    owner = _Profile(
        info.mode, info.type, info.uid, info.gid, info.uname, info.gname, info.devmajor, info.devminor
    )  # fmt: skip
    return Member(
        info.name, info.size, info.mtime, info.linkname, info.offset, info.offset_data, (found.data_start, found.size),
        view, dict(info.pax_headers), *owner, getattr(info, "sparse", None),
    )  # fmt: skip


def of_plain(view: TarView, position: int, blocks: Plain) -> Member | None:
    """A member with the facts in plain headers, the same that :mod:`tarfile` finds in their bytes, which are not made;
    None if that is not sure.
    """
    header_size, data, profile, field_name, link, rest, size, mtime, _, pax = blocks
    owner = _profile(profile)
    if owner is None or b"\0" in field_name or b"\0" in link:
        return None
    if pax is not None and _profile(pax.profile) is None:  # to tarfile, there is no header then
        return None
    kind, name = owner.type, field_name.decode("utf-8", "surrogateescape")
    if kind == tarfile.AREGTYPE and name.endswith("/"):
        owner = owner._replace(type=tarfile.DIRTYPE)
        kind = owner.type
    if rest and profile[_MAGIC] != _OLD_GNU and (prefix := _text(rest[:_PREFIX_SIZE])):
        name = f"{prefix}/{name}"
    if kind in _FOLDERS:
        name = name.rstrip("/")
    start = position + header_size
    linkname = link.decode("utf-8", "surrogateescape") if link else ""
    if kind in _REGULAR:
        size = data
    member = Member(name, size, mtime, linkname, position, start, (start, data), view, pax, *owner)
    return member if pax is None or _apply(pax, member) else None


def _apply(pax: Pax, member: Member) -> bool:
    """Whether all that an extended header says of a member could be set."""
    if pax.keys == _ONLY_TIME:
        try:
            member.mtime = float(pax.values[0])
            return True
        except ValueError:
            pass
    setters = _setters(pax.keys)
    if setters is None or any(b"hdrcharset=" in value for value in pax.values):
        return False
    return all(setter is None or setter(member, value) for setter, value in zip(setters, pax.values, strict=True))


class _Profile(NamedTuple):
    mode: int
    type: bytes
    uid: int
    gid: int
    uname: str
    gname: str
    devmajor: int
    devminor: int


@functools.lru_cache(maxsize=1024)
def _profile(profile: bytes) -> _Profile | None:
    """What seldom changes in a header block (:class:`headerunits.Block`); None if it makes no sense to tarfile."""
    try:
        mode, uid, gid = (tarfile.nti(profile[start : start + 8]) for start in (0, 8, 16))  # type: ignore[attr-defined]
        major, minor = (tarfile.nti(profile[start : start + 8]) for start in (97, 105))  # type: ignore[attr-defined]
    except (tarfile.TarError, ValueError):
        return None
    return _Profile(mode, profile[24:25], uid, gid, _text(profile[33:65]), _text(profile[65:97]), major, minor)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


_Setter = Callable[[Member, bytes], bool]


def _set_path(member: Member, value: bytes) -> bool:
    member.name = value.decode("utf-8", "surrogateescape").rstrip("/")
    return bool(value)


def _set_size(member: Member, value: bytes) -> bool:
    if member.type not in _REGULAR and value.isdigit():
        member.size = int(value)
    return value.isdigit() and len(value) < _MAX_DIGITS  # what data there is follows from it: Plain.data_size


def _set_mtime(member: Member, value: bytes) -> bool:
    try:
        member.mtime = float(value.decode("utf-8", "surrogateescape"))
    except ValueError:
        member.mtime = 0
    return True


def _set_text(field_name: str, member: Member, value: bytes) -> bool:
    setattr(member, field_name, value.decode("utf-8", "surrogateescape"))
    return True


def _set_number(field_name: str, member: Member, value: bytes) -> bool:
    try:
        number = int(value.decode("utf-8", "surrogateescape"))
    except ValueError:
        number = 0
    setattr(member, field_name, number)
    return True


_SETTERS: dict[bytes, _Setter] = {
    b"path": _set_path, b"size": _set_size, b"mtime": _set_mtime,
    b"linkpath": functools.partial(_set_text, "linkname"), b"uname": functools.partial(_set_text, "uname"),
    b"gname": functools.partial(_set_text, "gname"), b"uid": functools.partial(_set_number, "uid"),
    b"gid": functools.partial(_set_number, "gid"),
}  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _setters(keys: tuple[bytes, ...]) -> tuple[_Setter | None, ...] | None:
    """What becomes of pax records with these keywords; None if they change more than fields."""
    if any(not key or key == b"hdrcharset" or key.startswith(b"GNU.sparse.") for key in keys):
        return None
    return tuple(_SETTERS.get(key) for key in keys)
