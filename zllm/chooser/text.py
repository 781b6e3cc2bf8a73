"""Text: by the predictor alone, with the model where that saves enough, and never larger than zstd.

A unit is what zstd codes as one frame, up to some megabytes; frames of the other two codecs are smaller pieces of it.
So a unit comes out as its zstd frame, or as pieces, each by the codec that pays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from zllm.chooser.levels import Level
from zllm.chooser.pieces import CodedFrame, Piece, cut_pieces
from zllm.chooser.probe import estimate
from zllm.chooser.reasons import Reason, millibits
from zllm.codecs.base import Codec, Run
from zllm.codecs.cm import CmCodec
from zllm.codecs.store import StoreCodec

# A frame more costs a header in the file and a row in the index.
FRAME_COST = 48
# Naming the model costs this much once in an archive (its hash in a section header, its entry in the manifest).
MODEL_COST = 115


@dataclass
class _Candidate:
    """A piece of a unit, and its payloads by the predictor alone and with the model."""

    piece: Piece
    alone: bytes
    with_model: bytes | None = None

    def model_wins(self, level: Level) -> bool:
        """Whether the model saves what the level asks of it."""
        return self.with_model is not None and len(self.with_model) < len(self.alone) * (1 - level.min_gain)


@dataclass
class _Unit:
    """One zstd frame: the size to beat. ``cold``: coded bytes per byte in samples, (alone, with the model)."""

    piece: Piece
    payload: bytes = b""
    cold: tuple[float, float] | None = None
    candidates: list[_Candidate] = field(default_factory=list)

    @property
    def alone(self) -> int:
        """Bytes by the predictor alone."""
        return sum(len(c.alone) for c in self.candidates)

    def gain_expected(self) -> float:
        """Share of the size that the model may save.

        In samples all text is new, and the model knows it better by some share. In the whole text the predictor has
        learnt from what came before; what it still finds new is all that the model can do better.
        """
        if self.cold is None or not self.cold[0]:
            return 1.0
        alone, with_model = self.cold
        still_new = self.alone / len(self.piece.data) / alone
        return (1 - with_model / alone) * min(1.0, still_new)


@dataclass(frozen=True)
class Choice:
    """The frames of each unit, with and without the model: either all of one or all of the other."""

    helped: list[list[CodedFrame]]
    without: list[list[CodedFrame]]


class TextCoder:
    """Decides for each unit: its zstd frame as it is, or frames of ``level.text_frame`` by the predictor, of which some
    use the model (``llm``, if there is one).

    Each unit comes out no larger than its zstd frame, frame headers included; so the promise of the group holds.
    """

    def __init__(self, level: Level, llm: Codec | None, cm: Codec, zstd: Codec, run: Run) -> None:
        self.level = level
        self.llm = llm
        self.cm = cm
        self.zstd = zstd
        self.run = run
        self._model_is_named = False
        # Work on bytes that count as done only later, or have been counted.
        self.quiet = run.quiet()

    def code(self, pieces: Sequence[Piece], payloads: Callable[[], Sequence[bytes]]) -> Choice:
        """The frames of each unit, a piece with its zstd payload. Progress: every unit's bytes, once."""
        units = [_Unit(piece) for piece in pieces]
        with ThreadPoolExecutor(1) as beside:  # zstd has work for one thread, the others for all
            fast = beside.submit(payloads)
            try:
                self._alone(units)
                self._ask_model(units)
            except KeyboardInterrupt:
                self.run.cancelled.set()  # for zstd, which would be waited for
                raise
            for unit, payload in zip(units, fast.result(), strict=True):
                unit.payload = payload
        return Choice(
            helped=[self._settle(unit, use_model=True) for unit in units],
            without=[self._settle(unit, use_model=False) for unit in units],
        )

    def choose(self, choice: Choice) -> list[list[CodedFrame]]:
        """Whether the model pays what naming it costs the archive, which is to be asked in the archive's order."""
        if not self._model_is_named:
            saved = sum(map(_cost, choice.without)) - sum(map(_cost, choice.helped))
            self._model_is_named = saved > MODEL_COST
        return choice.helped if self._model_is_named else choice.without

    def _alone(self, units: Sequence[_Unit]) -> None:
        """Every piece by the predictor alone: it takes a tenth of the model's time."""
        parts = [cut_pieces(unit.piece, self.level.text_frame) for unit in units]
        items = [(piece.data, piece.cuts) for pieces in parts for piece in pieces]
        coded = iter(self.cm.encode_batch(items, self.run if self.llm is None else self.quiet))
        for unit, pieces in zip(units, parts, strict=True):
            unit.candidates = [_Candidate(piece, next(coded)) for piece in pieces]

    def _ask_model(self, units: Sequence[_Unit]) -> None:
        """All pieces of promising units with the model, in one batch."""
        if self.llm is None:
            return
        pieces = [unit.piece for unit in units]
        for unit, alone, with_model in zip(
            units, estimate(pieces, self.cm, self.quiet), estimate(pieces, self.llm, self.quiet), strict=True
        ):
            if alone:
                unit.cold = (sum(alone) / len(alone), sum(with_model) / len(with_model))
        chosen = []
        for unit in units:
            if unit.gain_expected() * self.level.hope >= self.level.min_gain:
                chosen += unit.candidates
            else:
                self.run.done(len(unit.piece.data))
        payloads = self.llm.encode_batch([(c.piece.data, c.piece.cuts) for c in chosen], self.run) if chosen else []
        for candidate, payload in zip(chosen, payloads, strict=True):
            candidate.with_model = payload

    def _settle(self, unit: _Unit, *, use_model: bool) -> list[CodedFrame]:
        frames = [self._frame(candidate, use_model=use_model) for candidate in unit.candidates]
        if _cost(frames) < min(len(unit.payload), len(unit.piece.data)):
            rival = millibits(len(unit.payload), len(unit.piece.data))
            return [
                f if f.rival else CodedFrame(f.codec_id, False, f.raw_size, f.payload, f.reason, rival) for f in frames
            ]
        return [self._by_zstd(unit)]

    def _frame(self, candidate: _Candidate, *, use_model: bool) -> CodedFrame:
        size, slow = len(candidate.piece.data), candidate.with_model
        if use_model and slow is not None and self.llm is not None and candidate.model_wins(self.level):
            rival = millibits(len(candidate.alone), size)
            return CodedFrame(self.llm.id, True, size, slow, Reason.LLM_SMALLER, rival)
        if slow is not None:
            return CodedFrame(CmCodec.id, False, size, candidate.alone, Reason.CM_SMALLER, millibits(len(slow), size))
        reason = Reason.CM_LEVEL if self.llm is None else Reason.CM_PROBE
        return CodedFrame(CmCodec.id, False, size, candidate.alone, reason)

    def _by_zstd(self, unit: _Unit) -> CodedFrame:
        size = len(unit.piece.data)
        rival = millibits(unit.alone, size)
        if len(unit.payload) < size:
            return CodedFrame(self.zstd.id, False, size, unit.payload, Reason.ZSTD_SMALLER, rival)
        return CodedFrame(StoreCodec.id, False, size, unit.piece.data, Reason.STORE_INCOMPRESSIBLE, rival)


def _cost(frames: Sequence[CodedFrame]) -> int:
    return sum(len(frame.payload) for frame in frames) + FRAME_COST * (len(frames) - 1)
