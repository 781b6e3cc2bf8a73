"""Archives for fsspec: the file system ``zllm://MEMBER::URL`` and the compression ``zllm``.

fsspec finds the file system by itself where zllm is installed; importing this module registers both.
"""

from __future__ import annotations

import os
import stat
import tarfile
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import fsspec
from fsspec.archive import AbstractArchiveFileSystem
from fsspec.compression import register_compression
from fsspec.implementations.cached import CachingFileSystem
from fsspec.implementations.local import LocalFileSystem

from zllm.archive.archive import MAX_LINKS, Archive
from zllm.archive.memberfile import MemberFile
from zllm.archive.options import ReadOptions, taken_from
from zllm.errors import LinkTargetError
from zllm.integrations.ranges import RangeFile
from zllm.streams.file import ZllmStream

if TYPE_CHECKING:
    from zllm.archive.member import Member

PROTOCOL = COMPRESSION = SUFFIX = "zllm"
_KINDS = {b"0": stat.S_IFREG, b"1": stat.S_IFREG, b"2": stat.S_IFLNK, b"5": stat.S_IFDIR}
_COPY = 1 << 20


class ZllmFileSystem(AbstractArchiveFileSystem):  # type: ignore[misc]
    """The members of an archive, to be read.

    What is remote is read by ranges: opening reads the directory at the end, and opening one member by its name reads
    the map of its section (of an archive of several sections) and its frames. Listing reads all maps. Of members with
    the same name the last one is there. An archive of one raw stream has one member, called ``-``. Threads may share
    it; other processes open it again, which takes an ``fo`` that is a name.

    Args:
        fo: a name or URL, or a binary file object.
        target_protocol: of ``fo``, if it does not say.
        target_options: for the file system of ``fo``.
        options: those of :class:`zllm.archive.options.ReadOptions`, such as ``model``, ``limits`` and ``generation``,
            and of any fsspec file system.

    Raises:
        NotZllmError, DamagedError, UnsupportedVersionError, LimitError: as :class:`zllm.archive.archive.Archive`.
        OSError: ``fo`` cannot be read.
    """

    root_marker = ""
    protocol = PROTOCOL
    cachable = False

    def __init__(
        self,
        fo: Any = "",
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        reading = taken_from(options, ReadOptions)
        super().__init__(**options)
        self._own: Any = None
        self.fo = self._file(fo, target_protocol, target_options or {})
        try:
            self.archive = Archive(self.fo, reading)
        except BaseException:
            self.close()
            raise
        self.dir_cache: dict[str, dict[str, Any]] | None = None
        self._members: dict[str, Member] = {}
        self._children: dict[str, list[str]] = {}

    def _file(self, fo: Any, protocol: str | None, options: dict[str, Any]) -> BinaryIO:
        """What is to be read; ``_own`` is closed with the file system."""
        if not isinstance(fo, (str, os.PathLike)):
            return cast(BinaryIO, fo.open() if isinstance(fo, fsspec.core.OpenFile) else fo)
        place = fsspec.open(os.fspath(fo), "rb", protocol=protocol, **options)
        if isinstance(place.fs, (LocalFileSystem, CachingFileSystem)):
            self._own = place.open()
        elif size := place.fs.info(place.path).get("size"):
            self._own = RangeFile(place.fs, place.path, size)
        else:
            self._own = _copied(place)
        return cast(BinaryIO, self._own)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return plain(super()._strip_protocol(path))

    def _get_dirs(self) -> None:
        """Read all maps, once."""
        with self.archive.view.lock:
            if self.dir_cache is not None:
                return
            for member in self.archive.members():
                if name := plain(member.name):
                    self._members.pop(name, None)  # the last one counts, at its place
                    self._members[name] = member
            found: dict[str, dict[str, Any]] = {}
            for name, member in self._members.items():
                found[name] = self._facts(name, member)
            for name in list(found):
                self._add_parents(found, name)
            for name in found:
                self._children.setdefault(name.rpartition("/")[0], []).append(name)
            self.dir_cache = found

    @staticmethod
    def _add_parents(found: dict[str, dict[str, Any]], name: str) -> None:
        while (name := name.rpartition("/")[0]) and name not in found:
            found[name] = {"name": name, "size": 0, "type": "directory"}

    def _facts(self, name: str, member: Member) -> dict[str, Any]:
        """What fsspec is told of a member. A link is what it leads to."""
        target = self._target(name, member)
        kind = "other" if target is None or not _has_data(target) else "file"
        if target is not None and target.isdir():
            kind = "directory"
        facts = {
            "name": name, "size": target.size if target is not None and kind == "file" else 0, "type": kind,
            "mode": member.mode | _KINDS.get(member.type, 0), "mtime": member.mtime, "uid": member.uid,
            "gid": member.gid, "uname": member.uname, "gname": member.gname, "islink": member.issym(),
        }  # fmt: skip
        if member.linkname:
            facts["destination" if member.issym() else "linkname"] = member.linkname
        return facts

    def _target(self, name: str, member: Member) -> Member | None:
        """What a link leads to, by the names that are known; None if that is nothing."""
        for _ in range(MAX_LINKS):
            if not (member.issym() or member.islnk()):
                return member
            folder = name.rpartition("/")[0] if member.issym() else ""
            name = plain(os.path.normpath("/".join(filter(None, (folder, member.linkname)))))
            found = self._members.get(name)
            if found is None:
                return None
            member = found
        return None

    def _find(self, name: str) -> Member | None:
        """The member of that name: of a long archive without all of its maps."""
        if self.dir_cache is None:
            alone = self.archive.find_alone(name)
            if alone is not None and _has_data(alone):
                return alone
            self._get_dirs()
        return self._members.get(name)

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """What there is of ``path``: ``name``, ``size``, ``type``, and of members ``mode``, ``mtime`` and so on.

        Raises:
            FileNotFoundError: nothing.
        """
        name = self._strip_protocol(path)
        if not name:
            return {"name": "", "size": 0, "type": "directory"}
        member = self._find(name)
        if self.dir_cache is None and member is not None:
            return self._facts(name, member)
        found = (self.dir_cache or {}).get(name)
        if found is None:
            raise FileNotFoundError(2, "no such member", path)
        return found

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        """What is directly below ``path``, by name; of a file, itself.

        Raises:
            FileNotFoundError: there is no ``path``.
        """
        name = self._strip_protocol(path)
        self._get_dirs()
        facts = self.info(name)
        names = sorted(self._children.get(name, [])) if facts["type"] == "directory" else [name]
        return [self.info(one) for one in names] if detail else names

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> MemberFile:
        """The data of a member, as :meth:`zllm.ZllmFile.extractfile`.

        Raises:
            FileNotFoundError: there is no such member, or a link leads to none.
            IsADirectoryError, OSError: it has no data.
            ValueError: a mode for writing.
        """
        if mode != "rb":
            raise ValueError(f"archives are read only: mode must be rb, not {mode!r}")
        name = self._strip_protocol(path)
        member = self._find(name)
        if member is None:
            if self.info(name)["type"] == "directory":
                raise IsADirectoryError(21, "is a folder", path)
            raise FileNotFoundError(2, "no such member", path)
        try:
            with self.archive.view.lock:
                file = MemberFile(self.archive, member) if self.archive.raw else self.archive.open(member)
        except LinkTargetError as error:
            raise FileNotFoundError(2, str(error), path) from error
        if file is None:
            if member.isdir():
                raise IsADirectoryError(21, "is a folder", path)
            raise OSError(22, "a device or a pipe has no data", path)
        vars(file)["size"] = self.info(name)["size"]  # cat_file counts negative offsets from there
        return cast(MemberFile, file)

    def created(self, path: str) -> Any:
        """The same as :meth:`modified`."""
        return self.modified(path)

    def modified(self, path: str) -> Any:
        """When it was changed last.

        Raises:
            FileNotFoundError: there is no such member, or it is a folder that only members below it tell of.
        """
        import datetime

        facts = self.info(path)
        if "mtime" not in facts:
            raise FileNotFoundError(2, "a folder without a time", path)
        return datetime.datetime.fromtimestamp(facts["mtime"], datetime.timezone.utc)

    def close(self) -> None:
        """Close what was opened by name. Files of members cannot be read any more."""
        if self._own is not None:
            self._own.close()


def plain(name: str) -> str:
    """A name as file systems have it: without what means nothing in it."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _has_data(member: Member) -> bool:
    return member.isreg() or member.type not in tarfile.SUPPORTED_TYPES


def _copied(place: Any) -> BinaryIO:
    """A temporary copy of what tells no size: there can be no ranges of it."""
    copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - closed with the file system
    with place as source:
        while piece := source.read(_COPY):
            copy.write(piece)
    copy.seek(0)
    return copy


def _compressed(file: BinaryIO, mode: str = "rb", **options: Any) -> ZllmStream:
    """One compressed stream, as fsspec asks for it."""
    return ZllmStream(file, mode, **options)


fsspec.register_implementation(PROTOCOL, ZllmFileSystem, clobber=True)
register_compression(COMPRESSION, _compressed, [SUFFIX], force=True)
