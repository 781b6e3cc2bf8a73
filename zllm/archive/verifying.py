"""Decoding of what was coded, as a reader will, before it is written: what does not give the data back is never packed.

It finds faults of codecs, of this program, and of memory and processors, which made archives of other programs that
nobody could read, and nobody noticed before they were needed.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

from zllm.archive.coder import Coder
from zllm.archive.partwriter import CodedSection
from zllm.archive.sectionlayout import SectionLayout
from zllm.codecs import registry
from zllm.codecs.base import Buffer, Codec, Run
from zllm.codecs.lz4 import Lz4Codec
from zllm.codecs.store import StoreCodec
from zllm.codecs.zstd import ZstdCodec
from zllm.errors import DamagedError, VerificationError, ZllmError
from zllm.format import headerunits, sectionmap
from zllm.format.frames import FrameRow
from zllm.format.sectionmap import Record

CHEAP = frozenset({StoreCodec.id, Lz4Codec.id, ZstdCodec.id})
"""Codecs whose frames are all decoded: that takes a small part of the time that coding takes."""
_BATCH = 8 << 20
_ADVICE = "nothing of it is written. A fault of this program, of the memory or of the processor: please report it"


class Verifier:
    """Decodes frames of sections that are coded, and compares.

    Args:
        coder: what coded them.
        everything: all frames; None: all of codecs that decode fast, and of each other codec the first of a section and
            one more at random. False: none.
    """

    def __init__(self, coder: Coder, everything: bool | None) -> None:
        self._coder = coder
        self._everything = everything
        self._random = random.Random()
        self._decoders: dict[tuple[int, int], Codec] = {}

    def check(
        self, section: CodedSection, records: Sequence[Record], data: Iterable[memoryview], models: Sequence[int]
    ) -> None:
        """Check a section: its map, and frames.

        Args:
            section: all of it, coded.
            records: what its map is to say.
            data: of each group what its frames are made of.
            models: numbers of the section's models in the coder, by slots.

        Raises:
            VerificationError: something is not given back.
        """
        if self._everything is False:
            return
        header, frames = section.header, section.frames
        run = Run(self._coder.run.threads, None, self._coder.run.cancelled)
        with self._coder.run.stage("verifying", header.stream_size):
            try:
                layout = SectionLayout(sectionmap.decode(section.blob, header))
            except ZllmError as exc:
                raise VerificationError(f"a section map cannot be read back ({exc}): {_ADVICE}") from exc
            if not _same_records(layout.records, records) or layout.frames != [row for row, _ in frames]:
                raise VerificationError(f"a section map says something else when it is read back: {_ADVICE}")
            parts = list(_parts(frames, data))
            for (codec_id, slot), numbers in self._chosen([row for row, _ in frames]).items():
                decoder = self._decoder(codec_id, models[slot - 1] if slot else 0)
                for batch in _batches(numbers, [row.raw_size for row, _ in frames]):
                    items: list[tuple[Buffer, int, tuple[int, ...]]] = [
                        (frames[n][1], frames[n][0].raw_size, layout.boundaries(n)) for n in batch
                    ]
                    _compare(decoder, items, [parts[n] for n in batch], run)

    def _chosen(self, rows: Sequence[FrameRow]) -> dict[tuple[int, int], list[int]]:
        """Numbers of the frames to decode, by codec and slot."""
        found: dict[tuple[int, int], list[int]] = {}
        for number, row in enumerate(rows):
            found.setdefault((row.codec, row.slot), []).append(number)
        if not self._everything:
            for (codec, _), numbers in found.items():
                if codec not in CHEAP and len(numbers) > 2:
                    numbers[1:] = [self._random.choice(numbers[1:])]
        return found

    def _decoder(self, codec_id: int, model: int) -> Codec:
        key = codec_id, model
        if key not in self._decoders:
            self._decoders[key] = self._coder.decoder(codec_id, model) if model else registry.get(codec_id)
        return self._decoders[key]


def _batches(numbers: Iterable[int], sizes: Sequence[int]) -> Iterator[list[int]]:
    """Frames that are decoded at the same time: so many that all threads have work, and memory stays small."""
    batch: list[int] = []
    size = 0
    for number in numbers:
        batch.append(number)
        size += sizes[number]
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _compare(
    decoder: Codec, items: list[tuple[Buffer, int, tuple[int, ...]]], wanted: list[memoryview], run: Run
) -> None:
    try:
        results = decoder.decode_batch(items, run)
    except DamagedError as exc:
        raise VerificationError(f"a frame of codec {decoder.name} cannot be decoded: {_ADVICE}") from exc
    if any(result != data for result, data in zip(results, wanted, strict=True)):
        raise VerificationError(f"a frame of codec {decoder.name} decodes to other data: {_ADVICE}")


def _parts(frames: Sequence[tuple[FrameRow, Buffer]], data: Iterable[memoryview]) -> Iterable[memoryview]:
    """What each frame is made of."""
    rows = iter(frames)
    for group in data:
        start = 0
        while start < len(group):
            row, _ = next(rows)
            yield group[start : start + row.raw_size]
            start += row.raw_size


def _same_records(found: Sequence[Record], made: Sequence[Record]) -> bool:
    if len(found) != len(made):
        return False
    return all(
        (one.data_size, one.zeros, one.bucket, one.duplicate_of)
        == (two.data_size, two.zeros, two.bucket, two.duplicate_of)
        and (one.headers == two.headers or headerunits.built(one.headers) == headerunits.built(two.headers))
        for one, two in zip(found, made, strict=True)
    )
