"""The writing end: a file-like object that takes a tar stream, whatever its bytes, and writes an archive."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from zllm.archive.builder import Draft
from zllm.archive.coder import Coder
from zllm.archive.options import WriteOptions
from zllm.archive.partwriter import CodedSection, Output, PartWriter
from zllm.codecs import registry
from zllm.errors import UsageError
from zllm.format import frames, section, sectionmap
from zllm.format.tarscan import Kind, Piece, TarScanner, member_name, padded
from zllm.planner.planner import Coded, CodedFrame
from zllm.stats import EMBEDDED, HEADERS
from zllm.version import VERSION


@dataclass
class _Work:
    """A section that is coded, but not written."""

    draft: Draft
    groups: list[sectionmap.Group]
    data: list[memoryview]  # of each group
    coded: Coded


class Writer:
    """Codes sections, and writes them one after the other."""

    def __init__(self, out: Output, coder: Coder) -> None:
        self.coder = coder
        self.uses_model = False
        self.parts = PartWriter(out)

    def code(self, draft: Draft) -> _Work:
        """Code one section. Several may be in work at the same time."""
        with self.coder.run.stage("sorting", draft.size):
            groups, pieces = draft.groups()
        return _Work(draft, groups, [piece.data for piece in pieces], self.coder.groups.code(pieces))

    def section(self, work: _Work) -> None:
        """Write one section: in their order."""
        run, draft, groups = self.coder.run, work.draft, work.groups
        coded = self.coder.groups.choose(work.coded)
        small = sectionmap.with_small(groups, draft.records)
        for group, data, results, hashed in zip(groups, work.data, coded, small, strict=True):
            group.frames = [_row(frame) for frame in results]
            if hashed:
                _hash_frames(group, data)
        payloads = [frame.payload for results in coded for frame in results]
        rows = [row for group in groups for row in group.frames]
        with run.stage("headers") as stage:
            chart = sectionmap.SectionMap(draft.records, groups)
            blob, raw_size = sectionmap.encode(
                chart, continued=draft.continued, continues=draft.continues, mixed=self.coder.level.adaptive,
                bounded=True,
            )  # fmt: skip
            stage.bytes_in, stage.bytes_out = raw_size, len(blob)
        ref = self.coder.model_ref() if any(row.slot for row in rows) else None
        header = section.SectionHeader(
            draft.stream_offset, draft.size, raw_size, _flags(draft), () if ref is None else (ref,)
        )
        names = [name for name, record in zip(draft.names, draft.records, strict=True) if record.header]
        run.check()
        model = self.coder.model if ref is not None and self.coder.embed and not self.uses_model else None
        self.uses_model |= ref is not None
        with run.stage("writing") as stage:
            done = CodedSection(header, blob, list(zip(rows, payloads, strict=True)), names)
            own, sizes, model_size = self.parts.section(done, None if model is None else model.data)
            stage.bytes_in = own.whole + sum(sizes) + model_size
        if run.stats is not None:
            for row, size in zip(rows, sizes, strict=True):
                run.stats.stored(registry.name_of(row.codec), row.raw_size, size)
            run.stats.stored(HEADERS, 0, own.whole)
            if model_size:
                run.stats.stored(EMBEDDED, 0, model_size)

    def finish(self) -> None:
        """Write directory and footer."""
        size = self.parts.finish({"created_by": f"zllm {VERSION}", "level": self.coder.level.number})
        if self.coder.run.stats is not None:
            self.coder.run.stats.stored(HEADERS, 0, size)


def _flags(draft: Draft) -> int:
    return section.CONTINUED * draft.continued + section.CONTINUES * draft.continues + section.OPAQUE * draft.opaque


def _hash_frames(group: sectionmap.Group, data: memoryview) -> None:
    """Give each frame of a group with members that have no hash of their own one of its data."""
    start = 0
    for number, row in enumerate(group.frames):
        part = data[start : start + row.raw_size]
        group.frames[number] = replace(row, sha256=frames.hash_of(part))
        start += row.raw_size


def _row(frame: CodedFrame) -> frames.FrameRow:
    return frames.FrameRow(frame.raw_size, len(frame.payload), frame.codec_id, frame.model, frame.reason, frame.rival)


class _Worker:
    """Codes sections in the background while the next is read: ``coder.sections`` of them, and no more are in memory.

    Daemon threads: a codec in the middle of a large frame does not keep an interrupted program alive.
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self._sections: deque[threading.Event] = deque()  # that are being coded: set when they are written
        self._error: BaseException | None = None

    def submit(self, draft: Draft) -> None:
        """Start coding; waits until there is room for one more."""
        while len(self._sections) >= self.writer.coder.sections:
            self._wait_for_first()
            self.check()
        before = self._sections[-1] if self._sections else None
        ended = threading.Event()
        self._sections.append(ended)
        work = (draft, before, ended)
        try:
            threading.Thread(target=self._work, args=work, daemon=True, name="zllm-section").start()
        except RuntimeError:  # there can be no more threads: then nothing is read meanwhile
            self._work(*work)
            self.check()

    def _work(self, draft: Draft, before: threading.Event | None, ended: threading.Event) -> None:
        """Code the section, and write it as soon as the one before it is written."""
        try:
            work = self.writer.code(draft)
            if before is not None:
                before.wait()
            if self._error is None:
                self.writer.section(work)
        except BaseException as exc:
            if self._error is None:  # the others end because of it
                self._error = exc
            self.writer.coder.run.cancelled.set()
        finally:
            ended.set()

    def wait(self, timeout: float | None = None) -> None:
        """Until all sections are written. Raises what went wrong, again and again."""
        until = None if timeout is None else time.monotonic() + timeout
        while self._sections:
            self._wait_for_first(None if until is None else max(0.0, until - time.monotonic()))
        self.check()

    def _wait_for_first(self, timeout: float | None = None) -> None:
        # An event: up to Python 3.12 a join() that Ctrl-C ends takes the thread for ended. And forgotten only
        # afterwards: whoever aborts then waits again, before what the thread uses is closed.
        self._sections[0].wait(timeout)
        self._sections.popleft()

    def check(self) -> None:
        """Raise what went wrong so far, again and again."""
        if self._error is not None:
            raise self._error


class Sink:
    """Write a tar stream into it; :meth:`close` completes the archive, :meth:`abort` leaves it without an end.

    Args:
        out: anything with ``write``; it is neither sought nor closed.
        options: how to code.

    Raises:
        UsageError: options that do not exist.
    """

    def __init__(self, out: Output, options: WriteOptions | None = None) -> None:
        self.warnings: list[str] = []
        self.failed = False
        """Coding or writing went wrong: an OSError now is the output's, not some input file's."""
        self._coder = Coder(options or WriteOptions(), self.warnings)
        self._writer = Writer(out, self._coder)
        self._worker = _Worker(self._writer)
        self._scanner = TarScanner()
        self._draft = Draft(0)
        self._sha = hashlib.sha256()
        self._left: int | None = 0  # bytes of data that the member still gets; None: all that comes
        self._in_member = False
        self._name = ""
        self._written = 0
        self._started = False
        self._raw: bool | None = None  # the stream is not a tar; None: not known yet
        self.closed = False

    def tell(self) -> int:
        """Bytes of the tar stream so far."""
        return self._written

    def writable(self) -> bool:
        """Until it is closed."""
        return not self.closed

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take some of the tar stream.

        Raises:
            OSError: the output cannot be written.
        """
        if self.closed:
            raise UsageError("the archive is closed")
        try:
            self._worker.check()  # at once: there may be gigabytes to come before the next section is due
        except BaseException:
            self.failed = True
            raise
        self._guard(self._scanner.feed(memoryview(data).cast("B")))
        self._written += len(data)
        return len(data)

    def close(self) -> None:
        """Code what is left, write index and footer."""
        if self.closed:
            return
        self._guard(self._scanner.finish())
        try:
            self._end_member()
            if self._draft.records:
                self._flush(last=True)
            self._worker.wait()
            self._writer.finish()
        except BaseException:
            self.failed = True
            raise
        finally:
            self.closed = True

    def abort(self) -> None:
        """Give up. What was written so far has no end and is no valid archive."""
        self.closed = True
        self._coder.run.cancelled.set()
        try:
            self._worker.wait(timeout=5)
        except BaseException:
            return

    def _guard(self, pieces: Iterator[Piece]) -> None:
        try:
            self._start()
            for piece in pieces:
                self._take(piece)
        except BaseException:
            self.failed = True
            raise

    def _take(self, piece: Piece) -> None:
        if piece.kind == Kind.HEADER:
            self._end_member()
            self._header(bytes(piece.data), piece.size)
        elif piece.kind == Kind.ZERO:
            self._end_member()
            if not self._draft.room:
                self._flush()
            self._draft.add_zeros(len(piece.data))
        else:
            if piece.fresh:
                self._end_member()
                if not self._draft.room:
                    self._flush()
                self._begin(b"", None)
            self._data(memoryview(piece.data))

    def _header(self, unit: bytes, size: int) -> None:
        # A member stays whole if a section can hold it; a larger one starts its own, for long frames.
        if self._draft.size and len(unit) + padded(size) > self._draft.room:
            self._flush()
        self._begin(unit, size)

    def _begin(self, unit: bytes, size: int | None) -> None:
        self._name = member_name(unit) if unit else ""
        self._draft.begin(unit, self._name)
        self._sha = hashlib.sha256()
        self._left = size
        self._in_member = size != 0

    def _data(self, view: memoryview) -> None:
        while len(view):
            if not self._draft.room:
                self._draft.continues = True
                self._flush()
                self._draft.continued = True
                self._draft.begin(b"", self._name)
            part = view[: self._draft.room]
            view = view[len(part) :]
            self._draft.add_data(part)
            with self._coder.run.stage("hashing", len(part)):
                self._sha.update(part)
            if self._left is not None:
                self._left -= len(part)
                if not self._left:
                    self._end_member()

    def _end_member(self) -> None:
        if self._in_member:
            self._in_member = False
            if self._draft.records and self._draft.records[-1].data_size:
                self._draft.end_member(self._sha.digest())

    def _flush(self, *, last: bool = False) -> None:
        draft = self._draft
        if self._raw is None:
            # A whole section of zeros is no tar's beginning, whatever follows: the first section says it for readers.
            self._raw = not self._scanner.is_tar and (self._scanner.opaque or not last)
        draft.opaque = self._raw
        self._draft = Draft(draft.stream_offset + draft.size)
        self._worker.submit(draft)

    def _start(self) -> None:
        """Begin the file header, once: with the first byte, when an output that cannot be written shows it."""
        if not self._started:
            self._started = True
            self._writer.parts.start()
