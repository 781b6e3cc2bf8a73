"""Writes archives: members, whose headers go straight into columns, or a tar stream, whatever its bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from zllm.archive.builder import SectionBuilder
from zllm.archive.coder import Coder
from zllm.archive.options import WriteOptions
from zllm.archive.partwriter import CodedSection, Output
from zllm.archive.places import Layout
from zllm.archive.resuming import BEGINNING, End, end_of
from zllm.archive.sectionqueue import SectionQueue
from zllm.archive.sectionwriter import SectionWriter
from zllm.archive.vault import sealing_for
from zllm.errors import UsageError
from zllm.format import headerunits
from zllm.format.headerunits import Headers, Plain
from zllm.format.limits import BLOCK
from zllm.format.tarscan import Kind, Piece, TarScanner, padded

_PIECE = 1 << 20


class Source(Protocol):
    """The data of a member, as files have it."""

    def read(self, count: int, /) -> bytes:
        """Up to ``count`` bytes, none only at the end."""


class Writer:
    """Writes an archive: :meth:`close` completes it, :meth:`abort` leaves it without an end.

    Args:
        out: anything with ``write``; it is neither sought nor closed.
        options: how to code.
        after: the layout of an archive, to which this adds a generation: ``out`` has to be that file, at
            :attr:`offset` behind the archive's beginning, where its footer ends.

    Raises:
        UsageError: options that do not exist, or an archive to which nothing can be added.
        MissingModelError, ModelError, MissingDependencyError, KernelError: see :class:`zllm.archive.coder.Coder`.
    """

    def __init__(self, out: Output, options: WriteOptions | None = None, *, after: Layout | None = None) -> None:
        self.warnings: list[str] = []
        self.failed = False
        """Coding or writing went wrong: an OSError now is the output's, not some input file's."""
        options = options or WriteOptions()
        self.time = 0
        """When this generation is written, in seconds since 1970; 0: that is not told."""
        self.deleted: set[bytes] = set()
        """Names of members of earlier generations that :meth:`close` will say are deleted."""
        self.before_end: Callable[[], None] = lambda: None
        """Called when all is written but directory and footer, which make it count."""
        self._coder = Coder(options, self.warnings)
        end = _beginning(options) if after is None else _continued(options, after)
        if options.notes and end.sealing is not None:  # which would not be encrypted, nor could what it is for be read
            raise UsageError("an encrypted archive carries no decoder and no notes: leave out one of them")
        self._sections = SectionWriter(
            out, self._coder, end, parity=options.parity, verify=options.verify, notes=options.notes
        )
        self._queue = SectionQueue(self._sections)
        self._scanner = TarScanner(is_tar=after is not None)
        self._builder = SectionBuilder(end.stream, self._coder.run.stage)
        self._written = end.stream
        self._started = False
        # Whether the stream is not a tar; None: not known yet.
        self._raw: bool | None = None if after is None else False
        self.closed = False

    @property
    def offset(self) -> int:
        """Bytes of the archive that are written, or were there already."""
        return self._sections.parts.offset

    @property
    def untouched(self) -> bool:
        """Whether nothing was added, and no name deleted."""
        return not self._started and not self.deleted

    def tell(self) -> int:
        """Bytes of the tar stream so far."""
        return self._written

    def writable(self) -> bool:
        """Until it is closed."""
        return not self.closed

    def add(self, headers: Headers, source: Source | None = None) -> int:
        """Add a member with as much data as its headers say, of ``source``; how many bytes of the tar stream it is.

        Raises:
            UsageError: the archive is closed.
            EOFError: the source has less data. The archive can only be given up then.
            OSError: the output cannot be written.
        """
        self._check()
        start, size = self._written, headerunits.data_size(headers)
        direct = self._scanner.idle and isinstance(headers, Plain) and headers.storable
        if direct:
            self._scanner.passed_header()
            self._guard((Piece(Kind.HEADER, b"", size),), headers)
            self._written += headerunits.header_size(headers)
        else:
            self.write(headerunits.built(headers))
        left = size
        while left:
            data = source.read(min(left, _PIECE)) if source is not None else b""
            if not data:
                self.failed = True
                raise EOFError(f"{headerunits.member_name(headers)}: {left} bytes of its data are missing")
            left -= len(data)
            self._put(Kind.DATA, data, direct=direct)
        if padding := -size % BLOCK:
            self._put(Kind.ZERO, bytes(padding), direct=direct)
        return self._written - start

    def _put(self, kind: Kind, data: bytes, *, direct: bool) -> None:
        """Some bytes behind a header; ``direct``: the scanner does not wait for them."""
        if direct:
            self._guard((Piece(kind, data),))
            self._written += len(data)
        else:
            self.write(data)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take some of the tar stream.

        Raises:
            OSError: the output cannot be written.
        """
        self._check()
        self._guard(self._scanner.feed(memoryview(data).cast("B")))
        self._written += len(data)
        return len(data)

    @property
    def adaptive(self) -> bool:
        """Whether the level codes by context mixing."""
        return self._coder.level.adaptive

    def copy(self, coded: CodedSection, models: Mapping[bytes, Callable[[], bytes | memoryview]]) -> None:
        """Take a section of another archive that is coded already: what was added before goes before it. It begins at
        :meth:`tell` of the tar stream, with a member, or goes on in one that the section before it has not ended.

        Args:
            coded: the section.
            models: those that are to be inside the archive: see :meth:`SectionWriter.copy`.

        Raises:
            OSError: the output cannot be written.
        """
        self._check()
        try:
            self._start()
            self._builder.end_member()
            if self._builder.records:
                self._next_section()
            self._queue.wait()
            self._scanner.passed_header()
            self._raw = False
            self._sections.copy(coded, models)
        except BaseException:
            self.failed = True
            raise
        self._written += coded.header.stream_size
        self._builder = SectionBuilder(self._written, self._coder.run.stage)

    def close(self) -> None:
        """Code what is left, write directory and footer."""
        if self.closed:
            return
        self._guard(self._scanner.finish())
        try:
            self._builder.end_member()
            if self._builder.records:
                self._next_section(last=True)
            self._queue.wait()
            self.before_end()
            self._sections.finish(time=self.time, deleted=self.deleted)
        except BaseException:
            self.failed = True
            raise
        finally:
            self.closed = True

    def abort(self) -> None:
        """Give up. What was written so far has no end and is not a valid archive."""
        self.closed = True
        self._coder.run.cancelled.set()
        try:
            self._queue.wait(timeout=5)
        except BaseException:
            return

    def _check(self) -> None:
        if self.closed:
            raise UsageError("the archive is closed")
        try:
            self._queue.check()  # at once: there may be gigabytes to come before the next section is due
        except BaseException:
            self.failed = True
            raise

    def _guard(self, pieces: Iterable[Piece], headers: Headers | None = None) -> None:
        try:
            self._start()
            for piece in pieces:
                self._take(piece, headers)
        except BaseException:
            self.failed = True
            raise

    def _take(self, piece: Piece, headers: Headers | None = None) -> None:
        if piece.kind == Kind.HEADER:
            self._header(bytes(piece.data) if headers is None else headers, piece.size)
            return
        builder = self._builder
        if piece.kind == Kind.ZERO or piece.fresh:
            builder.end_member()
            if not builder.room:
                builder = self._next_section()
        if piece.kind == Kind.ZERO:
            builder.add_zeros(len(piece.data))
            return
        if piece.fresh or not builder.in_member:
            builder.begin(b"", "", None)
        data = builder.add(memoryview(piece.data))
        while data:
            data = self._next_section().add(data)

    def _header(self, headers: Headers, size: int) -> None:
        builder = self._builder
        builder.end_member()
        # A member stays whole if a section can hold it; a larger one starts its own, for long frames.
        if builder.size and headerunits.header_size(headers) + padded(size) > builder.room:
            builder = self._next_section()
        builder.begin(headers, headerunits.member_name(headers), size)

    def _next_section(self, *, last: bool = False) -> SectionBuilder:
        """Have the section coded; what follows goes into the next."""
        builder = self._builder
        if self._raw is None:
            # A whole section of zeros does not begin a tar archive, whatever follows: the first section says so.
            self._raw = not self._scanner.is_tar and (self._scanner.opaque or not last)
        builder.opaque = self._raw
        self._builder = builder.following()
        self._queue.submit(builder)
        return self._builder

    def _start(self) -> None:
        """Begin the header, once: with the first byte, when an output that cannot be written shows it."""
        if not self._started:
            self._started = True
            self._sections.start()


def _beginning(options: WriteOptions) -> End:
    """Of a new archive: how it is encrypted."""
    return dataclasses.replace(BEGINNING, sealing=sealing_for(options))


def _continued(options: WriteOptions, after: Layout) -> End:
    """The end of an archive. Whether it is encrypted, and for whom, was settled when it was made.

    Raises:
        UsageError: the options want it otherwise.
    """
    end = end_of(after)
    if options.recipients:
        raise UsageError("recipients are chosen when an archive is made, not when something is added to it")
    if end.sealing is None and isinstance(options.passphrase, str):
        raise UsageError("the archive is not encrypted, and what is added to it would not be either")
    return end
