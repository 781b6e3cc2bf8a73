"""A member, with what the archive knows of how it is stored."""

from __future__ import annotations

import contextlib
import copy
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zllm.errors import DamagedError

if TYPE_CHECKING:
    from typing_extensions import Self

    from zllm.archive.sections import Section
    from zllm.archive.view import TarView


@dataclass(frozen=True)
class Storage:
    """How a member's data is stored. ``coded_size``: its share of its frames; 0 for what another member has already."""

    coded_size: int = 0
    codecs: tuple[str, ...] = ()
    category: str = ""
    reason: str = ""
    sha256: str | None = None


_MAGIC, _PREFIX = slice(257, 265), 345  # of a header
_OLD_GNU = b"ustar  \0"
_DUMPDIR = b"D"
# Python's name for the archive that a member was read from or made for. Not needed, and not to be copied.
_ARCHIVE = ("tarfile", "_tarfile")


class ZllmInfo(tarfile.TarInfo):
    """A :class:`tarfile.TarInfo` that also tells codecs, coded size, category, reason and SHA-256.

    How it is stored is looked up when it is first asked for, so ask while the archive is open. Deep copies and pickles
    know it without the archive; copies and what :meth:`replace` returns ask the same archive.
    """

    _view: TarView | None = None
    _storage: Storage | None = None
    stored: tuple[int, int] = (0, 0)
    """Where the data begins in the tar stream, and how many bytes it has there: of a sparse member, what is no hole."""
    _exact: tuple[float, int] | None = None
    _holes_stored = False

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """As in tarfile. But in GNU's old format, where incremental archives have times, there is no prefix."""
        info = super().frombuf(buf, encoding, errors)
        if buf[_MAGIC] == _OLD_GNU and buf[_PREFIX] and info.type not in tarfile.GNU_TYPES:
            name = bytes(buf[:100]).split(b"\0", 1)[0].decode(encoding, errors)
            info.name = name.rstrip("/") if info.isdir() else name
        return info

    def isdir(self) -> bool:
        """As in tarfile; the folders of ``tar --listed-incremental``, whose data is a list of names, as well."""
        return super().isdir() or self.type == _DUMPDIR

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
        from zllm.archive import paxheader

        exact = self._exact[1] if self._exact is not None and self._exact[0] == self.mtime else None
        extra = dict(self.pax_headers)
        if not self._holes_stored:  # of a member that was read: its data is given without the map, holes as zeros
            extra = {keyword: value for keyword, value in extra.items() if not keyword.startswith("GNU.sparse.")}
        return paxheader.build(info, extra, encoding, exact)

    def store_holes(self, name: str, real_size: int) -> None:
        """Make it a member in GNU's sparse format 1.0: ``size`` and the data include the map of what is no hole.

        Programs that do not know the format find the file under another name, so that nobody takes it for whole.
        """
        self._holes_stored = True
        folder, slash, base = name.rpartition("/")
        self.name = f"{folder}{slash}GNUSparseFile.0/{base}"
        self.pax_headers = {
            **self.pax_headers, "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": name,
            "GNU.sparse.realsize": str(real_size),
        }  # fmt: skip

    def __copy__(self) -> ZllmInfo:
        return _restored(type(self), {**_fields(self), **vars(self)})

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
    def of_stream(cls, view: TarView, name: str, size: int) -> ZllmInfo:
        """A stream that is no tar, all ``size`` bytes of it, as if it were a member."""
        info = cls(name)
        info.size, info.offset_data, info._view = size, 0, view
        return info

    @property
    def storage(self) -> Storage:
        """All of it at once; empty for a member that is only about to be written.

        Raises:
            ValueError: the archive is closed.
            tarfile.StreamError: the archive is a pipe that has gone on.
        """
        if self._storage is None:
            self._storage = self._looked_up()
        return self._storage

    def _looked_up(self) -> Storage:
        if self._view is None:
            return Storage()
        if self._view.closed:
            raise ValueError(f"{self.name}: the archive is closed, so how it is stored cannot be looked up any more")
        try:
            with self._view.lock:
                return storage_of(self._view, self)
        except OSError as exc:
            if self._view.seekable():
                raise
            raise tarfile.StreamError(f"{self.name}: the pipe has gone on: ask before the next member") from exc

    @property
    def coded_size(self) -> int:
        """Bytes in the archive: this member's share of its frames."""
        return self.storage.coded_size

    @property
    def codecs(self) -> tuple[str, ...]:
        """Names of the codecs of its frames; empty if it has no data."""
        return self.storage.codecs

    @property
    def category(self) -> str:
        """What the data was taken for: text, structured, tensor, audio, compressed, binary."""
        return self.storage.category

    @property
    def reason(self) -> str:
        """Why it is stored that way."""
        return self.storage.reason

    @property
    def sha256(self) -> str | None:
        """SHA-256 of the data as it is in the tar stream, hexadecimal; None if it is not stored: of small members."""
        return self.storage.sha256


def _fields(info: tarfile.TarInfo) -> dict[str, Any]:
    """What a TarInfo keeps in slots, whatever this Python's TarInfo has."""
    slots = (slot for kind in type(info).__mro__ for slot in vars(kind).get("__slots__", ()))
    return {slot: getattr(info, slot) for slot in slots if slot not in _ARCHIVE and hasattr(info, slot)}


def _restored(kind: type[ZllmInfo], fields: dict[str, Any]) -> ZllmInfo:
    info = kind.__new__(kind)
    for name, value in fields.items():
        setattr(info, name, value)
    return info


def storage_of(view: TarView, info: tarfile.TarInfo) -> Storage:
    """How a member is stored, from the section maps; nothing is decoded."""
    from zllm.codecs import registry
    from zllm.planner.reasons import describe

    coded = 0.0
    codecs: dict[str, None] = {}
    category = reason = ""
    sha256: str | None = None
    try:
        for section, number in _parts(view, info.offset_data):
            chart = section.chart
            record = chart.records[number]
            sha256 = record.sha256.hex() or None
            for extent in chart.extents(number, 0, record.data_size):
                row = chart.frames[extent.frame]
                codecs[registry.name_of(row.codec)] = None
                coded += row.coded_size * extent.size / row.raw_size if record.same < 0 else 0
                category = category or _category(chart.categories[extent.frame])
                reason = reason or describe(row.reason, row.rival)
            if record.same >= 0:
                reason = "same content as an earlier member"
    except DamagedError:
        sha256 = None
    return Storage(round(coded), tuple(codecs), category, reason, sha256)


def _category(number: int) -> str:
    from zllm.format.category import Category

    try:
        return Category(number).name.lower()
    except ValueError:
        return f"category {number}"


def _parts(view: TarView, position: int) -> Iterator[tuple[Section, int]]:
    """The records that have the data of the member with data at ``position``."""
    section = view.section_at(position)
    while section is not None:
        chart = section.chart
        number = chart.place(position - section.header.stream_offset).record
        record = chart.records[number]
        if (
            not chart.data_start(number)
            <= position - section.header.stream_offset
            < (chart.data_start(number) + record.data_size)
        ):
            return
        yield section, number
        if not section.header.continues or number < len(chart.records) - 1 or not view.seekable():
            return
        position = section.header.stream_offset + section.header.stream_size
        section = view.section_at(position)
