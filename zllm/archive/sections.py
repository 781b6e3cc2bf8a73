"""Reading one section: its map, its frames, decoded when they are wanted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from zllm.archive.coding import Decoders
from zllm.archive.sectionlayout import SectionLayout
from zllm.codecs.base import Codec
from zllm.errors import DamagedError, LimitError, ZllmError, renewed
from zllm.format import frames
from zllm.format.frames import FrameRow
from zllm.format.limits import DEFAULT, Limits
from zllm.format.section import ModelRef, SectionHeader
from zllm.format.sectionmap import SectionMap

CACHE_BYTES = 36 << 20
"""Most bytes of decoded frames that are kept: a whole section as writers make them, and a little more."""


class FrameCache:
    """Decoded frames, the least recently used dropped first. What could not be decoded is remembered too."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._size = 0
        self._data: OrderedDict[tuple[int, int], bytes | ZllmError] = OrderedDict()

    def make_room(self, size: int) -> None:
        """Have room for a whole section: its members are read in another order than its frames."""
        self._limit = max(self._limit, size)

    def get(self, key: tuple[int, int]) -> bytes | ZllmError | None:
        """The frame ``(section, frame)``, or why there is none."""
        found = self._data.get(key)
        if found is not None:
            self._data.move_to_end(key)
        return found

    def put(self, key: tuple[int, int], data: bytes | ZllmError) -> None:
        """Keep a frame."""
        self._size += len(data) if isinstance(data, bytes) else 0
        self._data[key] = data
        while self._size > self._limit and len(self._data) > 1:
            _, dropped = self._data.popitem(last=False)
            self._size -= len(dropped) if isinstance(dropped, bytes) else 0


@dataclass(frozen=True)
class Origin:
    """Where a section is from: the seed of its archive's checksums, where that one's stream begins, and who is told of
    damage that costs nothing."""

    seed: int
    base: int
    note: Callable[[ZllmError], None]


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

    def read(self, number: int, offset: int, size: int) -> bytes:
        """``size`` bytes of a record's data.

        Raises:
            DamagedError: a frame is damaged or missing.
            MissingCodecError: a codec is not installed.
            MissingModelError: a model is not here.
        """
        parts = []
        for extent in self.layout.extents(number, offset, size):
            data = self._frame(extent.frame)
            parts.append(data[extent.start : extent.start + extent.size] if extent.size < len(data) else data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _frame(self, frame: int) -> bytes:
        found = self._cache.get((self.key, frame))
        if found is None:
            # Whoever asks for a second frame is likely to want them all: then frames are decoded together.
            self._streak += 1
            self.load([frame] if self._streak == 1 else range(len(self.layout.frames)), first=frame)
            found = self._cache.get((self.key, frame))
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
        for frame in wanted:
            try:
                decoder = self._decoders.get(codec_id, self.model_of(frame))
                with self._decoders.run.stage("reading", self.layout.frames[frame].coded_size):
                    payloads[frame] = self._payload(frame)
            except ZllmError as exc:
                self._cache.put((self.key, frame), exc)
        if payloads:
            self._decode_together(decoder, payloads)

    def _decode_together(self, decoder: Codec, payloads: dict[int, memoryview]) -> None:
        rows = self.layout.frames
        run = self._decoders.run
        items = [(payload, rows[frame].raw_size, self.layout.boundaries(frame)) for frame, payload in payloads.items()]
        try:
            results: list[bytes | ZllmError] = list(decoder.decode_batch(items, run))
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
        """The first byte of a frame's payload, unchecked; nothing if the archive ends before it."""
        row = self.layout.frames[frame]
        return bytes(self._fetch(row, self.layout.frame_offsets[frame])[row.header_size :][:1])

    def _payload(self, frame: int) -> memoryview:
        row = self.layout.frames[frame]
        if row.raw_size > self._limits.frame_bytes:
            raise LimitError(f"a frame has {row.raw_size} bytes, {self._limits.frame_bytes} is the limit that was set")
        part = self._fetch(row, self.layout.frame_offsets[frame])
        if len(part) < row.coded_size:
            raise DamagedError("the archive ends before a frame that this member needs, or the frame is lost")
        payload, right = frames.payload_of(part, row, self._origin.seed)
        if not right:
            self._origin.note(DamagedError("the header of a frame is damaged: the section has it, nothing is lost"))
        return payload
