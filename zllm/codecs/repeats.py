"""Long repeats taken out of a text before a slow codec sees it; :mod:`zllm.format.payloads` has their bytes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from zllm._native import repeats
from zllm.codecs.base import Buffer

# A repeat costs about 7 bytes here, and the predictor's match model would code this much for as little.
LEAST = 1 << 10


@dataclass(frozen=True)
class Repeats:
    """(offset, length, distance) of each repeat: ascending offsets in the whole text, apart from each other."""

    found: tuple[tuple[int, int, int], ...] = ()

    @property
    def size(self) -> int:
        """Bytes taken out."""
        return sum(length for _, length, _ in self.found)

    def take_out(self, data: memoryview) -> memoryview:
        """What is left of the text."""
        if not self.found:
            return data
        out, at = bytearray(), 0
        for start, length, _ in self.found:
            out += data[at:start]
            at = start + length
        return memoryview(out + data[at:])

    def put_back(self, left: Buffer) -> bytes:
        """The whole text."""
        if not self.found:
            return bytes(left)
        out, view = bytearray(), memoryview(left)
        for start, length, distance in self.found:
            fresh = start - len(out)
            out += view[:fresh]
            view = view[fresh:]
            if distance < length:  # the repeat goes on in itself
                out += (out[-distance:] * (length // distance + 1))[:length]
            else:
                out += out[start - distance : start - distance + length]
        return bytes(out + view)

    def move(self, boundaries: Sequence[int], left: int) -> list[int]:
        """Where offsets of the whole text are in what is left, ``left`` bytes: ascending, without 0 and the end."""
        starts = [start for start, _, _ in self.found]
        gone = [0]
        for _, length, _ in self.found:
            gone.append(gone[-1] + length)
        moved = set()
        for boundary in boundaries:
            before = bisect_right(starts, boundary)
            inside = max(0, starts[before - 1] + self.found[before - 1][1] - boundary) if before else 0
            moved.add(boundary - gone[before] + inside)
        return sorted(moved - {0, left})


def find(data: memoryview) -> Repeats:
    """The repeats of a text that are worth it."""
    return Repeats(tuple(repeats(data, LEAST)))
