"""Mending by parity: a file whose damaged blocks are replaced by what they were, as soon as damage is met."""

from __future__ import annotations

import io
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import BinaryIO, cast

from zllm.archive.places import Place
from zllm.archive.readinto import ReadInto
from zllm.errors import DamagedError
from zllm.format import envelope, parity
from zllm.format.parity import ParityPart, Shape

LESS = "part of the parity is damaged: nothing is lost by that, but less can be mended"
_MOST_PART = parity.MAX_COVERED * 2


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
        self._sets: dict[tuple[int, Shape], list[tuple[Place, ParityPart]]] | None = None
        self._used: set[tuple[int, Shape]] = set()
        self._mended = self._lost = 0

    def mend(self, at: int | None = None) -> bool:
        """Use the sets that cover the byte at ``at`` of the file, or all; whether anything was mended."""
        before = self._mended
        for key, found in self._all().items():
            shape = key[1]
            begin = self._start + shape.offset
            if key not in self._used and (at is None or begin <= at < begin + shape.size):
                self._used.add(key)
                self._use(shape, found)
        if self._mended > before:
            blocks = "1 damaged block was" if self._mended == 1 else f"{self._mended} damaged blocks were"
            self._warn(f"{blocks} mended by parity, nothing is lost: zllm recover writes a whole archive")
        return self._mended > before

    def _all(self) -> dict[tuple[int, Shape], list[tuple[Place, ParityPart]]]:
        """The sets, by the seed of their archive and what they cover."""
        if self._sets is None:
            self._sets = {}
            for place in self._places:
                try:
                    part = self._read(place)
                except DamagedError:
                    self._warn(LESS)
                    continue
                self._sets.setdefault((place.seed, part.shape), []).append((place, part))
        return self._sets

    def _read(self, place: Place) -> ParityPart:
        if place.envelope.length > _MOST_PART:
            raise DamagedError("a parity part is too long")
        self.file.seek(place.offset)
        data = self.file.read(place.envelope.whole)
        front = place.envelope.pack(place.seed)
        body = data[len(front) : -envelope.CHECK_SIZE]
        if len(data) < place.envelope.whole or not envelope.holds(place.seed, front + data[len(front) :]):
            raise DamagedError("a parity part is damaged: its checksum does not match")
        part = parity.unpack(body)
        if self._start + part.shape.offset + part.shape.size > place.offset:
            raise DamagedError("a parity part is damaged: it covers what is behind it")
        return part

    def _use(self, shape: Shape, found: Sequence[tuple[Place, ParityPart]]) -> None:
        """Mend what a set covers, as far as that goes."""
        hashes = next((part.hashes for _, part in found if part.hashes), b"")
        if not hashes:
            return
        seed, begin = found[0][0].seed, self._start + shape.offset
        self.file.seek(begin)
        covered = self.file.read(shape.size)
        known = [hashes[at : at + parity.HASH_SIZE] for at in range(0, len(hashes), parity.HASH_SIZE)]
        there = parity.hashes_of(covered, shape, seed)
        wrong = [number for number, pair in enumerate(zip(known, there, strict=True)) if pair[0] != pair[1]]
        parts = list({part.number: part for _, part in found}.values())
        for number, block in parity.rebuild(covered, shape, parts, wrong)[0].items():
            if parity.hash_of(block, seed) == known[number]:
                at = number * shape.block
                cast(Mended, self.file).patch(begin + at, block[: shape.size - at])
                self._mended += 1
