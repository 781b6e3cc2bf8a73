"""The parts of one archive after another, from a file or a pipe: the one place that knows what may follow what.

Archives one behind the other are read as one: their tar streams follow each other. Zeros between and behind them are
padding. Where something is damaged, the search goes on for the next part whose envelope's checksum holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zllm.errors import (
    AuthenticationError,
    DamagedError,
    LockedError,
    NotZllmError,
    TruncatedError,
    UnsupportedVersionError,
    ZllmError,
    worse,
)
from zllm.format import directory, ends, envelope, limits, modelpart, repair, sealing, section, sectionmap
from zllm.format.beginning import Source, begins, recovered
from zllm.format.envelope import Envelope, Kind
from zllm.format.found import (
    USED,
    DirectoryPart,
    Facts,
    FramePart,
    FramesPart,
    ModelPart,
    OtherPart,
    Part,
    SectionPart,
    Unfinished,
    frames_of,
    refusal,
)
from zllm.format.search import STEP, Search

TRUNCATED = "the archive is truncated: it ends before its footer. Whole members can be extracted, the rest is lost"
CORRECTED = "one byte was wrong and is corrected, nothing is lost"
KEYS_DAMAGED = "a part with the keys is damaged: its checksum does not match"
OTHER_SECTIONS = "the archive is damaged: its directory names other sections than there are"
UNUSED = "a part that this program does not use is damaged: its checksum does not match"
_ORDER = "the archive is damaged: its parts are out of order"
_MAGIC_AT_LEAST = 4  # bytes of a file header: fewer may be anything
_WHAT: dict[int, str] = {Kind.SECTION: "a section map", Kind.DIRECTORY: "the directory", Kind.FOOTER: "the footer"}


class Walk(Search):
    """Goes from part to part. What is wrong is in ``problem`` and ``warnings`` when :meth:`parts` has ended.

    Raises:
        NotZllmError: not an archive.
        DamagedError: the file header is damaged, and no archive can be made out behind it.
        UnsupportedVersionError: a version or a feature that this program does not read.
        LimitError: in :meth:`parts`, the archive has more than is allowed.
        LockedError: in :meth:`parts`, the first archive is encrypted, and ``opener`` does not have its key.
    """

    def __init__(
        self,
        source: Source,
        budget: repair.Budget,
        allowed: limits.Limits = limits.DEFAULT,
        opener: sealing.Opener = sealing.LOCKED,
    ) -> None:
        self.problem: ZllmError | None = None
        self.warnings: list[str] = []
        self.manifest: dict[str, Any] = {}
        self.end = 0
        """Of all archives' stream, as far as it is known."""
        self.rest = 0
        """Bytes behind the last archive that are not part of it."""
        self._source = source
        self._budget = budget
        self._allowed = allowed
        self._opener = opener
        self._encrypted: bool | None = None  # all archives in the file, or none
        self._members = 0  # of all archives
        self._tries = repair.Budget()  # for searches: what corrections cost leaves them as they are
        self._headers = repair.Budget()  # for damaged headers
        # Sections of this generation by their places: which one it is, and its facts, if it can be read. Not the maps:
        # those of all sections together take as much memory as the archive has members.
        self._rows: dict[int, tuple[int, Facts | None]] = {}
        self._start = self._base = self._next = self._seed = 0
        self._directory_at: int | None = None  # of this generation, if it came
        self._frames: tuple[int, int] | None = None  # how many are due here, and their bytes
        self._last_frame = -1  # its number, of the last section
        self._orphans = False  # the last section cannot be read: whose frames these are is not known
        self._generation = 0
        self._back: int | None = 0  # where the directory of the generation before is; 0: none, None: it is lost
        self._whole = False  # the generation that came last has its footer
        self._notes = 0
        self._due_end = 1 << 62  # where the footer ends of a directory that has come
        # What stood when the last footer of this archive had come: where it ends, problem, notes, end of the stream.
        self._settled: tuple[int, ZllmError | None, int, int] = 0, None, 0, 0
        self._begin()

    def note(self, problem: ZllmError) -> None:
        """The archive as a whole is damaged. What is told: :func:`zllm.errors.worse`."""
        self._notes += 1
        self.problem = worse(self.problem, problem)

    @property
    def encrypted(self) -> bool:
        """Whether the parts that came are of encrypted archives."""
        return bool(self._encrypted)

    @property
    def generation(self) -> int:
        """The number of the generation whose parts come."""
        return self._generation

    @property
    def unfinished(self) -> Unfinished | None:
        """What is behind the last footer, when all parts have come, if it is the beginning of a generation, without
        damage: writing it was interrupted, or the file was cut.
        """
        position, problem, notes, _ = self._settled
        if self._whole or not self._generation or notes != self._notes or self._source.position >= self._due_end:
            return None
        return Unfinished(position, self._source.position - position, problem)

    def parts(self) -> Iterator[Part]:
        """All that can be found, in order."""
        while self._source.peek(1):
            try:
                part = self._between() if self._whole else self._inside()
            except (DamagedError, NotZllmError, UnsupportedVersionError) as exc:
                self.note(exc)
                self._search()
                continue
            if part is not None:
                yield part
        if not self._whole and not isinstance(self.problem, AuthenticationError):
            self.problem = TruncatedError(TRUNCATED)

    def _begin(self) -> None:
        front = self._source.peek(ends.HEADER_SIZE)
        try:
            archive_id = ends.read_header(front)
        except (DamagedError, NotZllmError) as exc:
            found = recovered(self._source, self._headers)
            if found is None:
                raise
            self.note(DamagedError(f"{ends.damage(exc)}: nothing else is lost"))
            archive_id = found
        self._start, self._seed = self._source.position, envelope.seed_of(archive_id)
        self._source.skip(ends.HEADER_SIZE)
        self._base, self._rows, self._next, self._whole = self.end, {}, 0, False
        self._directory_at, self._frames, self._due_end = None, None, 1 << 62
        self._last_frame, self._orphans, self._generation, self._back = -1, False, 0, 0
        self._settled = self._start, self.problem, self._notes, self._base

    # Where a part is due

    def _inside(self) -> Part | None:
        """What is next before a footer."""
        due, self._frames = self._frames, None
        if due is not None and self._goes_on(self._source.look(due[1], envelope.MAX_SIZE), self._next + due[0]):
            self._next += due[0]
            return FramesPart(self._source.position, *due)
        front = self._source.peek(envelope.MAX_SIZE)
        if front[: len(ends.FILE_MAGIC)] == ends.FILE_MAGIC and begins(self._source, self._headers):
            self.note(TruncatedError(TRUNCATED))
            self._begin()
            return None
        try:
            found = envelope.parse(front, self._seed)
        except DamagedError:
            fixed = self._repaired(front)
            if fixed is not None:
                return self._part(fixed)
            if not envelope.is_cut(front):
                raise
            self._source.skip(len(front))
            self._whole = False
            return None
        return self._part(found)

    def _repaired(self, front: bytes) -> Envelope | None:
        """The envelope that is due here, if one byte of it is wrong."""

        def proved(found: Envelope) -> bool:
            if found.length > limits.MAX_PAYLOAD or not self._budget.spend(1, found.whole):
                return False
            part = self._source.peek(found.whole)
            return len(part) == found.whole and envelope.holds(self._seed, found.pack(self._seed) + part[found.size :])

        fixed = repair.envelope(front, self._seed, self._next, proved, self._budget)
        if fixed is not None:
            self.note(DamagedError(f"the archive is damaged: of an envelope {CORRECTED}"))
        return fixed

    def _part(self, found: Envelope) -> Part | None:
        """A part of this archive."""
        self._whole = False
        if found.sequence < self._next:
            self.note(DamagedError(_ORDER))
            self._source.skip(found.whole)
            return None
        return self._following(self._source.position, found)

    def _following(self, offset: int, found: Envelope) -> Part | None:
        """A part that is not out of order."""
        if self._encrypted is None and found.kind not in (Kind.FOOTER, Kind.PARITY):
            closed = sealing.is_sealed(found)
            if not closed or self._opener.knows(self._seed):
                self._encrypted = closed or found.kind == Kind.KEYS
        refused = refusal(found, sealed=bool(self._encrypted))
        if refused is not None:
            self.note(refused)
        self._check_place(found)
        if self._directory_at is not None and found.kind != Kind.FOOTER:
            self.note(DamagedError(_ORDER))
        self._next = found.sequence + 1
        if found.kind == Kind.DIRECTORY:
            self._directory_at, self._due_end = offset, ends.footer_end(offset, found)
        if found.kind == Kind.SECTION:
            self._orphans = True
            self._rows[offset - self._start] = len(self._rows), None
        closed = self._opener.keyless and sealing.is_sealed(found)
        if refused is not None or found.kind not in USED or closed:
            return OtherPart(offset, found, self._seed)
        if found.kind == Kind.FRAME:
            return FramePart(offset, found, self._seed)
        taken = {Kind.KEYS: self._keys, Kind.MODEL: self._model}.get(Kind(found.kind), self._taken)
        return taken(offset, found)

    def _keys(self, offset: int, found: Envelope) -> Part:
        """How the archive is encrypted."""
        data = self._source.peek(found.whole)
        front, rest = found.pack(self._seed), data[found.size :]
        if len(data) == found.whole and not envelope.holds(self._seed, front + rest):
            rest = repair.body(front, rest, self._seed, self._budget) or b""
            self.note(DamagedError(f"the keys are damaged: {CORRECTED}" if rest else KEYS_DAMAGED))
        if len(data) == found.whole and rest:
            try:
                self._opener.take(self._seed, found.sequence, rest[: -envelope.CHECK_SIZE])
            except LockedError as exc:
                if offset - self._start == ends.HEADER_SIZE and not self._start:
                    raise
                self.note(exc)
            except (DamagedError, UnsupportedVersionError) as exc:
                self.note(exc)
        return OtherPart(offset, found, self._seed)

    def _check_place(self, found: Envelope) -> None:
        """Note what is missing before this part."""
        belongs = found.kind == Kind.FRAME and found.sequence <= self._last_frame
        if found.sequence > self._next or belongs != (found.sequence <= self._last_frame):
            self.note(DamagedError("the archive is damaged: parts of it are missing"))
        elif found.kind == Kind.FRAME and not belongs and not self._orphans and not self._opener.keyless:
            self.note(DamagedError("the archive is damaged: a frame belongs to no section"))

    def _model(self, offset: int, found: Envelope) -> Part:
        size = found.size + modelpart.beginning(found)
        front = self._source.peek(size)
        if len(front) < size:  # the archive was cut off here
            return OtherPart(offset, found, self._seed)
        front = front[found.size :]
        try:
            try:
                model = modelpart.read_beginning(front, found, self._seed, self._allowed, self._opener)
            except AuthenticationError:
                rest = self._source.peek(found.whole)[found.size :]
                model = modelpart.read_corrected(rest, found, self._seed, self._allowed, self._opener)
            return ModelPart(offset, found, self._seed, model)
        except (DamagedError, UnsupportedVersionError, LockedError) as exc:
            self.note(exc)
            return OtherPart(offset, found, self._seed)

    def _taken(self, offset: int, found: Envelope) -> Part | None:
        """A part that is read here, and wrong bytes corrected. Where it is damaged, nothing else is."""
        data = self._source.take(found.whole)
        if len(data) < found.whole:
            return None  # the archive was cut off here
        what = _WHAT[found.kind]
        front, rest = found.pack(self._seed), data[found.size :]
        corrected = not envelope.holds(self._seed, front + rest)
        if corrected:
            fixed = repair.body(front, rest, self._seed, self._budget)
            if fixed is None:
                self._lost(found.kind)
                return None
            self.note(DamagedError(f"{what} is damaged: {CORRECTED}"))
            rest = fixed
        try:
            body = rest[: -envelope.CHECK_SIZE]
            if sealing.is_sealed(found):
                body = self._opener.open(self._seed, found, body)
            if found.kind == Kind.SECTION:
                return self._section(offset, found, body, corrected=corrected)
            if found.kind == Kind.DIRECTORY:
                return self._directory(offset, found, body)
            self._footer(offset, body)
        except (DamagedError, UnsupportedVersionError, LockedError) as exc:
            self.note(exc)
        return None

    def _lost(self, kind: int) -> None:
        """A part is there, and cannot be used."""
        what = f"{_WHAT[kind]} is damaged: its checksum does not match"
        self.note(DamagedError(what if kind == Kind.SECTION else f"{what}: nothing is lost by that"))
        if kind == Kind.FOOTER:
            self._ended()

    def _section(self, offset: int, found: Envelope, body: bytes, *, corrected: bool) -> SectionPart | None:
        header, at = section.read(body)
        start = self._base + header.stream_offset
        if start < self.end:
            self.note(DamagedError(_ORDER))
            return None
        if start > self.end:
            self.note(DamagedError("the archive is damaged: a section is missing"))
        self._allowed.check_output(start + header.stream_size)
        sealed = sealing.is_sealed(found)
        section_map = sectionmap.decode(body[at:], header, found.sequence + 1, self._allowed, sealed=sealed)
        self._members += section_map.members()
        self._allowed.check_members(self._members)
        blob = body[at:] if corrected else b""
        part = SectionPart(offset, found, self._seed, self._base, header, section_map, blob)
        due = frames_of(section_map)
        self._frames = due if due[0] else None
        self._last_frame, self._orphans = found.sequence + due[0], False
        self._rows[offset - self._start] = self._rows[offset - self._start][0], part.facts()
        self.end = start + header.stream_size
        return part

    def _directory(self, offset: int, own: Envelope, body: bytes) -> DirectoryPart:
        sealed = own.flags & envelope.SEALED
        found = directory.unpack(body, self._seed, self._allowed, offset - self._start, sealed)
        self.manifest = {**found.manifest, **self.manifest}
        exact = self._compare(found)
        if self._back is not None:
            back = offset - self._back if self._back else 0
            if (found.generation, found.back) != (self._generation, back):
                self.note(DamagedError("the archive is damaged: its directory is of another generation"))
        self._back = offset
        return DirectoryPart(offset, own, self._seed, self._start, self._base, found, exact, self._settled[3])

    def _compare(self, found: directory.Directory) -> bool:
        """Whether the directory names the sections that are there, and no other, as it must, and all can be read."""
        wrong = len(self._rows) != len(found.rows)
        whole = True
        last = next(reversed(self._rows), -1)
        for number, named in enumerate(found.rows):
            place, row = self._rows.get(named.offset, (-1, None))
            wrong = wrong or place != number
            whole = whole and row is not None
            wrong = wrong or (row is not None and row[0] != named.members)
            if named.header is None:
                continue
            end = self._base + named.header.stream_end
            if row is not None:
                wrong = wrong or row[1:] != (named.header, named.envelope, named.frames, named.frames_size)
            elif 0 < end - self.end <= limits.WINDOW and last <= named.offset:
                self.end = end
        if wrong:
            self.note(DamagedError(OTHER_SECTIONS))
        return whole and not wrong

    def _footer(self, offset: int, body: bytes) -> None:
        sealed = bool(self._encrypted) and ends.read_keys(body) > 0
        if self._directory_at is None or ends.read_footer(body, sealed=sealed) != offset - self._directory_at:
            self.note(DamagedError("the archive is damaged: the directory is not where the footer says"))
        self._ended()

    def _ended(self) -> None:
        if self._directory_at is None or self._back != self._directory_at:
            self._back = None
        self._whole, self._rows, self._directory_at, self._due_end = True, {}, None, 1 << 62
        self._generation += 1
        self._settled = self._source.position, self.problem, self._notes, self.end

    # Behind a footer

    def _between(self) -> Part | None:
        """What is next behind a footer: more of the archive, another one, or nothing that belongs to one."""
        front = self._source.peek(STEP)
        rest = front.lstrip(b"\0")
        if len(rest) < len(front):
            self._source.skip(len(front) - len(rest))
            return None
        if self._goes_on(front) or envelope.is_cut(front):
            return self._inside()
        if begins(self._source, self._headers):
            self._begin()
            return None
        magic = ends.FILE_MAGIC[: len(front)]
        if _MAGIC_AT_LEAST <= len(front) < ends.HEADER_SIZE and front[: len(magic)] == magic:
            self._source.skip(len(front))
            self._whole, self._generation = False, 0  # an archive begins, and that is all there is of it
            return None
        self._garbage()
        return None
