"""The members of a tar stream: where each header is, whatever is between them.

The section maps say where headers are, so nothing is decoded to find them. What :mod:`tarfile` makes of a header counts
for its fields; where a member's data ends is decided by :mod:`zllm.format.tarscan` alone, as when it was packed, or
else two readers could take different bytes for headers.
"""

from __future__ import annotations

import errno
import tarfile
from dataclasses import dataclass
from typing import Any, cast

from zllm.archive.info import ZllmInfo
from zllm.archive.view import ENDS_INSIDE, TarView
from zllm.errors import DamagedError, ZllmError
from zllm.format.limits import BLOCK
from zllm.format.tarscan import EXTENDED, Kind, Piece, TarScanner, data_size, member_name, padded, valid

_STEP = 1 << 16
_PASSED = "the archive is damaged: a header is due in a section that has passed"
_BEHIND = "bytes after the end of the tar stream are not members: ignored"


@dataclass(frozen=True)
class Header:
    """Header blocks of a member at ``position``, which has ``size`` bytes of data behind them.

    ``proven``: they were found by scanning, not by what the section map says.
    """

    position: int
    unit: bytes
    size: int
    proven: bool = False

    @property
    def data_start(self) -> int:
        """Where the data begins."""
        return self.position + len(self.unit)

    @property
    def end(self) -> int:
        """Where the next header is due."""
        return self.data_start + padded(self.size)

    @property
    def name(self) -> str:
        """The member's name."""
        return member_name(self.unit)


class Finder:
    """Finds one header after the other; what it passes over is noted in the view."""

    def __init__(self, view: TarView, *, quiet: bool = False) -> None:
        self._view = view
        self._quiet = quiet
        self._base = 0
        self._after_loss = False
        self._after_end = False  # zeros were the last that was seen
        self._last: Header | None = None

    def find(self, position: int) -> Header | None:
        """The first header from ``position`` on; None: there is no more."""
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
                self._last = found
                return found
            position = found

    def _step(self, position: int) -> Header | int | None:
        """A header at ``position``, or where to look next; None at the end."""
        view = self._view
        section = view.section_at(position)
        if section is None:
            return None
        start = section.header.stream_offset
        place = section.chart.place(position - start)
        record = section.chart.records[place.record]
        end = start + section.chart.starts[place.record] + record.size
        if place.offset == 0 and record.header:
            return Header(position, record.header, data_size(record.header))
        if self._after_loss and place.record == 0 and section.header.continued:
            return end  # the rest of a member that begins in what is lost
        self._after_loss = False
        if place.offset >= len(record.header) + record.data_size:
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
            place = section.chart.place(reading - section.header.stream_offset)
            record = section.chart.records[place.record]
            if place.offset == 0 and record.header and scanner.idle and reading > position:
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
        try:
            scanned = self.scan(found.position)
        except ZllmError as exc:
            self._view.note(exc)
            return None
        if isinstance(scanned, Header):
            self._after_loss = self._after_end = False
            self._last = scanned
        return scanned

    def _pieces(self, pieces: list[Piece], at: int) -> None:
        """What is no header."""
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
            self._view.note_broken(ENDS_INSIDE, self._last.name if self._last is not None else None)


def _lone_global(data: bytes) -> bool:
    """A global header at the end of the tar: git archive writes no other member for an empty tree."""
    return data[156:157] == b"g" and valid(data[:BLOCK]) and not any(data[-BLOCK:])


class _HeaderFile:
    """What tarfile reads a member's headers from: their bytes, and behind them the stream."""

    def __init__(self, view: TarView, header: Header) -> None:
        self._view = view
        self._header = header
        self._position = header.position

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        self._position = position
        return position

    def read(self, size: int) -> bytes:
        start = self._position - self._header.position
        data = self._header.unit[start : start + size]
        limit = self._header.data_start + self._header.size - self._position
        if not data and start >= len(self._header.unit) and limit > 0:
            self._view.seek(self._position)
            data = self._view.read(min(size, limit))
        self._position += len(data)
        return data


def following(archive: tarfile.TarFile, finder: Finder, view: TarView) -> ZllmInfo | None:
    """The next member from ``archive.offset`` on, None after the last. Headers that make no sense are noted."""
    position, scanned = archive.offset, None
    while (found := scanned or finder.find(position)) is not None:
        position, scanned = found.end, None
        try:
            info = _parsed(archive, view, found)
        except ZllmError as exc:
            view.note(type(exc)(f"{found.name}: {exc}") if isinstance(exc, DamagedError) else exc)
            continue
        finally:
            archive.offset = position
        if info is not None:
            return info
        if not found.proven:  # the map may say that there is a header where there is none
            again = finder.again(found)
            if isinstance(again, int):
                position = again
                continue
            if again is not None and (again.position, again.unit) != (found.position, found.unit):
                scanned = again
                continue
        if not archive.ignore_zeros:
            view.note_broken("its header makes no sense: passed over", found.name)
    return None


def _parsed(archive: tarfile.TarFile, view: TarView, found: Header) -> ZllmInfo | None:
    """What tarfile makes of the header; None if it makes no sense."""
    archive.fileobj = cast(Any, _HeaderFile(view, found))
    archive.offset = found.position
    try:
        info = cast(ZllmInfo, archive.tarinfo.fromtarfile(archive))
    except (ZllmError, OSError, MemoryError):
        raise
    except Exception:  # tarfile lets out whatever its parsing meets: ValueError, KeyError, RecursionError, ...
        return None
    finally:
        archive.fileobj = cast(Any, view)
    if info.type in EXTENDED or info.size < 0:
        return None
    if not _sparse_fits(info, found):
        return None
    if getattr(info, "sparse", None) is None:
        if info.offset_data != found.data_start:
            return None
        if info.isreg() or info.type not in tarfile.SUPPORTED_TYPES:
            info.size = found.size
    if isinstance(info, ZllmInfo):  # unless tarinfo= is another class
        info._view, info.stored = view, (found.data_start, found.size)
    return info


def _sparse_fits(info: tarfile.TarInfo, found: Header) -> bool:
    """Whether a sparse map makes sense, and the data has room for what it speaks of."""
    extents = cast("list[tuple[int, int]] | None", getattr(info, "sparse", None))
    if extents is None:
        return True
    end = stored = 0
    for offset, size in extents:
        if not 0 <= offset <= info.size or size < 0 or (size and offset < end):
            return False  # maps may end with extents of no bytes, at the end or at 0
        end, stored = max(end, offset + size), stored + size
    inside = found.data_start <= info.offset_data <= found.data_start + found.size
    return inside and end <= info.size and info.offset_data + stored <= found.data_start + found.size
