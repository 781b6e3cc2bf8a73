"""A member, with what the archive knows of how it is stored."""

from __future__ import annotations

import contextlib
import copy
import tarfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zllm.archive import storage
from zllm.archive.oddheaders import Parsed
from zllm.archive.storage import Storage, Stored

if TYPE_CHECKING:
    from zllm.archive.member import Member
    from zllm.archive.view import TarView
    from zllm.format.headerunits import Plain


# Python's name for the archive that a member was read from or made for. Not needed, and not to be copied.
_ARCHIVE = ("tarfile", "_tarfile")
_UNSET: Any = object()
_SLOTS: dict[type, tuple[str, ...]] = {}


class ZllmInfo(Stored, Parsed):
    """A :class:`tarfile.TarInfo` that also tells codecs, coded size, category, reason and SHA-256.

    How it is stored is looked up when it is first asked for, so ask while the archive is open. Deep copies and pickles
    know it without the archive; copies and what :meth:`replace` returns ask the same archive.
    """

    _view: TarView | None = None
    _storage: Storage | None = None
    stored: tuple[int, int] = (0, 0)
    """Where the data begins in the tar stream, and how many bytes it has there: of a sparse member, without holes."""
    _exact: tuple[float, int] | None = None
    _holes_stored = False

    def set_mtime_ns(self, nanoseconds: int) -> None:
        """Set the time exactly; ``mtime`` becomes the float, or the integer, that is next to it."""
        seconds, fraction = divmod(nanoseconds, 10**9)
        self.mtime = seconds if not fraction else nanoseconds / 1e9
        self.keep_exact(nanoseconds)

    def keep_exact(self, nanoseconds: int) -> None:
        """``mtime`` is this time, rounded: for as long as it is not changed, the exact one is stored."""
        self._exact = self.mtime, nanoseconds

    def create_pax_header(self, info: Any, encoding: str) -> bytes:
        """As in tarfile, with exact times (:meth:`set_mtime_ns`) and names that keep their bytes (`paxheader`)."""
        return self.headers(info, encoding).build()

    def headers(self, info: Mapping[str, Any], encoding: str) -> Plain:
        """The same headers, not as bytes; ``info`` is what :meth:`get_info` gives.

        Raises:
            ValueError: text that cannot be encoded, or a number that no header can hold.
        """
        from zllm.archive import paxheader

        exact = self._exact[1] if self._exact is not None and self._exact[0] == self.mtime else None
        extra = self.pax_headers
        if extra and not self._holes_stored:  # of a member that was read: its data is given with holes as zeros
            extra = {keyword: value for keyword, value in extra.items() if not keyword.startswith("GNU.sparse.")}
        return paxheader.headers(info, extra, encoding, exact)

    def store_holes(self, name: str, real_size: int) -> None:
        """Make it a member in GNU's sparse format 1.0: ``size`` and the data include the map of extents.

        Programs that do not know the format find the file under another name, so that it is not taken for whole.
        """
        self._holes_stored = True
        folder, slash, base = name.rpartition("/")
        self.name = f"{folder}{slash}GNUSparseFile.0/{base}"
        self.pax_headers = {
            **self.pax_headers, "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": name,
            "GNU.sparse.realsize": str(real_size),
        }  # fmt: skip

    def __copy__(self) -> ZllmInfo:
        kind = type(self)
        other = kind.__new__(kind)
        for slot in _slots(kind):
            if (value := getattr(self, slot, _UNSET)) is not _UNSET:
                setattr(other, slot, value)
        vars(other).update(vars(self))
        return other

    if not hasattr(tarfile.TarInfo, "replace"):  # Pythons without filters, such as 3.11.2

        def replace(self, *, deep: bool = True, **changes: Any) -> ZllmInfo:
            """A copy with other attributes, as filters return: ``name``, ``mtime``, ``mode``, ``linkname``, ``uid``,
            ``gid``, ``uname`` or ``gname``. Not ``deep``: it shares the dictionary of pax headers.
            """
            unknown = changes.keys() - {"name", "mtime", "mode", "linkname", "uid", "gid", "uname", "gname"}
            if unknown:
                raise TypeError(f"replace() got an unexpected keyword argument {min(unknown)!r}")
            result = copy.deepcopy(self) if deep else copy.copy(self)
            for name, value in changes.items():
                setattr(result, name, value)
            return result

    def __reduce__(self) -> tuple[Any, ...]:
        kept = {**_fields(self), **vars(self), "_view": None}
        with contextlib.suppress(ValueError, OSError, tarfile.TarError):  # the archive is closed, or a pipe
            kept["_storage"] = self.storage
        return _restored, (type(self), kept)

    @classmethod
    def of(cls, member: Member, checksum: int) -> ZllmInfo:
        """The member as tarfile's users know it."""
        info = cls(member.name)
        info.size, info.mode, info.mtime, info.type = member.size, member.mode, member.mtime, member.type
        info.linkname, info.uid, info.gid = member.linkname, member.uid, member.gid
        info.uname, info.gname = member.uname, member.gname
        info.devmajor, info.devminor = member.devmajor, member.devminor
        info.offset, info.offset_data, info.stored = member.offset, member.offset_data, member.stored
        if member.pax is not None:
            info.pax_headers = member.pax_headers
        info._view, info.chksum = member.view, checksum
        return info

    @property
    def storage(self) -> Storage:
        """All of it at once; empty for a member that is only about to be written.

        Raises:
            ValueError: the archive is closed.
            tarfile.StreamError: the archive is a pipe that has gone on.
        """
        if self._storage is None:
            self._storage = storage.look_up(self._view, self.name, self.offset_data)
        return self._storage


def _fields(info: tarfile.TarInfo) -> dict[str, Any]:
    """What a TarInfo keeps in slots."""
    return {slot: getattr(info, slot) for slot in _slots(type(info)) if hasattr(info, slot)}


def _slots(kind: type[tarfile.TarInfo]) -> tuple[str, ...]:
    """Where a TarInfo keeps what it knows, whatever this Python's TarInfo has."""
    if kind not in _SLOTS:
        slots = (slot for base in kind.__mro__ for slot in vars(base).get("__slots__", ()))
        _SLOTS[kind] = tuple(slot for slot in slots if slot not in _ARCHIVE)
    return _SLOTS[kind]


def _restored(kind: type[ZllmInfo], fields: dict[str, Any]) -> ZllmInfo:
    info = kind.__new__(kind)
    for name, value in fields.items():
        setattr(info, name, value)
    return info
