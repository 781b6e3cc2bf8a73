"""Where the headers of a tar stream are, whatever is between them.

The section maps say where headers are, so nothing is decoded to find them. Where a member's data ends is decided by
:mod:`zllm.format.tarscan` alone, as when it was packed, or else two readers could take different bytes for headers.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zllm.archive.view import ENDS_INSIDE, TarView
from zllm.errors import DamagedError, ZllmError
from zllm.format import headerunits
from zllm.format.headerunits import Headers, Plain
from zllm.format.limits import BLOCK
from zllm.format.tarscan import Kind, Piece, TarScanner, padded, valid

if TYPE_CHECKING:
    from zllm.archive.sections import Section

_STEP = 1 << 16
_PASSED = "the archive is damaged: a header is due in a section that has passed"
_BEHIND = "bytes after the end of the tar stream are not members: ignored"


@dataclass(slots=True)
class Header:
    """Header blocks of a member at ``position``, which has ``size`` bytes of data behind them.

    ``proven``: they were found by scanning, not by what the section map says.
    """

    position: int
    blocks: Headers
    size: int
    proven: bool = False

    @property
    def data_start(self) -> int:
        """Where the data begins."""
        return self.position + headerunits.header_size(self.blocks)

    @property
    def end(self) -> int:
        """Where the next header is due."""
        return self.data_start + padded(self.size)

    @property
    def name(self) -> str:
        """The member's name."""
        return headerunits.member_name(self.blocks)


class Finder:
    """Finds one header after the other; what it passes over is noted in the view."""

    def __init__(self, view: TarView, *, quiet: bool = False) -> None:
        self._view = view
        self._quiet = quiet
        self._base = 0
        self._after_loss = False
        self._after_end = False  # zeros were the last that was seen
        self._last: tuple[int, Headers] | None = None
        self._place: tuple[Section, int] | None = None  # section and number of the record that was found last

    def find(self, position: int) -> Header | None:
        """The first header from ``position`` on; None: there is no more."""
        if (following := self._next_record(position)) is not None:
            self._last = position, following.blocks
            return following
        view = self._view
        while True:
            border = view.next_base(self._base, position)
            if border is not None:
                if position > border:
                    self._cut()
                position = self._base = border
                self._after_end = self._after_loss = False
            try:
                found = self._step(position)
            except (ZllmError, OSError) as exc:
                if isinstance(exc, OSError) and exc.errno != errno.ESPIPE:
                    raise
                view.note(exc if isinstance(exc, ZllmError) else DamagedError(_PASSED))
                self._after_loss = True
                start = view.next_start(position)
                if start is None:
                    return None
                found = start
            if found is None:
                if position > view.end:
                    self._cut()
                return None
            if isinstance(found, Header):
                self._after_loss = self._after_end = False
                self._last = found.position, found.blocks
                return found
            position = found

    def plain(self, position: int) -> Iterator[tuple[int, Plain]]:
        """Plain headers that follow each other from ``position`` on, each with its place: those of the records behind
        the one that was found last, as far as one begins where the one before ends.
        """
        if self._place is None:
            return
        section, last = self._place
        base, starts, records = section.header.stream_offset, section.layout.starts, section.layout.records
        for number in range(last + 1, len(records)):
            blocks = records[number].headers
            if base + starts[number] != position or isinstance(blocks, bytes):
                return
            self._place, self._after_loss, self._after_end = (section, number), False, False
            self._last = position, blocks
            yield position, blocks
            position += blocks.header_size + padded(blocks.data_size)

    def _next_record(self, position: int) -> Header | None:
        """The header of the record behind the one that was found last, if it begins at ``position``."""
        if self._place is None:
            return None
        section, number = self._place
        records, number = section.layout.records, number + 1
        if number < len(records) and section.header.stream_offset + section.layout.starts[number] == position:
            record = records[number]
            if record.headers:
                self._place = section, number
                self._after_loss = self._after_end = False
                return Header(position, record.headers, record.said_size)
        self._place = None
        return None

    def _step(self, position: int) -> Header | int | None:
        """A header at ``position``, or where to look next; None at the end."""
        view = self._view
        section = view.section_at(position)
        if section is None:
            return None
        start = section.header.stream_offset
        place = section.layout.place(position - start)
        record = section.layout.records[place.record]
        end = start + section.layout.starts[place.record] + record.size
        if place.offset == 0 and record.headers:
            self._place = section, place.record
            return Header(position, record.headers, record.said_size)
        if self._after_loss and place.record == 0 and section.header.continued:
            return end  # the rest of a member that begins in what is lost
        self._after_loss = False
        if place.offset >= record.header_size + record.data_size:
            self._after_end |= end - position >= BLOCK
            return end
        return self.scan(position)

    def scan(self, position: int) -> Header | int:
        """Look for a header byte by byte: it, or where the section map says one."""
        view = self._view
        scanner = TarScanner(is_tar=True)
        at = reading = position
        while True:
            section = view.section_at(reading) if view.next_base(self._base, reading) is None else None
            if section is None:
                self._pieces(list(scanner.finish()), at)
                return reading
            place = section.layout.place(reading - section.header.stream_offset)
            record = section.layout.records[place.record]
            if place.offset == 0 and record.headers and scanner.idle and reading > position:
                return reading
            view.seek(reading)
            data = view.read(min(_STEP, record.size - place.offset))
            reading += len(data)
            for piece in scanner.feed(data):
                if piece.kind == Kind.HEADER:
                    return Header(at, bytes(piece.data), piece.size, proven=True)
                self._pieces([piece], at)
                at += len(piece.data)

    def again(self, found: Header) -> Header | int | None:
        """What :meth:`scan` finds from a header of the section map on; None if what is there cannot be read."""
        self._place = None
        try:
            scanned = self.scan(found.position)
        except ZllmError as exc:
            self._view.note(exc)
            return None
        if isinstance(scanned, Header):
            self._after_loss = self._after_end = False
            self._last = scanned.position, scanned.blocks
        return scanned

    def _pieces(self, pieces: list[Piece], at: int) -> None:
        """Bytes that are not a header."""
        for piece in pieces:
            if piece.kind == Kind.ZERO:
                self._after_end |= len(piece.data) >= BLOCK
            elif piece.fresh and not _lone_global(bytes(piece.data)):
                if self._after_end:
                    self._view.warn(_BEHIND)
                elif not self._quiet:
                    self._view.note_broken(
                        f"the tar stream is broken at byte {at}: no valid header there; skipped to the next one"
                    )

    def _cut(self) -> None:
        """The stream ends before the last member does."""
        if self._view.problem is None and not self._quiet:
            self._view.note_broken(
                ENDS_INSIDE, headerunits.member_name(self._last[1]) if self._last is not None else None
            )


def _lone_global(data: bytes) -> bool:
    """A global header at the end of the tar: git archive writes no other member for an empty tree."""
    return data[156:157] == b"g" and valid(data[:BLOCK]) and not any(data[-BLOCK:])
