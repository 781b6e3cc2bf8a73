"""The layout of a file with one archive, by its directories."""

from __future__ import annotations

import io
from bisect import bisect_left
from typing import BinaryIO

from zllm.archive.generations import Generation, members_of
from zllm.archive.places import Layout, Place, Row, missing, read_model
from zllm.errors import DamagedError
from zllm.format import directory, ends, envelope, sealing, section, sectionmap
from zllm.format.directory import Directory
from zllm.format.envelope import Kind
from zllm.format.found import frames_of, refusal
from zllm.format.limits import Limits

_FIRST_STEP, _STEP = 1 << 12, 1 << 20
"""Bytes that are read at once where the footer is looked for: few at first, since behind most there are no zeros."""
_FOOTER = envelope.MAX_SIZE + 10 + envelope.CHECK_SIZE
"""Most bytes of a footer."""


class Directories:
    """The only archive in a file, by its directories, if they tell where every byte belongs.

    ``last``: the number of the generation that is the last to be read; None: all are.

    Raises:
        UsageError: there is no such generation.
        DamagedError: they do not.
        UnsupportedVersionError: a feature that this program does not read.
    """

    def __init__(  # noqa: PLR0917
        self,
        file: BinaryIO,
        start: int,
        seed: int,
        limits: Limits,
        last: int | None = None,
        opener: sealing.Opener = sealing.LOCKED,
    ) -> None:
        self._file = file
        self._start = start
        self._seed = seed
        self._limits = limits
        self._last = last
        self._opener = opener
        self._encrypted = False
        self._at = self._sequence = self._stream = self._members = 0

    def layout(self) -> Layout:
        """Where everything is."""
        layout = Layout([], self._start, limits=self._limits, opener=self._opener)
        self._at = self._start + ends.HEADER_SIZE
        begins = self._start
        found_all = self._generations()
        if self._last is not None and self._last >= len(found_all):
            raise missing(self._last, len(found_all) - 1)
        for place, found, footer in found_all[: None if self._last is None else self._last + 1]:
            since, before = self._stream, self._members
            self._follow(layout, found, place)
            layout.directories.append(place)
            layout.manifest = {**found.manifest, **layout.manifest}
            layout.deletions.add(0, since, found.deleted, before)
            self._at, self._sequence = footer.offset + footer.envelope.whole, footer.envelope.sequence + 1
            layout.generations.append(
                Generation(
                    found.generation, found.time, members_of(found), len(found.deleted), begins, self._at, since,
                    self._stream,
                )
            )  # fmt: skip
            begins = self._at
        return layout

    def last_number(self) -> int:
        """The number of the last generation. Nothing before its directory is looked at."""
        footer, distance, keys = self._last_footer()
        return self._directory(footer.offset - distance, keys)[1].generation

    def _generations(self) -> list[tuple[Place, Directory, Place]]:
        """Each directory with its footer, the oldest first."""
        footer, distance, keys = self._last_footer()
        at = footer.offset - distance
        out: list[tuple[Place, Directory, Place]] = []
        while True:
            place, found = self._directory(at, keys)
            if place.offset + place.envelope.whole != footer.offset:
                raise DamagedError("the directory is damaged: it is not where the footer says")
            out.append((place, found, footer))
            if not found.back:
                break
            at = place.offset - found.back
            before = self._part(at, Kind.DIRECTORY)
            footer = self._part(before.offset + before.envelope.whole, Kind.FOOTER)
            keys = ends.read_keys(self._body(footer))
            if footer.offset + footer.envelope.whole > place.offset:
                raise DamagedError("the directory is damaged: it is not behind the one before it")
        out.reverse()
        if [found.generation for _, found, _ in out] != list(range(len(out))):
            raise DamagedError("the directory is damaged: its generation is another one")
        return out

    def _directory(self, offset: int, keys: int) -> tuple[Place, Directory]:
        """The directory at a place of the file; of an encrypted archive, the keys part ``keys`` bytes before it."""
        self._encrypted = bool(keys)
        if keys:
            place = self._part(offset - keys, Kind.KEYS)
            if place.offset + place.envelope.whole != offset:
                raise DamagedError("the directory is damaged: the keys are not before it")
            self._opener.take(self._seed, place.envelope.sequence, self._body(place))
        place = self._part(offset, Kind.DIRECTORY)
        flags = place.envelope.flags & envelope.SEALED
        return place, directory.unpack(self._body(place), self._seed, self._limits, offset - self._start, flags)

    def _part(self, offset: int, kind: Kind) -> Place:
        """The part at a place of the file."""
        if offset < self._start + ends.HEADER_SIZE:
            raise DamagedError("the directory is damaged: it is not where it should be")
        self._file.seek(offset)
        found = envelope.parse(self._file.read(envelope.MAX_SIZE), self._seed)
        if found.kind != kind:
            raise DamagedError("the directory is damaged: another part is where it should be")
        refused = refusal(found, sealed=self._encrypted)
        if refused is not None:
            raise refused
        return Place(offset, found, self._seed)

    def _body(self, place: Place) -> bytes:
        self._file.seek(place.offset)
        part = self._file.read(place.envelope.whole)
        if len(part) < place.envelope.whole or not envelope.holds(self._seed, part):
            raise DamagedError("the directory is damaged: its checksum does not match")
        body = part[place.envelope.size : -envelope.CHECK_SIZE]
        return self._opener.open(self._seed, place.envelope, body) if sealing.is_sealed(place.envelope) else body

    def _last_footer(self) -> tuple[Place, int, int]:
        """The footer before nothing but zeros, how far before it the directory begins, and before that the keys."""
        size = end = self._file.seek(0, io.SEEK_END)
        step = _FIRST_STEP
        while end > self._start:
            self._file.seek(max(self._start, end - step))
            data = self._file.read(end - max(self._start, end - step))
            step = _STEP
            rest = data.rstrip(b"\0")
            end -= len(data) - len(rest)
            if rest:
                break
        first = max(self._start, end - _FOOTER)
        self._file.seek(first)
        data = self._file.read(min(size, end + envelope.CHECK_SIZE) - first)  # a checksum may end with zeros
        at = data.rfind(envelope.SYNC + bytes([Kind.FOOTER]))
        while at >= 0:
            try:
                place = self._part(first + at, Kind.FOOTER)
                if end <= place.offset + place.envelope.whole <= size:
                    body = self._body(place)
                    keys = ends.read_keys(body)
                    return place, ends.read_footer(body, sealed=bool(keys)), keys
            except DamagedError:
                pass
            at = data.rfind(envelope.SYNC + bytes([Kind.FOOTER]), 0, at)
        raise DamagedError("the footer is missing")

    def _follow(self, layout: Layout, found: Directory, place: Place) -> None:
        """The parts of a generation follow each other to its directory, and nothing is between them."""
        others = {self._start + other.offset: other for other in found.others}
        bounds = sorted([*(self._start + row.offset for row in found.rows), *others, place.offset])
        if bounds[-1] > place.offset:
            raise DamagedError("the directory is damaged: it names parts behind itself")
        for named in found.rows:
            self._others(layout, others)
            if self._start + named.offset != self._at or named.sequence != self._sequence:
                raise DamagedError("the directory is damaged: a section is not where it says")
            last = bounds[bisect_left(bounds, self._at) + 1]
            row = self._row(named)
            if row.header.stream_offset != self._stream or row.end != last:
                raise DamagedError("the directory is damaged: a section is not where it says")
            layout.rows.append(row)
            self._at, self._stream = row.end, row.header.stream_end
            self._limits.check_output(self._stream)
            self._members += row.members
            self._limits.check_members(self._members)
        self._others(layout, others)
        if self._at != place.offset or others or self._sequence != place.envelope.sequence:
            raise DamagedError("the directory is damaged: there are parts that it does not name")

    def _row(self, named: directory.Row) -> Row:
        """The row of a section. Of maps that are read here the first is kept: they take more memory than the file."""
        if named.header is not None:
            self._sequence += 1 + named.frames
            return Row(
                self._at, named.envelope, self._seed, named.members, named.header, names=named.names,
                frame_count=named.frames, frames_size=named.frames_size,
            )  # fmt: skip
        place = self._part(self._at, Kind.SECTION)
        body = self._body(place)
        header, at = section.read(body)
        sealed = self._encrypted
        found = sectionmap.decode(body[at:], header, self._sequence + 1, self._limits, sealed=sealed)
        count, size = frames_of(found)
        self._sequence += 1 + count
        return Row(
            self._at, place.envelope, self._seed, named.members, header, names=named.names, frame_count=count,
            frames_size=size, map=None if self._stream else found,
        )  # fmt: skip

    def _others(self, layout: Layout, others: dict[int, directory.OtherPart]) -> None:
        """What is here beside sections."""
        while self._at in others:
            other = others.pop(self._at)
            self._file.seek(self._at)
            found = envelope.parse(self._file.read(envelope.MAX_SIZE), self._seed)
            if found != other.envelope or found.sequence != self._sequence:
                raise DamagedError("the directory is damaged: a part is not what it says")
            place = Place(self._at, found, self._seed)
            refused = refusal(found, sealed=self._encrypted)
            if refused is not None:
                layout.note(refused)
            if found.kind == Kind.KEYS:
                self._first_keys(place)
            model = None
            if refused is None and found.kind == Kind.MODEL:
                model = read_model(self._file, place, self._limits, self._opener)
            if model is not None:
                layout.models.setdefault(model.sha256, []).append(place)
            else:
                layout.others.append(place)
            self._at, self._sequence = self._at + found.whole, self._sequence + 1

    def _first_keys(self, place: Place) -> None:
        """The keys of a generation where it begins, too: nobody may have changed them. Damage costs nothing."""
        if not self._encrypted:
            raise DamagedError("the directory is damaged: there are keys that the footer does not tell of")
        try:
            body = self._body(place)
        except DamagedError:
            return
        self._opener.take(self._seed, place.envelope.sequence, body)
