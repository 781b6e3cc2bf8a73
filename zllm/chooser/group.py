"""Cuts groups of members into frames and gives each frame the codec that pays.

The promise: a group never codes larger than zstd at the level's zstd level makes of it, because zstd at that level
always really runs and is what everything else has to beat.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zllm.chooser.categories import Category
from zllm.chooser.levels import Level
from zllm.chooser.reasons import Reason
from zllm.codecs.base import Codec, Run
from zllm.codecs.lz4 import Lz4Codec
from zllm.codecs.store import StoreCodec
from zllm.codecs.zstd import ZstdCodec

# The container's limit for one frame.
MAX_FRAME = 64 << 20
_LLM_CATEGORIES = (Category.TEXT, Category.STRUCTURED)


@dataclass(frozen=True)
class Group:
    """Data coded together. ``cuts``: where one member ends and the next begins, ascending, without 0 and the end."""

    category: Category
    data: memoryview
    cuts: tuple[int, ...] = ()


@dataclass(frozen=True)
class CodedFrame:
    """One frame as it goes into the archive. ``rival``: see :func:`zllm.chooser.reasons.describe`."""

    codec_id: int
    uses_model: bool
    raw_size: int
    payload: bytes
    reason: int
    rival: int = 0


@dataclass(frozen=True)
class Piece:
    """A part of a group, ``start`` <= its offsets < ``end``, with the member boundaries inside it, relative to it."""

    data: memoryview
    start: int
    end: int
    cuts: tuple[int, ...]


def cut_frames(group: Group, start: int, end: int, limit: int) -> list[Piece]:
    """Cut ``group.data[start:end]`` into pieces of at most ``limit`` bytes, at member boundaries where there are any.

    A member that fits into a frame is not cut, as long as that leaves the frame at least half full: otherwise frames
    would come out small wherever large members meet, and small frames cost ratio.
    """
    pieces = []
    while start < end:
        stop = min(start + limit, end)
        if stop < end:
            at = bisect_right(group.cuts, stop) - 1
            if at >= 0 and group.cuts[at] > start and (group.cuts[at] - start) * 2 >= limit:
                stop = group.cuts[at]
        inner = group.cuts[bisect_right(group.cuts, start) : bisect_left(group.cuts, stop)]
        pieces.append(Piece(group.data[start:stop], start, stop, tuple(cut - start for cut in inner)))
        start = stop
    return pieces


class GroupCoder:
    """Codes groups at one level, with one model or none.

    ``progress`` is called with bytes of group data done since the last call, from any thread; over one
    :meth:`encode` the calls add up to the groups' sizes.
    """

    def __init__(
        self,
        level: Level,
        llm: Codec | None = None,
        threads: int = 1,
        progress: Callable[[int], None] | None = None,
        cancelled: threading.Event | None = None,
    ) -> None:
        self.level = level
        self.llm = llm if level.llm else None
        self.run = Run(threads, progress, cancelled or threading.Event())
        self._store = StoreCodec()
        self._fast: Codec = Lz4Codec() if level.fast_codec == "lz4" else ZstdCodec(level.zstd_level)

    def encode(self, groups: Sequence[Group]) -> list[list[CodedFrame]]:
        """The frames of each group, in the groups' order; a group's frames' raw sizes add up to its size.

        Raises:
            KeyboardInterrupt: the run was cancelled.
        """
        units = [self._units(group) for group in groups]
        frames = self._code_fast([(group, unit) for group, parts in zip(groups, units, strict=True) for unit in parts])
        rest = iter(frames)
        return [[next(rest) for _ in parts] for parts in units]

    def _units(self, group: Group) -> list[Piece]:
        """A single large member is one frame, whole; small members share frames of the level's size."""
        limit = self.level.solid_frame if group.cuts else MAX_FRAME
        return cut_frames(group, 0, len(group.data), limit)

    def _code_fast(self, units: Sequence[tuple[Group, Piece]]) -> list[CodedFrame]:
        # Largest first, so that the last one running is a small one.
        order = sorted(range(len(units)), key=lambda index: -len(units[index][1].data))
        payloads = self._fast.encode_batch([(units[index][1].data, ()) for index in order], self.run)
        frames: dict[int, CodedFrame] = {}
        for index, payload in zip(order, payloads, strict=True):
            group, piece = units[index]
            frames[index] = self._fast_frame(group, piece, payload)
        return [frames[index] for index in range(len(units))]

    def _fast_frame(self, group: Group, piece: Piece, payload: bytes) -> CodedFrame:
        size = len(piece.data)
        if len(payload) >= size:
            return CodedFrame(self._store.id, False, size, self._store.encode(piece.data), Reason.STORE_INCOMPRESSIBLE)
        return CodedFrame(self._fast.id, False, size, payload, self._fast_reason(group))

    def _fast_reason(self, group: Group) -> Reason:
        if self.level.fast_codec == "lz4":
            return Reason.LZ4_LEVEL
        if not self.level.llm:
            return Reason.ZSTD_LEVEL
        return Reason.ZSTD_NO_MODEL if group.category in _LLM_CATEGORIES else Reason.ZSTD_NOT_TEXT
