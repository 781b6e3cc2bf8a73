"""What every codec has to beat: the level's fast codec, which runs wherever it could still win.

zstd -19 takes a third of the time of adaptive coding, and is seldom the smaller one. zstd -9, at a tenth of its cost,
with the same window, tells where it need not run (:attr:`zllm.planner.tuning.Tuning.surely_beaten`).
"""

from __future__ import annotations

from collections.abc import Sequence

from zllm.codecs.base import Codec, Run
from zllm.codecs.zstd import ZstdCodec
from zllm.planner.probe import QUICK, coded_sizes
from zllm.planner.tuning import TUNING
from zllm.planner.units import Piece


class Yardstick:
    """The fast codec of a level. ``codec`` does its work, here or elsewhere."""

    def __init__(self, codec: Codec, original: Codec, run: Run) -> None:
        self.codec = codec
        self._run = run.quiet()
        # At a level as fast as the quick one, the codec's own size is as cheap to have.
        self._bounded = isinstance(original, ZstdCodec) and original.level > QUICK.level

    def quick_sizes(self, pieces: Sequence[Piece]) -> list[int]:
        """Bytes of each piece by zstd -9 or stored: an upper bound of what it takes by zstd at levels above."""
        sizes = coded_sizes([(piece.data, piece.boundaries) for piece in pieces], QUICK, self._run)
        return [min(size, len(piece.data)) for size, piece in zip(sizes, pieces, strict=True)]

    def could_win(self, best: int | None, quick: int) -> bool:
        """Whether the fast codec may be smaller than ``best`` bytes (None: nothing else was tried)."""
        return best is None or not self._bounded or best >= quick * TUNING.surely_beaten

    def payloads(self, pieces: Sequence[Piece], run: Run) -> list[bytes]:
        """What the codec makes of each piece. Largest first, so that no thread is left alone with a large one."""
        if not pieces:
            return []
        order = sorted(range(len(pieces)), key=lambda index: -len(pieces[index].data))
        coded = self.codec.encode_batch([(pieces[index].data, pieces[index].boundaries) for index in order], run)
        by_index = dict(zip(order, coded, strict=True))
        return [by_index[index] for index in range(len(pieces))]
