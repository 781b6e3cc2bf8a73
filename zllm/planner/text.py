"""Text: by the predictor alone, with a model where that saves enough, and never larger than zstd.

A unit is what zstd codes as one frame, up to some megabytes; frames of the other codecs are smaller pieces of it. So a
unit comes out as its zstd frame, or as pieces, each by the codec that pays. One model is asked about a unit: the one
that codes a sample of it best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from zllm.codecs.base import Codec, Run
from zllm.codecs.cm import CmCodec
from zllm.codecs.pool import Pool
from zllm.codecs.store import StoreCodec
from zllm.planner.categories import is_for_models
from zllm.planner.estimate import estimates, model_is_ahead
from zllm.planner.levels import Level
from zllm.planner.probe import are_prose, best_models, expected, gains
from zllm.planner.reasons import Reason, Why, millibits
from zllm.planner.tuning import TUNING
from zllm.planner.units import CodedFrame, Piece, cost_of, cut_pieces, frame_size
from zllm.planner.yardstick import Yardstick

# Naming a model costs this much once in an archive (its hash, name and size in a section header).
MODEL_COST = 51


@dataclass
class _Candidate:
    """A piece of a unit, and its payloads by the predictor alone and with the model, if that is ``asked``.

    ``estimate``: of the bytes of the first, where it was made. Where that is enough to see that the model's is smaller,
    there is no first.
    """

    piece: Piece
    asked: bool
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

    ``plain``: it is text without structure. ``quick``: bytes by zstd -9. ``model``: number of the one that is asked,
    from 0; None if none is. ``refused``: what that made of a unit whose frames are all by the predictor alone after
    all. ``payload``: by zstd at the level, where that could win.
    """

    piece: Piece
    plain: bool
    quick: int
    model: int | None = None
    refused: int = 0
    candidates: list[_Candidate] = field(default_factory=list)
    payload: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes of text."""
        return len(self.piece.data)

    @property
    def alone(self) -> int:
        """Bytes by the predictor alone."""
        return sum(c.alone_size for c in self.candidates)

    @property
    def fast(self) -> int:
        """Bytes by zstd, or, where it could not win, at most so many."""
        return self.quick if self.payload is None else min(len(self.payload), self.size)

    def cut(self, size: int, *, ask: bool) -> None:
        """Make candidates of at most ``size`` bytes, of which the model is asked about those in an encoding for it."""
        parts = cut_pieces(self.piece, size)
        self.candidates = [_Candidate(part, ask and is_for_models(part.data)) for part in parts]


@dataclass(frozen=True)
class Choice:
    """The frames of each unit, with and without its model (``models``: which): either all of one or all of the other.

    Where an estimate decided for the model, it is used in both.
    """

    models: list[int | None]
    helped: list[list[CodedFrame]]
    without: list[list[CodedFrame]]


class TextPlanner:
    """Decides for each unit: its zstd frame as it is, or frames by the predictor, of which some use a model.

    Each unit comes out no larger than its zstd frame, frame headers included; so the promise of the group holds.
    """

    def __init__(self, level: Level, models: Sequence[Codec], cm: Codec, yardstick: Yardstick, run: Run) -> None:
        self.level = level
        self.models = models
        self.cm = cm
        self.yardstick = yardstick
        self.run = run
        self._named: set[int] = set()
        # Work on bytes that count as done only later, or have been counted.
        self.quiet = run.quiet()

    def code(self, pieces: Sequence[Piece], plain: Sequence[bool]) -> Choice:
        """The frames of each unit, a piece; ``plain``: whether it is text without structure.

        Progress: every unit's bytes, once.
        """
        quick = self.yardstick.quick_sizes(pieces)
        units = [_Unit(*unit) for unit in zip(pieces, plain, quick, strict=True)]
        self._choose_models(units)
        self._alone([c for c in _candidates(units) if not c.asked], self.run)
        asked = [unit for unit in units if unit.model is not None]
        self._with_models(asked)
        self._take_back([unit for unit in asked if not any(c.model_wins(self.level) for c in unit.candidates)])
        self._measure(units)
        return Choice(
            models=[unit.model for unit in units],
            helped=[self._settle(unit, use_model=True) for unit in units],
            without=[self._settle(unit, use_model=False) for unit in units],
        )

    def choose(self, choice: Choice) -> list[list[CodedFrame]]:
        """Whether each model pays what naming it costs the archive, which is to be asked in the archive's order."""
        for model in sorted({m for m in choice.models if m is not None} - self._named):
            own = [at for at, m in enumerate(choice.models) if m == model]
            saved = sum(cost_of(choice.without[at]) - cost_of(choice.helped[at]) for at in own)
            needed = any(frame.model for at in own for frame in choice.without[at])
            if needed or saved > MODEL_COST:
                self._named.add(model)
        frames = zip(choice.models, choice.helped, choice.without, strict=True)
        return [helped if model in self._named else without for model, helped, without in frames]

    def _choose_models(self, units: Sequence[_Unit]) -> None:
        """Set which model is asked about each unit, if one is, and cut the units accordingly."""
        for unit in units:
            unit.cut(self.level.text_frame, ask=bool(self.models))
        able = [unit for unit in units if any(c.asked for c in unit.candidates)]
        prose = are_prose([unit.piece for unit in able], [unit.quick for unit in able])
        sure = [unit.size < TUNING.probed or (unit.plain and dull) for unit, dull in zip(able, prose, strict=True)]
        certain, doubtful = (
            [u for u, known in zip(able, sure, strict=True) if known is want] for want in (True, False)
        )
        if certain:
            best = best_models([unit.piece for unit in certain], self.models, self.quiet)
            for unit, number in zip(certain, best, strict=True):
                unit.model = number
        shares = gains([unit.piece for unit in doubtful], self.cm, self.models, self.quiet)
        for unit, gained in zip(doubtful, shares, strict=True):
            promise = expected(max(gained), min(unit.size, frame_size(unit.piece, self.level)))
            if promise + self.level.sample_margin >= self.level.min_gain:
                unit.model = gained.index(max(gained))
        for unit in units:
            if unit.model is None:
                unit.cut(frame_size(unit.piece, self.level), ask=False)

    def _with_models(self, asked: Sequence[_Unit]) -> None:
        """Every piece with its unit's model, and what that has to beat."""
        if not asked:
            return
        candidates = [c for c in _candidates(asked) if c.asked]
        with Pool(1) as beside:
            # The predictor takes a tenth of the model's time: beside it one thread is enough, and a frame's memory.
            rest = beside.submit(self._or_cancel, lambda: self._compare(candidates, replace(self.quiet, threads=1)))
            try:
                self._ask(asked)
                rest.result()
            except BaseException:
                self.run.cancelled.set()  # for what runs beside, which would be waited for
                if rest.done() and (failure := rest.exception()) is not None:
                    raise failure from None  # because of which all this was cancelled
                raise
        # Where no estimate decides, the predictor has to run after all.
        self._alone([c for c in candidates if not c.ahead and not c.alone], self.quiet)

    def _or_cancel(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:
            self.run.cancelled.set()
            raise

    def _ask(self, asked: Sequence[_Unit]) -> None:
        """Every piece with its model: one batch for each model."""
        for number, codec in enumerate(self.models):
            candidates = [c for c in _candidates(unit for unit in asked if unit.model == number) if c.asked]
            for candidate, payload in zip(candidates, _encode(codec, candidates, self.run), strict=True):
                candidate.with_model = payload

    def _compare(self, candidates: Sequence[_Candidate], run: Run) -> None:
        """What the model has to beat: of small pieces their bytes by the predictor alone, of others an estimate."""
        self._alone([c for c in candidates if len(c.piece.data) < TUNING.estimated], run)
        for candidate, size in zip(candidates, estimates([c.piece for c in candidates], self.cm, run), strict=True):
            candidate.estimate = size

    def _alone(self, candidates: Sequence[_Candidate], run: Run) -> None:
        """Every piece by the predictor alone."""
        for candidate, payload in zip(candidates, _encode(self.cm, candidates, run), strict=True):
            candidate.alone = payload

    def _take_back(self, units: Sequence[_Unit]) -> None:
        """Units that a model has not helped get the predictor's frames, which may be larger ones."""
        for unit in units:
            size = frame_size(unit.piece, self.level)
            unit.refused = sum(len(c.with_model or b"") for c in unit.candidates)
            if len(unit.candidates) > 1 and size > self.level.text_frame:
                unit.cut(size, ask=False)
        self._alone([c for unit in units for c in unit.candidates if not c.alone], self.quiet)

    def _measure(self, units: Sequence[_Unit]) -> None:
        """Have zstd code the units where it could still win, with the model or without."""
        doubtful = []
        for unit in units:
            costs = [cost_of([self._frame(unit, c, use_model=use) for c in unit.candidates]) for use in (True, False)]
            if self.yardstick.could_win(max(costs), unit.quick):
                doubtful.append(unit)
        payloads = self.yardstick.payloads([unit.piece for unit in doubtful], self.quiet)
        for unit, payload in zip(doubtful, payloads, strict=True):
            unit.payload = payload

    def _settle(self, unit: _Unit, *, use_model: bool) -> list[CodedFrame]:
        frames = [self._frame(unit, candidate, use_model=use_model) for candidate in unit.candidates]
        return frames if cost_of(frames) < unit.fast else [self._by_zstd(unit)]

    def _frame(self, unit: _Unit, candidate: _Candidate, *, use_model: bool) -> CodedFrame:
        size, slow = len(candidate.piece.data), candidate.with_model
        used = (use_model or candidate.ahead) and candidate.model_wins(self.level)
        if used and slow is not None and unit.model is not None:
            why = Why.NEED_NOT_COMPARE if candidate.ahead else Why.SMALLEST
            reason = Reason(why, CmCodec.id, millibits(candidate.alone_size, size))
            return CodedFrame(self.models[unit.model].id, unit.model + 1, size, slow, reason)
        return CodedFrame(CmCodec.id, 0, size, candidate.alone, self._why_alone(unit, candidate))

    def _why_alone(self, unit: _Unit, candidate: _Candidate) -> Reason:
        if candidate.with_model is not None and unit.model is not None:
            llm, took = self.models[unit.model].id, len(candidate.with_model)
            return Reason(Why.SMALLEST, llm, millibits(took, len(candidate.piece.data)))
        if unit.refused and unit.model is not None:
            return Reason(Why.SMALLEST, self.models[unit.model].id, millibits(unit.refused, unit.size))
        why = Why.SMALLEST if unit.payload is not None else Why.NEED_NOT_COMPARE
        if unit.model is None and self.models and is_for_models(unit.piece.data):
            why = Why.SAMPLES
        return Reason(why, self.yardstick.codec.id, millibits(unit.fast, unit.size))

    def _by_zstd(self, unit: _Unit) -> CodedFrame:
        if unit.payload is not None and len(unit.payload) < unit.size:
            reason = Reason(Why.SMALLEST, CmCodec.id, millibits(unit.alone, unit.size))
            return CodedFrame(self.yardstick.codec.id, 0, unit.size, unit.payload, reason)
        return CodedFrame(StoreCodec.id, 0, unit.size, unit.piece.data, Reason(Why.INCOMPRESSIBLE))


def _encode(codec: Codec, candidates: Sequence[_Candidate], run: Run) -> list[bytes]:
    return codec.encode_batch([(c.piece.data, c.piece.boundaries) for c in candidates], run) if candidates else []


def _candidates(units: Iterable[_Unit]) -> list[_Candidate]:
    return [candidate for unit in units for candidate in unit.candidates]
