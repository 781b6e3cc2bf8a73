"""``ZllmFile``: a :class:`tarfile.TarFile` whose tar stream is an archive."""

from __future__ import annotations

import contextlib
import sys
import tarfile
import warnings
from bisect import bisect_left
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, cast

from zllm.archive import member, oddheaders
from zllm.archive.archive import MAX_LINKS, Archive
from zllm.archive.memberfile import MemberFile
from zllm.archive.members import Members
from zllm.archive.options import ReadOptions, WriteOptions, taken_from
from zllm.archive.unpicklable import Unpicklable
from zllm.errors import LinkTargetError, NotTarError, OtherFormatError, UsageError, renewed
from zllm.format.headerunits import Plain
from zllm.tarface import opening
from zllm.tarface.facts import Facts
from zllm.tarface.info import ZllmInfo
from zllm.tarface.packing import Packing
from zllm.tarface.unpacking import Unpacking

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath
    from typing_extensions import Never, Self

    from zllm.archive.finding import Header
    from zllm.archive.growing import Growing
    from zllm.archive.target import Target
    from zllm.archive.view import TarView
    from zllm.archive.writer import Writer

_COPY = 1 << 20


class ZllmFile(Unpicklable, Facts, Packing, Unpacking):
    """An archive, as :mod:`tarfile` knows archives. The constructor takes what :meth:`open` takes.

    Reading decodes only what is read, and checks every frame and every member that is read whole. Extracted files get
    their names when they are whole and their SHA-256 is right. ``filter="data"`` is the default on every Python.
    """

    tarinfo: ClassVar[type[ZllmInfo]] = ZllmInfo  # type: ignore[misc]
    fileobject: ClassVar[type[MemberFile]] = MemberFile  # type: ignore[assignment,misc]
    stream = False
    latest: ZllmInfo | None = None
    """The member that :meth:`next` found last: of a pipe, the one whose data can be read."""
    archive: Archive | None = None
    """What is read; None for an archive that is being written."""
    _view: TarView | None = None
    _sink: Writer | None = None
    _own: BinaryIO | None = None
    _target: Target | Growing | None = None

    def __init__(
        self,
        name: StrOrBytesPath | None = None,
        mode: str = "r",
        fileobj: BinaryIO | Archive | Growing | None = None,
        *,
        stream: bool = False,
        **options: Any,
    ) -> None:
        kind = opening.kind_of(mode)
        path = opening.path_of(name)
        if path is None and fileobj is None:
            raise UsageError("nothing to open: give a name or a file object")
        self._adding = False
        self._reported = False
        self._found: Members | None = None
        self._messages: list[str] = []
        self._alone: dict[int, ZllmInfo] = {}  # members that were looked for by name, by their places
        self.stream = stream
        if sys.version_info >= (3, 13):
            options["stream"] = stream
        try:
            tar: TarView | Writer
            if kind in ("r", "r|"):
                reading = taken_from(options, ReadOptions)
                if isinstance(fileobj, Archive):
                    self.archive = fileobj
                else:
                    if fileobj is None:
                        fileobj = self._own = self.fileobj = open(cast(str, path), "rb")  # noqa: SIM115
                    self.archive = Archive(cast(BinaryIO, fileobj), reading, seekable=kind == "r")
                tar = self._view = self.archive.view
                if self.archive.raw and not options.get("ignore_zeros"):
                    raise NotTarError(tar)
            else:
                writing = taken_from(options, WriteOptions)
                tar, self._target = opening.writing(path, kind, cast("BinaryIO | None", fileobj), writing)
                self._sink = tar
            name = opening.name_of(path, fileobj)
            written = kind[0].replace("a", "w")  # tarfile itself would look for the end by reading
            super().__init__(name, cast(Any, written), cast(Any, tar), **{"copybufsize": _COPY, **options})
            if kind == "a":
                self.mode = "a"
                self._list_members(fileobj)
        except NotTarError:  # its view goes on reading
            raise
        except BaseException:
            self._abandon()
            raise

    def _list_members(self, given: object) -> None:
        """Have the members that are there among :attr:`members`, as tarfile does; not of a file that grows which was
        ``given``: who gives it knows them.
        """
        from zllm.archive.growing import Growing

        target = self._target
        if isinstance(target, Growing) and target is not given:
            target.file.seek(target.layout.start)
            with type(self)(fileobj=Archive(cast(BinaryIO, target.file), vault=target.vault)) as archive:
                self.members += archive.getmembers()

    @classmethod
    def open(  # type: ignore[override]
        cls,
        name: StrOrBytesPath | None = None,
        mode: str = "r",
        fileobj: BinaryIO | Archive | Growing | None = None,
        bufsize: int = 0,
        **options: Any,
    ) -> Self:
        """Open an archive. ``bufsize`` is there for tarfile's sake and ignored.

        Args:
            name: its name; may be left out if ``fileobj`` is given.
            mode: ``r`` reads a seekable file, ``r|`` a pipe; ``w`` and ``w|`` write (neither ever seeks), replacing a
                file of that name once the archive is whole; ``x`` refuses to replace; ``a`` adds members to an archive
                in its place, or makes one if there is none: those count when it is closed, and until then, whatever
                happens, the archive is what it was.
            fileobj: a binary file to use, or for reading an open :class:`Archive`; it stays open.
            options: the fields of :class:`WriteOptions` for writing (``level``, ``model``, ``llm``, ``threads``,
                ``frame_size``, ``streams``, ``progress``, ``stats``, ``embed_model``, ``cluster``, ``device``,
                ``executor``, ``passphrase``, ``recipients``) and of :class:`ReadOptions` for reading (``passphrase``,
                ``identities``), of which ``limits``, a :class:`zllm.Limits`, says how much of the machine an archive
                may take; ``compresslevel``, tarfile's name for ``level``; and what
                :class:`tarfile.TarFile` takes (``format``, ``tarinfo``, ``dereference``, ``ignore_zeros``,
                ``encoding``, ``errors``, ``pax_headers``, ``debug``, ``errorlevel``, and ``stream`` on every Python).

        Raises:
            NotZllmError: no archive.
            DamagedError: it is damaged so that nothing can be read.
            NotTarError: it contains a single raw stream, not a tar archive.
            LimitError: it has more of something than ``limits`` allow.
            LockedError: it is encrypted, and there is no key, or none that opens it.
            OtherFormatError: a mode such as ``r:gz``.
            UsageError: an unknown mode, level, frame size, device or executor. All three are also a ValueError.
            MissingDependencyError: the executor needs a package that is not installed.
            BusyError: another process adds to it.
            OSError: it cannot be opened.
        """
        return cls(name, mode, fileobj, **options)

    OPEN_METH: ClassVar[dict[str, str]] = {"zllm": "taropen"}

    @classmethod
    def _other_format(cls, *_: object, **__: object) -> Never:
        """What tarfile opens by this name is another format.

        Raises:
            OtherFormatError: always.
        """
        raise OtherFormatError("zllm opens zllm archives only: use tarfile.TarFile for other formats")

    gzopen = bz2open = xzopen = zstopen = _other_format

    def __repr__(self) -> str:
        """Its name and mode."""
        state = " closed" if getattr(self, "closed", True) else ""
        name = getattr(self, "name", None)
        return f"<{type(self).__name__}{state} {name!r} mode={getattr(self, 'mode', None)!r}>"

    # Reading

    def next(self) -> ZllmInfo | None:
        """The next member, None after the last: also behind the end of a first tar, and in archives that follow.

        What is damaged or is not a header is passed over.

        Raises:
            DamagedError, BrokenTarError: after the last member, once: what is wrong with the archive as a whole, or
                with the tar stream that was packed. All of it is in :attr:`problems`.
        """
        view = self._view
        if view is None:
            return cast("ZllmInfo | None", super().next())
        with view.lock:
            found = self._next(view)
        self.latest = found or self.latest
        return found

    def _next(self, view: TarView) -> ZllmInfo | None:
        self._check("r")  # type: ignore[attr-defined]
        first = cast("ZllmInfo | None", getattr(self, "firstmember", None))
        if first is not None:
            self.firstmember = None
            return first
        if self._found is None:
            view.strict = True
            self._found = Members(view, quiet=bool(self.ignore_zeros))
        self._found.position = self.offset
        try:
            found = self._found.next(self._parsed)
            while found is not None and view.hides(found.name, found.offset):
                found = self._found.next(self._parsed)
        finally:
            self.offset = self._found.position
        if found is None:
            self._loaded = True
            view.drain()
            self._complain()
        elif not self.stream:
            self.members.append(found)
        return found

    def _parsed(self, header: Header) -> ZllmInfo | None:
        """The member with this header, as ``tarinfo`` and ``encoding`` say; None if it makes no sense."""
        view = cast("TarView", self._view)
        if self._usual and isinstance(header.blocks, Plain):
            found = member.of_plain(view, header.position, header.blocks)
            if found is not None:
                return self._alone.pop(header.position, None) or ZllmInfo.of(found, header.blocks.checksum())
        info = oddheaders.parse(self.tarinfo, cast(oddheaders.Reading, self), view, header)
        if isinstance(info, ZllmInfo):  # unless tarinfo= is another class
            info._view, info.stored = view, (header.data_start, header.size)
        return cast("ZllmInfo | None", info)

    def _load(self) -> None:
        if not self.stream:  # Pythons before 3.13 would read on
            super()._load()  # type: ignore[misc]

    def __iter__(self) -> Iterator[ZllmInfo]:
        """All members, as they are found. Several threads may go through them, each for itself."""
        if self._view is None:
            yield from cast("Iterator[ZllmInfo]", super().__iter__())
            return
        number = 0
        while True:
            with self._view.lock:  # between a look at what is known and the search for more
                if number == 0 and getattr(self, "firstmember", None) is not None:
                    found = self.next()
                elif number < len(self.members):
                    found = cast("ZllmInfo | None", self.members[number])
                elif self._loaded:
                    return
                else:
                    found = self.next()
            if found is None:
                return
            number += 1
            yield found

    def getmembers(self) -> list[ZllmInfo]:  # type: ignore[override]
        """All members, in the archive's order."""
        return cast("list[ZllmInfo]", super().getmembers())

    def getmember(self, name: str) -> ZllmInfo:
        """The last member of that name; KeyError if there is none.

        If the members are not known yet, only the maps of sections are read that may have it.
        """
        if self._view is None:
            return cast(ZllmInfo, super().getmember(name))
        with self._view.lock:
            return self._look_for(name)

    def _look_for(self, name: str) -> ZllmInfo:
        if not getattr(self, "_loaded", True) and self.archive is not None and self._usual:
            header = self.archive.locate(name.rstrip("/"))
            found = None if header is None else self._known(header.position) or self._parsed(header)
            if found is not None:
                self._alone[found.offset] = found
                return found
        return cast(ZllmInfo, super().getmember(name))

    def _known(self, offset: int) -> ZllmInfo | None:
        """The member with headers at ``offset``, if it has been found before."""
        number = bisect_left(self.members, offset, key=lambda one: one.offset)
        if number < len(self.members) and self.members[number].offset == offset:
            return cast(ZllmInfo, self.members[number])
        return self._alone.get(offset)

    @property
    def _usual(self) -> bool:
        """Whether members are what the archive takes them for, whatever this program asks."""
        utf8 = self.encoding == "utf-8" and self.errors == "surrogateescape"
        return self.tarinfo is ZllmInfo and utf8 and not self.pax_headers and not self.ignore_zeros

    def extractfile(self, member: str | tarfile.TarInfo) -> MemberFile | None:
        """The data of a member, or of what a link leads to, as a binary file; None if it has none, as folders.

        The file keeps the archive open. Several may be read at the same time, by several threads too. From a pipe, the
        data is there until the next member is asked for.

        Raises:
            KeyError: there is no such member, or a link (:class:`LinkTargetError`) leads to none.
            tarfile.StreamError: a link, while a pipe is read.
        """
        self._check("r")  # type: ignore[attr-defined]
        info = self.getmember(member) if isinstance(member, str) else member
        for _ in range(MAX_LINKS):
            if not (info.issym() or info.islnk()):
                return cast("MemberFile | None", super().extractfile(info))
            if self._view is not None and not self._view.seekable():
                raise tarfile.StreamError(f"{info.name}: cannot extract a link from a pipe as a file object")
            try:
                info = self._find_link_target(info)  # type: ignore[attr-defined]
            except KeyError:
                raise LinkTargetError(
                    f"{info.name}: no member is called {info.linkname!r}, to which it leads", member=info.name
                ) from None
        raise LinkTargetError(f"{info.name}: too many levels of links", member=info.name)

    def _complain(self) -> None:
        if self.problem is not None and not self._reported:
            self._reported = True
            raise renewed(self.problem)

    def expect(self, member: tarfile.TarInfo) -> None:
        """Say that the member will be read from front to end: then its first frames are decoded together, one by each
        thread, which takes less time, but the first byte comes later. :meth:`extract` and :meth:`extractall` say so.
        """
        if self._view is not None:
            self._view.expected = member.offset_data

    # Ending

    def close(self) -> None:
        """Complete the archive and give it its name; or end reading."""
        if self.closed:
            return
        if self._sink is None:
            super().close()
            self._release()
            return
        try:
            if self._sink.untouched and self.mode == "a" and self._target is not None:
                self._abandon()  # nothing was added: the archive stays as it is
                return
            super().close()
            self._sink.close()
            if self._target is not None:
                self._target.publish()
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        self.closed = True
        if self._sink is not None:
            self._sink.abort()
        if self._target is not None:
            self._target.discard()
        self._release()

    def _release(self) -> None:
        """Close what was opened by name. A file object that was given stays open, and with it files of members."""
        if self._own is not None:
            if self._view is not None:
                self._view.close()
            self._own.close()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()

    def __del__(self) -> None:
        # Neither closed nor left by its with block: whatever was written is not whole.
        if getattr(self, "closed", True):
            return
        with contextlib.suppress(Exception):
            self._abandon()
        if self._sink is not None:
            what = f"{self!r} was never closed: there is no archive of that name"
            warnings.warn(what, ResourceWarning, source=self, stacklevel=2)
