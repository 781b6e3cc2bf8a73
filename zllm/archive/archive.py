"""``Archive``: what is inside an archive, straight from its section maps."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from zllm.archive import layout, member, oddheaders, requirements
from zllm.archive.cipher import Sealing
from zllm.archive.coding import Decoders
from zllm.archive.fileview import FileView
from zllm.archive.finding import Header
from zllm.archive.member import Member
from zllm.archive.memberfile import Facts, MemberFile
from zllm.archive.members import Members
from zllm.archive.options import ReadOptions
from zllm.archive.requirements import Requirements
from zllm.archive.unpicklable import Unpicklable
from zllm.archive.vault import Vault
from zllm.archive.view import TarView
from zllm.errors import DamagedError, LinkTargetError, UsageError, ZllmError
from zllm.format import names
from zllm.format.headerunits import Plain
from zllm.stats import Stats

if TYPE_CHECKING:
    from zllm.archive.generations import Generation
    from zllm.archive.layout import Layout
    from zllm.archive.places import Place

MAX_LINKS = 40
"""Most links that are followed one after the other to find data, as in Linux."""
STREAM = "-"
"""The name of the only member of an archive of one raw stream."""


class Archive(Unpicklable):
    """An archive that is read from an open file, from its position on; the file stays open.

    Nothing is decoded before it is read, and every frame and every member that is read whole is checked. An archive of
    one raw stream has one member, called ``-``.

    Args:
        file: a binary file, or a pipe, of which everything is read once, from front to end.
        options: how to read.
        seekable: whether the file can be sought; what it says itself if it is None.
        vault: instead of the keys in the options, these, which may have been tried already.

    Raises:
        NotZllmError: not an archive.
        DamagedError: it is damaged so that nothing can be read.
        LimitError: it has more of something than the options allow.
        UnsupportedVersionError: a version or a feature that this program does not read.
        LockedError: it is encrypted, and none of the keys in the options opens it.
        UsageError, MissingDependencyError: options that cannot be had.
    """

    def __init__(
        self,
        file: BinaryIO,
        options: ReadOptions | None = None,
        *,
        seekable: bool | None = None,
        vault: Vault | None = None,
    ) -> None:
        options = options or ReadOptions()
        self.file = file
        """Where it is read from."""
        decoders = Decoders(options)
        self.vault = vault or Vault(options, options.limits)
        if file.seekable() if seekable is None else seekable:
            found = layout.find(file, options.limits, options.generation, self.vault)
            self.view: TarView = FileView(file, found, decoders, options.generation)
        else:
            from zllm.archive.pipe import PipeView

            self.view = PipeView(file, decoders, options.limits, options.generation, self.vault)
        self.vault.check()
        self.latest: Facts | None = None
        """The member that was found last: of a pipe, the one whose data can be read."""

    @property
    def encrypted(self) -> bool:
        """Whether it is encrypted."""
        return self.vault.seen

    @property
    def sealing(self) -> Sealing | None:
        """How the first archive in a file is encrypted, so that another can be in the same way; None: it is not."""
        return self.vault.first

    @property
    def raw(self) -> bool:
        """Whether it contains one raw stream, not a tar archive."""
        return self.view.opaque

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest (``docs/zllm-format.md``); empty where the index is lost, and from a pipe until its end."""
        return self.view.manifest

    @property
    def layout(self) -> Layout | None:
        """Where the sections are; None from a pipe."""
        return self.view.layout if isinstance(self.view, FileView) else None

    @property
    def generations(self) -> list[Generation]:
        """One for each time that the archive was changed, the oldest first; of a pipe, those that have been read."""
        return self.view.generations

    @property
    def warnings(self) -> list[str]:
        """What was passed over, without harm: one line each."""
        return self.view.warnings

    @property
    def problems(self) -> list[ZllmError]:
        """What is wrong with the archive or its tar stream, found so far, the worst first."""
        return self.view.problems

    @property
    def decoders(self) -> Decoders:
        """Codecs and models."""
        return self.view.decoders

    def __iter__(self) -> Iterator[Member]:
        """See :meth:`members`."""
        return self.members()

    def members(self) -> Iterator[Member]:
        """All members, as they are found, also behind the end of a first tar, and in archives that follow.

        What is damaged or is not a header is passed over, and is among :attr:`problems` then. What a later generation
        deleted is left out. From a pipe, they come once, and the data of each can be read until the next is asked for;
        that some of them were deleted is among the problems in the end.
        """
        for one in self.everything():
            if not self.view.hides(one.name, one.offset):
                self.latest = one
                yield one

    def everything(self) -> Iterator[Member]:
        """As :meth:`members`, with those that were deleted."""
        view = self.view
        if view.opaque:
            yield member.of_stream(view, STREAM, view.size if isinstance(view, FileView) else 0)
            view.drain()
            return
        view.strict = True
        found, state = Members(view), oddheaders.State()
        while True:
            with view.lock:
                one = found.next(lambda header: parsed(view, state, header))
            if one is None:
                break
            yield one
            yield from self._plain(found, state)
        view.drain()

    def find(self, name: str) -> Member | None:
        """The last member of that name; None if there is none. In an archive of several sections only the maps of those
        are read that may have it, so damage to others is not found.

        Raises:
            UsageError: the archive is a pipe.
        """
        if not isinstance(self.view, FileView):
            raise UsageError("in a pipe members can only be taken as they come")
        found = self.find_alone(name)
        if found is None:
            for one in self.members():
                found = one if one.name == name else found
        return found

    def find_alone(self, name: str) -> Member | None:
        """As :meth:`find`, but None as well if nothing but reading all maps would tell."""
        header = self.locate(name)
        return None if header is None else parsed(self.view, oddheaders.State(), header)

    def locate(self, name: str) -> Header | None:
        """The headers of what :meth:`find_alone` finds."""
        with self.view.lock:
            return self._locate(name)

    def _locate(self, name: str) -> Header | None:
        view = self.view
        if not isinstance(view, FileView) or view.opaque:
            return None
        view.strict = True
        for number in reversed(view.sections_with(name) or ()):
            try:
                section = view.section(number)
            except DamagedError:  # it is among the problems now
                continue
            records, start = section.layout.records, section.header.stream_offset
            for at in range(len(records) - 1, -1, -1):
                record = records[at]
                if not record.headers or names.plain(record.name) != names.plain(name):
                    continue
                header = Header(start + section.layout.starts[at], record.headers, record.said_size)
                one = parsed(view, oddheaders.State(), header)
                if one is not None and one.name == name:
                    return None if view.hides(name, one.offset) else header
        return None

    def _plain(self, found: Members, state: oddheaders.State) -> Iterator[Member]:
        """Members that come next and have plain headers: nearly all, and without much ado."""
        view = self.view
        if state.pax_headers:
            return
        for place, blocks in found.plain():
            one = member.of_plain(view, place, blocks)
            if one is None:
                found.go_back(place)
                return
            yield one

    def open(self, wanted: Member) -> MemberFile | TarView | None:
        """The data of a member, or of what a link leads to, as a binary file; None if it has none, as folders.

        Reading raises DamagedError, MissingCodecError or MissingModelError. Several files may be read at the same time,
        by several threads too. From a pipe, the data is there until the next member is asked for.

        Raises:
            LinkTargetError: a link leads to no member.
            tarfile.StreamError: a link, while a pipe is read.
        """
        if self.view.opaque:
            return self.view
        found = wanted
        for _ in range(MAX_LINKS):
            if not (found.issym() or found.islnk()):
                return MemberFile(self, found) if found.isreg() or found.type not in tarfile.SUPPORTED_TYPES else None
            if not self.view.seekable():
                raise tarfile.StreamError(f"{found.name}: cannot extract a link from a pipe as a file object")
            target = self.target(found)
            if target is None:
                raise LinkTargetError(
                    f"{found.name}: no member is called {found.linkname!r}, to which it leads", member=found.name
                )
            found = target
        raise LinkTargetError(f"{wanted.name}: too many levels of links", member=wanted.name)

    def original(self, link: Member) -> Member | None:
        """What a hard link is another name of: the last member of that name before it, no hard link itself; None if
        there is none.
        """
        found: Member | None = link
        for _ in range(MAX_LINKS):
            if found is None or not found.islnk():
                return found
            found = self.target(found)
        return None

    def target(self, link: Member) -> Member | None:
        """The last member with the name that a link leads to: of a hard link, before the link."""
        name = link.linkname
        if link.issym():
            name = "/".join(filter(None, (posixpath.dirname(link.name), name)))
        name = posixpath.normpath(name)
        found = None
        for one in self.members():
            if link.islnk() and one.offset >= link.offset:
                break
            if posixpath.normpath(one.name) == name:
                found = one
        return found

    def expect(self, wanted: Facts) -> None:
        """Say that the member will be read from front to end: then its first frames are decoded together, one by each
        thread, which takes less time, but the first byte comes later.
        """
        self.view.expected = wanted.offset_data

    def parts(self) -> Iterator[Place]:
        """All parts of the file, in its order: where each begins, its kind, number and length. Maps are read for it,
        and nothing is decoded.

        Raises:
            UsageError: the archive is a pipe.
        """
        if not isinstance(self.view, FileView):
            raise UsageError("the parts of a pipe cannot be listed")
        return self.view.parts()

    def requirements(self) -> Requirements:
        """What is needed to read all of it; nothing is decoded, and a pipe is read to its end."""
        return requirements.of(self.view)

    def tally(self, stats: Stats) -> None:
        """Add up what is stored by each codec; nothing is decoded. From a pipe, nothing is known."""
        if isinstance(self.view, FileView):
            self.view.tally(stats)


def parsed(view: TarView, state: oddheaders.State, header: Header) -> Member | None:
    """The member with this header; None if it makes no sense.

    ``state`` is that of the members before: what global headers say counts for all that follow.
    """
    blocks = header.blocks
    if isinstance(blocks, Plain) and not state.pax_headers:
        found = member.of_plain(view, header.position, blocks)
        if found is not None:
            return found
    info = oddheaders.parse(oddheaders.Parsed, state, view, header)
    return None if info is None else member.of_parsed(view, info, header)
