"""Extraction as :class:`tarfile.TarFile` has it, by :mod:`zllm.extraction`: the same on every Python."""

from __future__ import annotations

import contextlib
import copy
import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from zllm import partial
from zllm.errors import BrokenTarError, DamagedError, ZllmError

if TYPE_CHECKING:
    from zllm.archive.view import TarView
    from zllm.extraction.attributes import Policy
    from zllm.extraction.extractor import Extractor
    from zllm.extraction.filters import Filter

_COPY = 1 << 20


def _data_filter(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    """What the newest Python has as ``filter="data"``."""
    from zllm.extraction.filters import data_filter

    return data_filter(member, path)


class Unpacking(tarfile.TarFile):
    """What of :class:`zllm.ZllmFile` writes members to disk."""

    members: list[tarfile.TarInfo]  # tarfile's own, which its types leave out
    extraction_filter = staticmethod(_data_filter)
    failures: dict[str, ZllmError] = {}  # noqa: RUF012 - replaced, never changed
    """By member name: what the last :meth:`extractall` could not extract."""

    _view: TarView | None
    _targets: Targets | None = None

    def extractall(  # type: ignore[override]
        self,
        path: str | os.PathLike[str] = ".",
        members: Iterable[Any] | None = None,
        *,
        numeric_owner: bool = False,
        filter: Any = None,
    ) -> None:
        """Extract all members, or ``members``. What cannot be decoded is left out; the rest is extracted all the same.

        Nothing is written through links. Links are placed when all files are there; folders get their modes last.

        Args:
            path: the folder to extract to; made if it does not exist.
            members: a part of what :meth:`getmembers` returns.
            numeric_owner: owners by their numbers, not by their names.
            filter: ``"data"`` (the default), ``"tar"``, ``"fully_trusted"`` or a function, as in :mod:`tarfile`.

        Raises:
            DamagedError, MissingModelError, MissingCodecError, ZllmError: after everything else was extracted, the
                first of what is wrong; :attr:`failures` has it for each member.
            tarfile.FilterError, OSError: as in :mod:`tarfile`, at once, if ``errorlevel`` is above 0.
        """
        self._check("r")  # type: ignore[attr-defined]
        if self._view is not None and members is None:
            self._view.everything = True
        problems: list[ZllmError] = []
        failures: dict[str, ZllmError] = {}
        report = _Report(self, failures)
        self.failures = failures
        chosen: Iterable[Any] = self._until_damage(problems) if members is None else members
        function = self._filter(filter)
        policy = self._policy(numeric_owner)
        with self._extractor(path, policy, function, report) as extractor:
            try:
                for member in chosen:
                    self._extract(extractor, report, member, function, path)
            except (tarfile.TarError, OSError):
                report.silent = True  # what was extracted so far is completed
                extractor.finish()
                raise
            extractor.finish()
        for problem in (*failures.values(), *problems):
            raise problem

    def extract(  # type: ignore[override]
        self,
        member: str | tarfile.TarInfo,
        path: str | os.PathLike[str] = "",
        set_attrs: bool = True,
        *,
        numeric_owner: bool = False,
        filter: Any = None,
    ) -> None:
        """Extract one member below the folder ``path``, as in :mod:`tarfile`; nothing is written through links.

        Raises:
            KeyError: there is no member of that name.
            DamagedError, MissingModelError, MissingCodecError: it cannot be decoded.
            ZllmError: it cannot be extracted: its name contains ``..``, for example.
            tarfile.FilterError, OSError: as in :mod:`tarfile`, if ``errorlevel`` is above 0.
        """
        self._check("r")  # type: ignore[attr-defined]
        report = _Report(self, None)
        function = self._filter(filter)
        policy = self._policy(numeric_owner, owners=set_attrs)
        with self._extractor(path or ".", policy, function, report) as extractor:
            self._extract(extractor, report, member, function, path or ".", set_attrs=set_attrs)
            extractor.finish()

    def _extract(
        self,
        extractor: Extractor,
        report: _Report,
        member: str | tarfile.TarInfo,
        function: Filter,
        path: str | os.PathLike[str],
        *,
        set_attrs: bool = True,
    ) -> None:
        from zllm.extraction.filters import FilterError

        info = self.getmember(member) if isinstance(member, str) else member
        try:
            filtered = function(info, cast(str, path))
        except (OSError, FilterError, tarfile.ExtractError) as exc:
            report.failed(info, exc)
            return
        if filtered is None:
            return
        if not set_attrs:
            filtered = copy.copy(filtered)
            filtered.mode = filtered.mtime = cast(Any, None)
        extractor.add(filtered)

    def _policy(self, numeric_owner: bool, *, owners: bool = True) -> Policy:
        from zllm.extraction.attributes import Policy

        return Policy(special_bits=True, owners=owners and os.geteuid() == 0, numeric_owner=numeric_owner, devices=True)

    def _extractor(self, path: str | os.PathLike[str], policy: Policy, function: Filter, report: _Report) -> Extractor:
        from zllm.extraction.extractor import Extractor

        os.makedirs(path, exist_ok=True)
        names = ("data_filter", "_data_filter")
        checks_links = getattr(function, "__name__", "") in names  # a function of the caller's is called once
        return Extractor(
            path, policy, _Filtered(self, function, cast(str, path)), report, encoding=self.encoding or "utf-8",
            again=(lambda member: function(member, cast(str, path))) if checks_links else None,
        )  # fmt: skip

    def _filter(self, filter: Any) -> Filter:
        from zllm.extraction.filters import NAMED

        if filter is None:
            filter = getattr(self, "extraction_filter", None) or _data_filter
            if isinstance(filter, str):
                raise TypeError("extraction_filter must be a function, not a name")
        if callable(filter):
            return cast("Filter", filter)
        if filter not in NAMED:
            raise ValueError(f"filter {filter!r} not found")
        return NAMED[filter]

    def _until_damage(self, problems: list[ZllmError]) -> Iterator[tarfile.TarInfo]:
        try:
            yield from self
        except (DamagedError, BrokenTarError) as exc:
            problems.append(exc)

    # What zllm.extraction asks of the archive

    def pieces(self, member: tarfile.TarInfo) -> Iterator[tuple[int, bytes]]:
        """The data of a member, in pieces, with the offset of each in the file; checked as :meth:`extractfile` does.

        Holes of sparse files are left out.

        Raises:
            DamagedError: it is damaged, or its map of holes is impossible.
            MissingCodecError, MissingModelError: it cannot be decoded here.
        """
        source = cast("TarView", self._view)
        regions = cast("list[tuple[int, int]] | None", getattr(member, "sparse", None))
        if regions is not None:
            self._check_map(source, member, regions)
        elif member.size < 0:
            raise DamagedError(f"{member.name}: its size is below zero", member=member.name)
        source.expected = place = member.offset_data
        for start, size in [(0, member.size)] if regions is None else regions:
            offset = start
            while offset < start + size:
                with source.lock:
                    source.seek(place)
                    data = source.read(min(start + size - offset, _COPY))
                if not data:
                    raise DamagedError(f"{member.name}: the archive ends before it does", member=member.name)
                with source.decoders.run.stage("writing", len(data)):  # in the thread that takes it
                    yield offset, data
                offset += len(data)
                place += len(data)

    def _check_map(self, source: TarView, member: tarfile.TarInfo, regions: list[tuple[int, int]]) -> None:
        from zllm.extraction import sparse

        try:
            with source.lock:
                source.seek(member.offset)
                stored = sparse.stored_size(source.read(member.offset_data - member.offset))
        except OSError:  # a pipe that has gone on: at least no region is larger than the file
            stored = member.size
        sparse.check(member, regions, stored)

    def original(self, link: tarfile.TarInfo) -> tarfile.TarInfo | None:
        """The member before a hard link that has the link's data, or is the same symbolic link; None: there is none."""
        if self._targets is None:
            self._targets = Targets(self)
        return self._targets.of(link)

    # What tarfile calls for each kind of member

    def makefile(self, tarinfo: tarfile.TarInfo, targetpath: str | os.PathLike[str]) -> None:  # type: ignore[override]
        """A regular file: under its name only when it is whole and right."""
        from zllm.extraction import sparse

        with partial.whole_file(os.fspath(targetpath), sync=False) as target:
            sparse.write(target.fileno(), self.pieces(tarinfo), tarinfo.size)

    def makelink(self, tarinfo: tarfile.TarInfo, targetpath: str | os.PathLike[str]) -> None:  # type: ignore[override]
        """A link, in place of what has its name; of a hard link without its target on disk, the data."""
        self.makelink_with_filter(tarinfo, targetpath)

    def makelink_with_filter(
        self, tarinfo: tarfile.TarInfo, targetpath: Any, filter_function: Any = None, extraction_root: Any = None
    ) -> None:
        """As :meth:`makelink`, for the Pythons that filter the member which is extracted instead of a link.

        Raises:
            tarfile.ExtractError: a hard link to what is neither on disk nor in the archive.
        """
        path = os.fspath(targetpath)
        if tarinfo.issym():
            _place(path, lambda temporary: os.symlink(tarinfo.linkname, temporary))
            return
        root = os.fspath(extraction_root) if extraction_root is not None else "."
        target = cast(str, getattr(tarinfo, "_link_target", None) or os.path.join(root, tarinfo.linkname))
        if _is_file(target):
            _place(path, lambda temporary: os.link(target, temporary, follow_symlinks=False))
            return
        found = self.original(tarinfo)
        if found is None:
            raise tarfile.ExtractError("unable to resolve link inside archive")
        if filter_function is not None:
            found = filter_function(found, root)
        if found is not None and found.issym():
            _place(path, lambda temporary: os.symlink(found.linkname, temporary))
        elif found is not None:
            self.makefile(found, path)


class Targets:
    """Finds what hard links link to among the members read so far; each member is looked at once."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._seen = 0
        self._named: dict[str, list[tarfile.TarInfo]] = {}

    def of(self, link: tarfile.TarInfo) -> tarfile.TarInfo | None:
        """The last member before ``link`` that has its target's name and is not a hard link itself; follows those."""
        members = cast("list[tarfile.TarInfo]", self._archive.members)  # type: ignore[attr-defined]
        for member in members[self._seen :]:
            self._named.setdefault(_plain(member.name), []).append(member)
        self._seen = len(members)
        while link.islnk():
            before = [m for m in self._named.get(_plain(link.linkname), ()) if m.offset < link.offset]
            if not before:
                return None
            link = max(before, key=lambda member: member.offset)
        return link


def _plain(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


class _Filtered:
    """The archive as :class:`zllm.extraction.extractor.Source`: what comes instead of a hard link is filtered, too."""

    def __init__(self, archive: Unpacking, function: Filter, path: str) -> None:
        self.pieces = archive.pieces
        self._archive = archive
        self._function = function
        self._path = path

    def original(self, link: tarfile.TarInfo) -> tarfile.TarInfo | None:
        found = self._archive.original(link)
        return None if found is None else self._function(found, self._path)


class _Report:
    """What :mod:`tarfile` does about errors, by ``errorlevel``. Those of zllm are kept for the end if they can be."""

    def __init__(self, archive: Unpacking, failures: dict[str, ZllmError] | None) -> None:
        self._archive = archive
        self._failures = failures
        self.silent = False

    def failed(self, member: tarfile.TarInfo, error: Exception) -> None:
        if self.silent:
            return
        if isinstance(error, ZllmError):
            if self._failures is None:
                raise error
            self._failures.setdefault(member.name, error)
            return
        if isinstance(error, OSError) and error.filename is None:
            error.filename = member.name
        if self._level > (1 if isinstance(error, tarfile.ExtractError) else 0):
            raise error
        self._say(str(error))

    def unset(self, member: str, what: str, error: Exception) -> None:
        if self._level > 1 and not self.silent:
            raise tarfile.ExtractError(f"{member}: could not change {what}") from error
        self._say(f"{member}: could not change {what}")

    def kept(self, member: tarfile.TarInfo) -> None:
        self._say(f"{member.name}: exists")

    def note(self, text: str) -> None:
        self._say(text)

    warn = note

    @property
    def _level(self) -> int:
        return cast(int, self._archive.errorlevel or 0)

    def _say(self, text: str) -> None:
        self._archive._dbg(1, f"tarfile: {text}")  # type: ignore[attr-defined]


def _is_file(path: str) -> bool:
    try:
        kind = stat.S_IFMT(os.lstat(path).st_mode)
    except OSError:
        return False
    return kind not in (stat.S_IFDIR, stat.S_IFLNK)


def _place(path: str, make: Callable[[str], None]) -> None:
    """Have an entry made under a temporary name, then give it its own."""
    folder, base = os.path.split(path)
    temporary = os.path.join(folder, os.fsdecode(partial.name_beside(os.fsencode(base))))
    make(temporary)
    try:
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # two hard links to the same file: then replacing does nothing
            os.unlink(temporary)
