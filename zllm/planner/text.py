"""Text: by the predictor alone, with the model where that saves enough, and never larger than zstd.

A unit is what zstd codes as one frame, up to some megabytes; frames of the other two codecs are smaller pieces of it.
So a unit comes out as its zstd frame, or as pieces, each by the codec that pays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from zllm.codecs.base import Codec, Run
from zllm.codecs.cm import CmCodec
from zllm.codecs.pool import Pool
from zllm.codecs.store import StoreCodec
from zllm.planner.estimate import MIN_ESTIMATED, estimates, model_is_ahead
from zllm.planner.levels import Level
from zllm.planner.probe import are_prose, gains
from zllm.planner.reasons import Reason, millibits
from zllm.planner.units import CodedFrame, Piece, cost_of, cut_pieces, frame_size
from zllm.planner.yardstick import Yardstick

# Of what the model saves in samples of 32 KiB, this much it saves in a whole text of half a megabyte: verse that stood
# at 14% there came out at 5%.
_OF_SAMPLES = 0.35
# Naming the model costs this much once in an archive (its hash, name and size in a section header).
MODEL_COST = 51


@dataclass
class _Candidate:
    """A piece of a unit, and its payloads by the predictor alone and with the model.

    ``estimate``: of the bytes of the first, where it was made. Where that is enough to see that the model's is smaller,
    there is no first.
    """

    piece: Piece
    alone: bytes = b""
    with_model: bytes | None = None
    estimate: int | None = None

    @property
    def ahead(self) -> bool:
        """Whether the estimate decides for the model."""
        return self.with_model is not None and model_is_ahead(len(self.with_model), self.estimate)

    @property
    def alone_size(self) -> int:
        """Bytes by the predictor alone, or about so many."""
        return self.estimate if self.ahead and self.estimate is not None else len(self.alone)

    def model_wins(self, level: Level) -> bool:
        """Whether the model saves what the level asks of it."""
        if self.with_model is None:
            return False
        return self.ahead or len(self.with_model) < len(self.alone) * (1 - level.min_gain)


@dataclass(eq=False)
class _Unit:
    """One zstd frame: the size to beat.

    ``plain``: it is text without structure. ``quick``: bytes by zstd -9. ``payload``: by zstd at the level, where that
    could win. ``expected``: the share of samples that the model saves, if it was asked.
    """

    piece: Piece
    plain: bool
    quick: int
    candidates: list[_Candidate] = field(default_factory=list)
    payload: bytes | None = None
    expected: float | None = None

    @property
    def alone(self) -> int:
        """Bytes by the predictor alone."""
        return sum(c.alone_size for c in self.candidates)

    @property
    def fast(self) -> int:
        """Bytes by zstd, or, where it could not win, at most so many."""
        return self.quick if self.payload is None else min(len(self.payload), len(self.piece.data))

    def promises(self, level: Level) -> bool:
        """Whether the model is likely to save what the level asks of it."""
        return self.expected is None or self.expected * _OF_SAMPLES * level.hope >= level.min_gain


@dataclass(frozen=True)
class Choice:
    """The frames of each unit, with and without the model: either all of one or all of the other.

    Where an estimate decided for the model, it is used in both.
    """

    helped: list[list[CodedFrame]]
    without: list[list[CodedFrame]]


class TextPlanner:
    """Decides for each unit: its zstd frame as it is, or frames by the predictor, of which some use ``llm``, the model.

    Each unit comes out no larger than its zstd frame, frame headers included; so the promise of the group holds.
    """

    def __init__(self, level: Level, llm: Codec | None, cm: Codec, yardstick: Yardstick, run: Run) -> None:
        self.level = level
        self.llm = llm
        self.cm = cm
        self.yardstick = yardstick
        self.run = run
        self._model_is_named = False
        # Work on bytes that count as done only later, or have been counted.
        self.quiet = run.quiet()

    def code(self, pieces: Sequence[Piece], plain: Sequence[bool]) -> Choice:
        """The frames of each unit, a piece; ``plain``: whether it is text without structure.

        Progress: every unit's bytes, once.
        """
        quick = self.yardstick.quick_sizes(pieces)
        units = [_Unit(*unit) for unit in zip(pieces, plain, quick, strict=True)]
        asked = self._promising(units)
        for unit in units:
            size = self.level.text_frame if unit in asked else frame_size(unit.piece, self.level)
            unit.candidates = [_Candidate(part) for part in cut_pieces(unit.piece, size)]
        self._alone(_candidates(unit for unit in units if unit not in asked), self.run)
        self._with_model(_candidates(asked))
        self._measure(units)
        return Choice(
            helped=[self._settle(unit, use_model=True) for unit in units],
            without=[self._settle(unit, use_model=False) for unit in units],
        )

    def _or_cancel(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:
            self.run.cancelled.set()
            raise

    def _with_model(self, asked: Sequence[_Candidate]) -> None:
        """Every piece with the model, and what it has to beat."""
        if not asked:
            return
        with Pool(1) as beside:
            # The predictor takes a tenth of the model's time: beside it one thread is enough, and a frame's memory.
            rest = beside.submit(self._or_cancel, lambda: self._compare(asked, replace(self.quiet, threads=1)))
            try:
                self._ask_model(asked)
                rest.result()
            except BaseException:
                self.run.cancelled.set()  # for what runs beside, which would be waited for
                if rest.done() and (failure := rest.exception()) is not None:
                    raise failure from None  # because of which all this was cancelled
                raise
        # Where no estimate decides, the predictor has to run after all.
        self._alone([c for c in asked if not c.ahead and not c.alone], self.quiet)

    def _measure(self, units: Sequence[_Unit]) -> None:
        """Have zstd code the units where it could still win, with the model or without."""
        doubtful = []
        for unit in units:
            costs = [cost_of([self._frame(c, use_model=use) for c in unit.candidates]) for use in (True, False)]
            if self.yardstick.could_win(max(costs), unit.quick):
                doubtful.append(unit)
        payloads = self.yardstick.payloads([unit.piece for unit in doubtful], self.quiet)
        for unit, payload in zip(doubtful, payloads, strict=True):
            unit.payload = payload

    def choose(self, choice: Choice) -> list[list[CodedFrame]]:
        """Whether the model pays what naming it costs the archive, which is to be asked in the archive's order."""
        if not self._model_is_named:
            saved = sum(map(cost_of, choice.without)) - sum(map(cost_of, choice.helped))
            needed = any(frame.uses_model for frames in choice.without for frame in frames)
            self._model_is_named = needed or saved > MODEL_COST
        return choice.helped if self._model_is_named else choice.without

    def _promising(self, units: Sequence[_Unit]) -> list[_Unit]:
        """Those that the model is asked about."""
        if self.llm is None:
            return []
        plain = [unit for unit in units if unit.plain]
        told = zip(plain, are_prose([unit.piece for unit in plain], [unit.quick for unit in plain]), strict=True)
        prose = [unit for unit, is_prose in told if is_prose]
        doubtful = [unit for unit in units if unit not in prose]
        expected = gains([unit.piece for unit in doubtful], self.cm, self.llm, self.quiet)
        for unit, share in zip(doubtful, expected, strict=True):
            unit.expected = share
        return [unit for unit in units if unit.promises(self.level)]

    def _alone(self, candidates: Sequence[_Candidate], run: Run) -> None:
        """Every piece by the predictor alone."""
        coded = self.cm.encode_batch([(c.piece.data, c.piece.cuts) for c in candidates], run) if candidates else []
        for candidate, payload in zip(candidates, coded, strict=True):
            candidate.alone = payload

    def _compare(self, candidates: Sequence[_Candidate], run: Run) -> None:
        """What the model has to beat: of small pieces their bytes by the predictor alone, of others an estimate."""
        self._alone([c for c in candidates if len(c.piece.data) < MIN_ESTIMATED], run)
        for candidate, size in zip(candidates, estimates([c.piece for c in candidates], self.cm, run), strict=True):
            candidate.estimate = size

    def _ask_model(self, candidates: Sequence[_Candidate]) -> None:
        """Every piece with the model, in one batch."""
        if self.llm is None or not candidates:
            return
        coded = self.llm.encode_batch([(c.piece.data, c.piece.cuts) for c in candidates], self.run)
        for candidate, payload in zip(candidates, coded, strict=True):
            candidate.with_model = payload

    def _settle(self, unit: _Unit, *, use_model: bool) -> list[CodedFrame]:
        frames = [self._frame(candidate, use_model=use_model) for candidate in unit.candidates]
        if cost_of(frames) < unit.fast:
            rival = millibits(unit.fast, len(unit.piece.data))
            return [frame if frame.rival else frame.against(rival) for frame in frames]
        return [self._by_zstd(unit)]

    def _frame(self, candidate: _Candidate, *, use_model: bool) -> CodedFrame:
        size, slow = len(candidate.piece.data), candidate.with_model
        used = (use_model or candidate.ahead) and candidate.model_wins(self.level)
        if used and slow is not None and self.llm is not None:
            reason = Reason.LLM_AHEAD if candidate.ahead else Reason.LLM_SMALLER
            return CodedFrame(self.llm.id, True, size, slow, reason, millibits(candidate.alone_size, size))
        if slow is not None:
            return CodedFrame(CmCodec.id, False, size, candidate.alone, Reason.CM_SMALLER, millibits(len(slow), size))
        reason = Reason.CM_LEVEL if self.llm is None else Reason.CM_PROBE
        return CodedFrame(CmCodec.id, False, size, candidate.alone, reason)

    def _by_zstd(self, unit: _Unit) -> CodedFrame:
        size = len(unit.piece.data)
        rival = millibits(unit.alone, size)
        if unit.payload is not None and len(unit.payload) < size:
            return CodedFrame(self.yardstick.codec.id, False, size, unit.payload, Reason.ZSTD_SMALLER, rival)
        return CodedFrame(StoreCodec.id, False, size, unit.piece.data, Reason.STORE_INCOMPRESSIBLE, rival)


def _candidates(units: Iterable[_Unit]) -> list[_Candidate]:
    return [candidate for unit in units for candidate in unit.candidates]
