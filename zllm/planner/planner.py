"""Cuts groups of members into frames and gives each frame the codec that pays.

The promise: a group never codes larger than zstd at the level's zstd level makes of it. zstd at that level runs
wherever it could still be the smallest (:mod:`zllm.planner.yardstick`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zllm.codecs.base import Codec, Run
from zllm.codecs.cm import CmCodec
from zllm.codecs.lz4 import Lz4Codec
from zllm.codecs.zstd import ZstdCodec
from zllm.format.category import TEXTS, Category
from zllm.planner.candidates import Candidates
from zllm.planner.levels import Level
from zllm.planner.other import OtherPlanner, Unit
from zllm.planner.text import Choice, TextPlanner
from zllm.planner.units import CodedFrame, Group, Piece, cut_pieces
from zllm.planner.yardstick import Yardstick
from zllm.stats import Stats

__all__ = ["MAX_FRAME", "Coded", "CodedFrame", "Group", "Planner"]

# The container's limit for one frame.
MAX_FRAME = 64 << 20


@dataclass(frozen=True)
class Coded:
    """Groups whose frames are coded; of text, which of them the archive gets is still to be chosen.

    ``frames``: of each group that is not text. ``owners``: of each unit of text, its group.
    """

    frames: list[list[CodedFrame]]
    owners: list[int]
    text: Choice | None


class Planner:
    """Codes the groups of one archive at one level, with ``models``, codecs that each have one of their own, or none.

    ``progress`` is called with bytes of group data done since the last call, from any thread; over one
    :meth:`encode` the calls add up to the groups' sizes. Setting ``cancelled`` ends :meth:`encode` early. ``wrap`` may
    replace a codec by one that gives the same payloads (another machine's work).
    """

    def __init__(
        self,
        level: Level,
        models: Sequence[Codec] = (),
        threads: int = 1,
        progress: Callable[[int], None] | None = None,
        cancelled: threading.Event | None = None,
        *,
        stats: Stats | None = None,
        wrap: Callable[[Codec], Codec] = lambda codec: codec,
    ) -> None:
        self.level = level
        self.models = [wrap(codec) for codec in models] if level.llm else []
        self.run = Run(threads, progress, cancelled or threading.Event(), stats)
        fast = Lz4Codec() if level.fast_codec == "lz4" else ZstdCodec(level.zstd_level)
        yardstick = Yardstick(wrap(fast), fast, self.run)
        self._other = OtherPlanner(level, yardstick, Candidates(level, wrap), self.run)
        # One for all calls: what it needs to pay once, it pays once in the archive.
        self._text = TextPlanner(level, self.models, wrap(CmCodec()), yardstick, self.run) if level.adaptive else None

    def encode(self, groups: Sequence[Group]) -> list[list[CodedFrame]]:
        """The frames of each group, in the groups' order; a group's frames' raw sizes add up to its size.

        Raises:
            KeyboardInterrupt: the run was cancelled.
        """
        return self.choose(self.code(groups))

    def code(self, groups: Sequence[Group]) -> Coded:
        """All the work of :meth:`encode`, and nothing that depends on other groups: any thread may, at any time.

        Raises:
            KeyboardInterrupt: the run was cancelled.
        """
        owned = [(at, piece) for at, group in enumerate(groups) for piece in self._units(group)]
        text = [(at, piece) for at, piece in owned if self._is_text(groups[at])]
        other = [(at, Unit(piece, groups[at].category)) for at, piece in owned if not self._is_text(groups[at])]
        result: list[list[CodedFrame]] = [[] for _ in groups]
        for (at, _), frames in zip(other, self._other.code([unit for _, unit in other]), strict=True):
            result[at] += frames
        return Coded(result, [at for at, _ in text], self._text_frames(groups, text))

    def choose(self, coded: Coded) -> list[list[CodedFrame]]:
        """What the archive gets: in the archive's order, since it depends on what was chosen before."""
        if self._text is not None and coded.text is not None:
            for at, frames in zip(coded.owners, self._text.choose(coded.text), strict=True):
                coded.frames[at].extend(frames)
        return coded.frames

    def _is_text(self, group: Group) -> bool:
        return self._text is not None and group.category in TEXTS

    def _units(self, group: Group) -> list[Piece]:
        """A single large member is one frame of the fast codec, whole; small ones share frames of the level's size."""
        limit = self.level.solid_frame if group.boundaries else MAX_FRAME
        return cut_pieces(Piece(group.data, group.boundaries), limit)

    def _text_frames(self, groups: Sequence[Group], owned: Sequence[tuple[int, Piece]]) -> Choice | None:
        if self._text is None or not owned:
            return None
        plain = [groups[at].category is Category.TEXT for at, _ in owned]
        return self._text.code([piece for _, piece in owned], plain)
