"""Cuts groups of members into frames and gives each frame the codec that pays.

The promise: a group never codes larger than zstd at the level's zstd level makes of it, because zstd at that level
always really runs and is what everything else has to beat.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zllm.chooser.categories import Category
from zllm.chooser.levels import Level
from zllm.chooser.pieces import CodedFrame, Group, Piece, cut_pieces
from zllm.chooser.reasons import Reason
from zllm.chooser.text import Choice, TextCoder
from zllm.codecs.base import Codec, Run
from zllm.codecs.cm import CmCodec
from zllm.codecs.lz4 import Lz4Codec
from zllm.codecs.store import StoreCodec
from zllm.codecs.zstd import ZstdCodec
from zllm.stats import Stats

__all__ = ["MAX_FRAME", "Coded", "CodedFrame", "Group", "GroupCoder"]

# The container's limit for one frame.
MAX_FRAME = 64 << 20
_TEXT = (Category.TEXT, Category.STRUCTURED)


@dataclass(frozen=True)
class Coded:
    """Groups whose frames are coded; of text, which of them the archive gets is still to be chosen.

    ``frames``: of each group that is no text. ``owners``: of each unit of text, its group.
    """

    frames: list[list[CodedFrame]]
    owners: list[int]
    text: Choice | None


class GroupCoder:
    """Codes the groups of one archive at one level, with one model or none.

    ``progress`` is called with bytes of group data done since the last call, from any thread; over one
    :meth:`encode` the calls add up to the groups' sizes. Setting ``cancelled`` ends :meth:`encode` early. ``wrap`` may
    replace a codec by one that gives the same payloads (another machine's work).
    """

    def __init__(
        self,
        level: Level,
        llm: Codec | None = None,
        threads: int = 1,
        progress: Callable[[int], None] | None = None,
        cancelled: threading.Event | None = None,
        *,
        stats: Stats | None = None,
        wrap: Callable[[Codec], Codec] = lambda codec: codec,
    ) -> None:
        self.level = level
        self.llm = wrap(llm) if llm is not None and level.llm else None
        self.run = Run(threads, progress, cancelled or threading.Event(), stats)
        self._fast = wrap(Lz4Codec() if level.fast_codec == "lz4" else ZstdCodec(level.zstd_level))
        # One for all calls: what it needs to pay once, it pays once in the archive.
        self._text = TextCoder(level, self.llm, wrap(CmCodec()), self._fast, self.run) if level.adaptive else None

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
        text = [pair for pair in owned if self._is_text(groups[pair[0]])]
        other = [pair for pair in owned if not self._is_text(groups[pair[0]])]
        result: list[list[CodedFrame]] = [[] for _ in groups]
        for (at, piece), payload in zip(other, self._fast_payloads(other, self.run), strict=True):
            result[at].append(self._fast_frame(groups[at], piece, payload))
        return Coded(result, [at for at, _ in text], self._text_frames(groups, text))

    def choose(self, coded: Coded) -> list[list[CodedFrame]]:
        """What the archive gets: in the archive's order, since it depends on what was chosen before."""
        if self._text is not None and coded.text is not None:
            for at, frames in zip(coded.owners, self._text.choose(coded.text), strict=True):
                coded.frames[at].extend(frames)
        return coded.frames

    def _is_text(self, group: Group) -> bool:
        return self._text is not None and group.category in _TEXT

    def _units(self, group: Group) -> list[Piece]:
        """A single large member is one zstd frame, whole; small members share frames of the level's size."""
        limit = self.level.solid_frame if group.cuts else MAX_FRAME
        return cut_pieces(Piece(group.data, group.cuts), limit)

    def _text_frames(self, groups: Sequence[Group], owned: Sequence[tuple[int, Piece]]) -> Choice | None:
        if self._text is None or not owned:
            return None
        # Text is counted as done when the slowest codec is done with it: zstd takes a twentieth of the time.
        plain = [groups[at].category is Category.TEXT for at, _ in owned]
        return self._text.code([p for _, p in owned], plain, lambda: self._fast_payloads(owned, self.run.quiet()))

    def _fast_payloads(self, owned: Sequence[tuple[int, Piece]], run: Run) -> list[bytes]:
        # Largest first, so that no thread is left alone with a large one at the end.
        order = sorted(range(len(owned)), key=lambda index: -len(owned[index][1].data))
        payloads = self._fast.encode_batch([(owned[index][1].data, owned[index][1].cuts) for index in order], run)
        by_index = dict(zip(order, payloads, strict=True))
        return [by_index[index] for index in range(len(owned))]

    def _fast_frame(self, group: Group, piece: Piece, payload: bytes) -> CodedFrame:
        size = len(piece.data)
        if len(payload) >= size:
            return CodedFrame(StoreCodec.id, False, size, piece.data, Reason.STORE_INCOMPRESSIBLE)
        return CodedFrame(self._fast.id, False, size, payload, self._fast_reason(group))

    def _fast_reason(self, group: Group) -> Reason:
        if self.level.fast_codec == "lz4":
            return Reason.LZ4_LEVEL
        return Reason.ZSTD_NOT_TEXT if self.level.adaptive else Reason.ZSTD_LEVEL
