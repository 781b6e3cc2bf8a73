"""Mending by parity: a file whose damaged blocks are replaced by what they were, as soon as damage is met."""

from __future__ import annotations

import io
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import BinaryIO, cast

from zllm.archive.places import Place
from zllm.archive.readinto import ReadInto
from zllm.errors import DamagedError
from zllm.format import envelope, parity, repair
from zllm.format.parity import ParityPart, Shape
from zllm.format.repair import Budget
from zllm.format.wire import Reader

LESS = "part of the parity is damaged: nothing is lost by that, but less can be mended"
_FRONT = 64
"""Bytes before hashes and blocks, at most."""
_Key = tuple[int, Shape]
"""Of a set: the seed of its archive, and what it covers."""


class Mended(ReadInto, io.RawIOBase):
    """A seekable file some bytes of which are others."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._starts: list[int] = []
        self._patches: dict[int, bytes] = {}
        self._longest = 0

    def patch(self, offset: int, data: bytes) -> None:
        """Have ``data`` at ``offset``, which no other patch overlaps."""
        self._starts.insert(bisect_left(self._starts, offset), offset)
        self._patches[offset] = data
        self._longest = max(self._longest, len(data))

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """As files have it."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As files have it."""
        return self._file.tell()

    def read(self, size: int | None = -1, /) -> bytes:
        """As files have it."""
        if not self._starts:
            return self._file.read(-1 if size is None else size)
        start = self._file.tell()
        data = bytearray(self._file.read(-1 if size is None else size))
        first = bisect_right(self._starts, start - self._longest)
        for at in self._starts[first : bisect_left(self._starts, start + len(data))]:
            piece = self._patches[at]
            skipped = max(0, start - at)
            piece = piece[skipped : start + len(data) - at]
            data[at + skipped - start : at + skipped - start + len(piece)] = piece
        return bytes(data)


class Mender:
    """The sets of parity of the archives in a file, and the file as they mend it.

    Args:
        file: seekable.
        start: where the first archive begins in it.
        places: of the parity parts.
        warn: told of what was mended.
    """

    def __init__(self, file: BinaryIO, start: int, places: Sequence[Place], warn: Callable[[str], None]) -> None:
        self.file = cast(BinaryIO, Mended(file))
        self._start = start
        self._places = list(places)
        self._warn = warn
        self._sets: dict[_Key, list[Place]] | None = None
        self._used: set[_Key] = set()
        self._budget = Budget()
        self._mended = 0

    def mend(self, at: int | None = None) -> bool:
        """Use the sets that cover the byte at ``at`` of the file, or all; whether anything was mended."""
        before = self._mended
        for key, places in self._all().items():
            shape = key[1]
            begin = self._start + shape.offset
            if key not in self._used and (at is None or begin <= at < begin + shape.size):
                self._used.add(key)
                self._use(shape, places)
        if self._mended > before:
            blocks = "1 damaged block was" if self._mended == 1 else f"{self._mended} damaged blocks were"
            self._warn(f"{blocks} mended by parity, nothing is lost: zllm recover writes a whole archive")
        return self._mended > before

    def _all(self) -> dict[_Key, list[Place]]:
        """Where the parts of each set are: they are read when it is used, for together they may be gigabytes."""
        if self._sets is None:
            self._sets = {}
            for place in self._places:
                self.file.seek(place.offset + place.envelope.size)
                front = self.file.read(min(_FRONT, place.envelope.length))
                try:
                    shape, _, _ = parity.read_front(Reader(front, "a parity part"))
                except DamagedError:
                    self._warn(LESS)
                    continue
                if self._start + shape.offset + shape.size <= place.offset:
                    self._sets.setdefault((place.seed, shape), []).append(place)
        return self._sets

    def _read(self, place: Place, shape: Shape) -> ParityPart | None:
        """A part of a set; None: it is damaged."""
        if place.envelope.length > _FRONT + parity.HASH_SIZE * shape.blocks + shape.row:
            return None
        self.file.seek(place.offset)
        data = self.file.read(place.envelope.whole)
        front = place.envelope.pack(place.seed)
        rest = data[len(front) :]
        if len(data) < place.envelope.whole or not envelope.holds(place.seed, front + rest):
            fixed = repair.body(front, rest, place.seed, self._budget)
            if len(data) < place.envelope.whole or fixed is None:
                return None
            rest = fixed
        try:
            part = parity.unpack(rest[: -envelope.CHECK_SIZE])
        except DamagedError:
            return None
        return part if part.shape == shape else None

    def _use(self, shape: Shape, places: Sequence[Place]) -> None:
        """Mend what a set covers, as far as that goes."""
        parts = {part.number: part for place in places if (part := self._read(place, shape)) is not None}
        if len(parts) < len(places):
            self._warn(LESS)
        hashes = next((part.hashes for part in parts.values() if part.hashes), b"")
        if not hashes:
            return
        seed, begin = places[0].seed, self._start + shape.offset
        self.file.seek(begin)
        covered = self.file.read(shape.size)
        known = [hashes[at : at + parity.HASH_SIZE] for at in range(0, len(hashes), parity.HASH_SIZE)]
        there = parity.hashes_of(covered, shape, seed)
        wrong = [number for number, pair in enumerate(zip(known, there, strict=True)) if pair[0] != pair[1]]
        for number, block in parity.rebuild(covered, shape, list(parts.values()), wrong, self._budget).items():
            if parity.hash_of(block, seed) == known[number]:
                at = number * shape.block
                cast(Mended, self.file).patch(begin + at, block[: shape.size - at])
                self._mended += 1
