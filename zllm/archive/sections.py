"""Reading one section: its map, its frames, decoded when they are wanted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from zllm.archive.coding import Decoders
from zllm.archive.rescue import Salvaged, rescue
from zllm.archive.sectionlayout import SectionLayout
from zllm.codecs.base import Codec, Run
from zllm.errors import DamagedError, LimitError, ZllmError, renewed
from zllm.format import frames
from zllm.format.frames import FrameRow
from zllm.format.limits import DEFAULT, Limits
from zllm.format.repair import Budget
from zllm.format.sealing import LOCKED, Opener
from zllm.format.section import ModelRef, SectionHeader
from zllm.format.sectionmap import SectionMap

CACHE_BYTES = 36 << 20
"""Most bytes of decoded frames that are kept: a whole section as writers make them, and a little more."""


_MOST_AT_ONCE = 8
"""Damaged frames of one member that are tried together."""

Decoded = bytes | Salvaged | ZllmError
"""The data of a frame, as much of it as can be proved, or why there is none."""


class FrameCache:
    """Decoded frames, the least recently used dropped first. What could not be decoded is remembered too."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.lenient = False
        """Damaged frames give what they have, proved or not, and zeros for the rest."""
        self._limit = limit
        self._size = 0
        self._data: OrderedDict[tuple[int, int], Decoded] = OrderedDict()

    def make_room(self, size: int) -> None:
        """Have room for a whole section: its members are read in another order than its frames."""
        self._limit = max(self._limit, size)

    def get(self, key: tuple[int, int]) -> Decoded | None:
        """The frame ``(section, frame)``, or why there is none."""
        found = self._data.get(key)
        if found is not None:
            self._data.move_to_end(key)
        return found

    def put(self, key: tuple[int, int], data: Decoded) -> None:
        """Keep a frame."""
        self._size += _size(data) - _size(self._data.get(key))
        self._data[key] = data
        while self._size > self._limit and len(self._data) > 1:
            self._size -= _size(self._data.popitem(last=False)[1])


def _size(data: Decoded | None) -> int:
    found = data.data if isinstance(data, Salvaged) else data
    return len(found) if isinstance(found, bytes) else 0


@dataclass(frozen=True)
class Origin:
    """Where a section is from: the seed of its archive's checksums, where that one's stream begins, who is told of
    damage that costs nothing, and what may be spent on searches. ``mend``: as ``fetch`` of :class:`Section`, of a
    frame that is damaged, after parity was used; empty if there is none. ``opener``: of encrypted frames.
    """

    seed: int
    base: int
    note: Callable[[ZllmError], None]
    budget: Budget
    mend: Callable[[FrameRow, int], memoryview] | None = None
    opener: Opener = LOCKED


class Section:
    """One section.

    ``fetch(row, offset)`` gives a whole frame, which begins ``offset`` bytes behind the section; fewer bytes if the
    archive ends before, none if the frame is lost.
    """

    def __init__(  # noqa: PLR0917
        self,
        key: int,
        header: SectionHeader,
        section_map: SectionMap,
        origin: Origin,
        fetch: Callable[[FrameRow, int], memoryview],
        decoders: Decoders,
        cache: FrameCache,
        limits: Limits = DEFAULT,
    ) -> None:
        self.key = key
        self.header = header
        self.base = origin.base
        self.seed, self.note, self.budget, self.opener = origin.seed, origin.note, origin.budget, origin.opener
        self.trial: dict[int, bytes] = {}
        """Data of damaged frames that is being proved."""
        self.fixed: dict[int, bytes] = {}
        """Payloads of frames of which one byte is corrected, and their data proved."""
        self.layout = SectionLayout(section_map)
        cache.make_room(header.stream_size)
        self._origin = origin
        self._limits = limits
        self._fetch = fetch
        self._decoders = decoders
        self._cache = cache
        self._streak = 0
        self._loaded = False

    def model_of(self, frame: int) -> ModelRef | None:
        """The model that a frame needs."""
        slot = self.layout.frames[frame].slot
        if slot > len(self.header.models):
            raise DamagedError("a section is damaged: a frame needs a model that the section does not name")
        return self.header.models[slot - 1] if slot else None

    @property
    def run(self) -> Run:
        """How frames are decoded."""
        return self._decoders.run

    def spans(self, number: int) -> bool:
        """Whether a record's member has data in other sections, too, so that its SHA-256 is not of what is here."""
        last = self.header.continues and number == len(self.layout.records) - 1
        return last or (self.header.continued and number == 0)

    def read(self, number: int, offset: int, size: int, *, hashed: bool = False) -> bytes:
        """``size`` bytes of a record's data. ``hashed``: the caller will prove them, reading the member to its end.

        Raises:
            DamagedError: a frame is damaged or missing.
            MissingCodecError: a codec is not installed.
            MissingModelError: a model is not here.
        """
        home = self.layout.records[number].duplicate_of
        parts = []
        for extent in self.layout.extents(number, offset, size):
            data = self._frame(extent.frame, number if home < 0 else home, hashed=hashed)
            parts.append(data[extent.start : extent.start + extent.size] if extent.size < len(data) else data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _frame(self, frame: int, number: int, *, hashed: bool) -> bytes:
        """The data of a frame, of which that of a record is wanted."""
        if frame in self.trial:
            return self.trial[frame]
        found = self._cache.get((self.key, frame))
        if found is None:
            if len(self.trial) >= _MOST_AT_ONCE:
                raise DamagedError("too many frames of a member are damaged")
            # Whoever asks for a second frame is likely to want them all: then frames are decoded together.
            self._streak += 1
            alone = self._streak == 1 or self.trial
            self.load([frame] if alone else range(len(self.layout.frames)), first=frame)
            found = self._cache.get((self.key, frame))
        if isinstance(found, Salvaged):
            if number in found.good or self._cache.lenient or (hashed and number in found.open_):
                return found.data
            raise renewed(found.problem)
        if isinstance(found, DamagedError) and self._cache.lenient:
            return bytes(self.layout.frames[frame].raw_size)
        if isinstance(found, bytes):
            return found
        raise renewed(found) if found is not None else DamagedError("a frame could not be decoded")

    def expect(self, number: int) -> None:
        """All of a record's data will be read: where it has several frames, each of several threads gets one of the
        first.

        Damage is kept, and raised when the frame is read.
        """
        size = self.layout.records[number].data_size
        wanted = [extent.frame for extent in self.layout.extents(number, 0, size)]
        missing = [frame for frame in wanted if self._cache.get((self.key, frame)) is None]
        together = missing[: self._decoders.run.threads]
        if len(together) > 1:
            self._streak = max(self._streak, 1)
            self.load(together, first=together[0])

    def load_all(self) -> None:
        """Decode every frame, once."""
        if not self._loaded:
            self._loaded = True
            self.load(range(len(self.layout.frames)))

    def load(self, wanted: Iterable[int], first: int = -1) -> None:
        """Decode frames that are not in the cache, those of one codec and model together.

        With ``first``, only those of the same codec and model as that one.
        """
        jobs: dict[tuple[int, int], list[int]] = {}
        for frame in wanted:
            if self._cache.get((self.key, frame)) is None:
                row = self.layout.frames[frame]
                jobs.setdefault((row.codec, row.slot), []).append(frame)
        for (codec, slot), mine in jobs.items():
            if first < 0 or (self.layout.frames[first].codec, self.layout.frames[first].slot) == (codec, slot):
                self._decode(codec, mine)

    def _decode(self, codec_id: int, wanted: list[int]) -> None:
        payloads: dict[int, memoryview] = {}
        damaged: dict[int, DamagedError] = {}
        for frame in wanted:
            try:
                decoder = self._decoders.get(codec_id, self.model_of(frame))
                with self._decoders.run.stage("reading", self.layout.frames[frame].coded_size):
                    payloads[frame] = self.payload(frame)
            except ZllmError as exc:
                self._cache.put((self.key, frame), exc)
                if type(exc) is DamagedError:
                    damaged[frame] = exc
        if payloads:
            self._decode_together(decoder, payloads)
        for frame, problem in damaged.items():
            self._rescue(codec_id, frame, problem)

    def _rescue(self, codec_id: int, frame: int, problem: DamagedError) -> None:
        """Keep what a damaged frame gives, in place of the error."""
        try:
            decoder = self._decoders.get(codec_id, self.model_of(frame))
            part = self._fetch(self.layout.frames[frame], self.layout.frame_offsets[frame])
            found = rescue(self, frame, part, decoder, problem)
        except ZllmError as exc:
            found = exc if isinstance(exc, DamagedError) else problem
        self._cache.put((self.key, frame), found)

    def _decode_together(self, decoder: Codec, payloads: dict[int, memoryview]) -> None:
        rows = self.layout.frames
        run = self._decoders.run
        items = [(payload, rows[frame].raw_size, self.layout.boundaries(frame)) for frame, payload in payloads.items()]
        try:
            results: list[Decoded] = list(decoder.decode_batch(items, run))
        except ZllmError:  # one of them: the others must not suffer
            results = [self._decode_one(decoder, item) for item in items]
        for frame, data in zip(payloads, results, strict=True):
            if isinstance(data, bytes) and len(data) != rows[frame].raw_size:
                data = DamagedError("a frame is damaged: it decodes to another size")  # noqa: PLW2901
            elif isinstance(data, bytes) and rows[frame].sha256 and frames.hash_of(data) != rows[frame].sha256:
                data = DamagedError("a frame is damaged: its data has another SHA-256")  # noqa: PLW2901
            if run.stats is not None and isinstance(data, bytes):
                run.stats.stored(decoder.name, len(data), rows[frame].coded_size)
            self._cache.put((self.key, frame), data)

    def _decode_one(self, decoder: Codec, item: tuple[memoryview, int, tuple[int, ...]]) -> bytes | ZllmError:
        try:
            return decoder.decode(*item)
        except ZllmError as exc:
            return exc

    def first_byte(self, frame: int) -> bytes:
        """The first byte of a frame's payload, unchecked; nothing if the archive ends before it.

        Raises:
            DamagedError: it is encrypted, and damaged.
        """
        row = self.layout.frames[frame]
        if row.sealed:
            return bytes(self.payload(frame)[:1])
        return bytes(self._fetch(row, self.layout.frame_offsets[frame])[row.header_size :][:1])

    def payload(self, frame: int) -> memoryview:
        """What a frame's codec made of its data, whose checksum was compared.

        Raises:
            DamagedError: it is damaged, or lost.
            LimitError: its data would be more than is allowed.
        """
        row = self.layout.frames[frame]
        if row.raw_size > self._limits.frame_bytes:
            raise LimitError(f"a frame has {row.raw_size} bytes, {self._limits.frame_bytes} is the limit that was set")
        offset = self.layout.frame_offsets[frame]
        try:
            payload, right = self._proved(row, self._fetch(row, offset))
        except DamagedError:
            if self._origin.mend is None:
                raise
            payload, right = self._proved(row, self._origin.mend(row, offset))
        if not right:
            self._origin.note(DamagedError("the header of a frame is damaged: the section has it, nothing is lost"))
        return payload

    def _proved(self, row: FrameRow, part: memoryview) -> tuple[memoryview, bool]:
        if len(part) < row.coded_size:
            raise DamagedError("the archive ends before a frame that this member needs, or the frame is lost")
        return frames.payload_of(part, row, self.seed, self.opener)
