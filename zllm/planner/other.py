"""What is not text: every codec that is for such data is tried, and the smallest kept; never larger than zstd.

A unit is what the level's fast codec codes as one frame. What zstd -9 hardly shrinks is left to the fast codec, and
large units are sampled first, so that no slow codec works on megabytes that it cannot shrink.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from zllm.codecs.base import Codec, Run
from zllm.codecs.store import StoreCodec
from zllm.format.category import Category
from zllm.planner.candidates import Candidates
from zllm.planner.levels import Level
from zllm.planner.probe import QUICK, sampled_sizes
from zllm.planner.reasons import Reason, Why, millibits
from zllm.planner.tuning import TUNING
from zllm.planner.units import CodedFrame, Piece, cost_of, cut_pieces, frame_size
from zllm.planner.yardstick import Yardstick

_QUICKLY = 100
"""Nanoseconds a byte: what is decoded faster is given up for a slower codec only if that saves what the level asks."""


@dataclass(eq=False)
class Unit:
    """One frame of the fast codec, and the smallest that others have made of it.

    ``quick``: bytes by zstd -9, where anything else may be tried. ``asked``: codecs that are tried; those that have
    ``recognised`` the data are among them. ``tried``: whether any might have been.
    ``payload``: by the fast codec, where it ran.
    """

    piece: Piece
    category: Category
    quick: int = 0
    asked: list[Codec] = field(default_factory=list)
    recognised: list[Codec] = field(default_factory=list)
    tried: bool = False
    best: list[CodedFrame] = field(default_factory=list)
    payload: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes of data."""
        return len(self.piece.data)


class OtherPlanner:
    """Codes units that are not text, at one level."""

    def __init__(self, level: Level, yardstick: Yardstick, candidates: Candidates, run: Run) -> None:
        self.level = level
        self.yardstick = yardstick
        self.candidates = candidates
        self.run = run
        self.quiet = run.quiet()

    def code(self, units: Sequence[Unit]) -> list[list[CodedFrame]]:
        """The frames of each unit. Progress: every unit's bytes, once."""
        self._ask(units)
        for codec in _each(unit.asked for unit in units):
            # Bytes count as done when the cheapest of the codecs that are asked is done with them.
            self._try(codec, [unit for unit in units if unit.asked[:1] == [codec]], self.run)
            self._try(codec, [unit for unit in units if codec in unit.asked[1:]], self.quiet)
        self._measure([unit for unit in units if not unit.asked], self.run)
        doubtful = [u for u in units if u.asked and self.yardstick.could_win(cost_of(u.best), u.quick)]
        self._measure(doubtful, self.quiet)
        return [self._settle(unit) for unit in units]

    def _ask(self, units: Sequence[Unit]) -> None:
        """Set which codecs are asked about each unit."""
        for unit in units:
            for codec in self.candidates.of(unit.category):
                known = codec.recognises(unit.piece.data, unit.piece.boundaries)
                if known is not False:
                    unit.asked.append(codec)
                if known:
                    unit.recognised.append(codec)
        tried = [unit for unit in units if unit.asked]
        for unit, size in zip(tried, self.yardstick.quick_sizes([unit.piece for unit in tried]), strict=True):
            unit.quick, unit.tried = size, True
            if size >= unit.size * (1 - TUNING.hardly):
                unit.asked = list(unit.recognised)
        self._sample([unit for unit in tried if unit.asked and unit.size >= TUNING.probed])

    def _sample(self, units: Sequence[Unit]) -> None:
        """Ask no longer what loses in samples: against zstd -9, or clearly against a codec that recognised the data.
        Such a codec is asked whatever a sample says, which may lack its header and most of a row of pixels."""
        pieces = [unit.piece for unit in units]
        limits = sampled_sizes(pieces, QUICK, self.quiet)
        for codec in _each(unit.recognised for unit in units):
            own = [at for at, unit in enumerate(units) if codec in unit.recognised and unit.asked != [codec]]
            for at, size in zip(own, sampled_sizes([pieces[at] for at in own], codec, self.quiet), strict=True):
                quickly = codec.cost.decode < _QUICKLY
                limits[at] = min(limits[at], int(size * (1 - self.level.min_gain if quickly else TUNING.clearly)))
        for codec in _each(unit.asked for unit in units):
            own = [at for at, unit in enumerate(units) if codec in unit.asked and codec not in unit.recognised]
            for at, size in zip(own, sampled_sizes([pieces[at] for at in own], codec, self.quiet), strict=True):
                if size >= limits[at]:
                    units[at].asked = [other for other in units[at].asked if other is not codec]

    def _try(self, codec: Codec, units: Sequence[Unit], run: Run) -> None:
        """Code the units by ``codec``; its frames are kept where they are the smallest so far."""
        pieces = [cut_pieces(unit.piece, frame_size(unit.piece, self.level, whole=codec.whole)) for unit in units]
        flat = [(piece.data, piece.boundaries) for parts in pieces for piece in parts]
        coded = iter(codec.encode_batch(flat, run) if flat else [])
        smallest = Reason(Why.SMALLEST)
        for unit, parts in zip(units, pieces, strict=True):
            frames = [CodedFrame(codec.id, 0, len(part.data), next(coded), smallest) for part in parts]
            if not unit.best or cost_of(frames) < cost_of(unit.best):
                unit.best = frames

    def _measure(self, units: Sequence[Unit], run: Run) -> None:
        for unit, payload in zip(units, self.yardstick.payloads([u.piece for u in units], run), strict=True):
            unit.payload = payload

    def _settle(self, unit: Unit) -> list[CodedFrame]:
        """The frames of the best codec if they save what the level asks of a slower one, else the fast codec's."""
        fast = unit.quick if unit.payload is None else min(len(unit.payload), unit.size)
        if unit.best:
            cost = cost_of(unit.best)
            if cost < fast and cost <= fast * (1 - self.level.min_gain):
                why = Why.NEED_NOT_COMPARE if unit.payload is None else Why.SMALLEST
                reason = Reason(why, self.yardstick.codec.id, millibits(fast, unit.size))
                return [frame.because(reason) for frame in unit.best]
        return [self._fast_frame(unit)]

    def _fast_frame(self, unit: Unit) -> CodedFrame:
        payload = unit.payload
        if payload is None or len(payload) >= unit.size:
            return CodedFrame(StoreCodec.id, 0, unit.size, unit.piece.data, Reason(Why.INCOMPRESSIBLE))
        return CodedFrame(self.yardstick.codec.id, 0, unit.size, payload, self._why(unit))

    def _why(self, unit: Unit) -> Reason:
        if unit.best:
            return Reason(Why.SMALLEST, unit.best[0].codec_id, millibits(cost_of(unit.best), unit.size))
        return Reason(Why.SAMPLES if unit.tried else Why.LEVEL)


def _each(groups: Iterable[Sequence[Codec]]) -> list[Codec]:
    """Each codec once, in the order in which they come."""
    return list({id(codec): codec for codecs in groups for codec in codecs}.values())
