"""Text with the model: probe, code, and keep it where it pays.

A unit is what zstd codes as one frame, up to some megabytes; the model's frames are smaller pieces of it. So a unit
comes out as its zstd frame, or as pieces, those that the model does not win joined again for zstd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby

from zllm.chooser.levels import Level
from zllm.chooser.pieces import CodedFrame, Piece, cut_pieces
from zllm.chooser.probe import estimate
from zllm.chooser.reasons import Reason, millibits
from zllm.codecs.base import Codec, Run
from zllm.codecs.store import StoreCodec

# A frame more costs a header in the file and a row in the index.
FRAME_COST = 48
# Naming the model costs this much once in an archive (its hash in a section header, its entry in the manifest).
MODEL_COST = 200
_WINDOWS_PER_PIECE = 3
# Of zstd's average in the unit: a piece's own share may differ from it by some percent.
_CLEARLY = 0.85


@dataclass(frozen=True)
class Unit:
    """One zstd frame: the size to beat."""

    piece: Piece
    payload: bytes


@dataclass
class _Candidate:
    """A piece of a unit, its zstd payload (or only the size that is expected of it), and what the model makes of it."""

    piece: Piece
    fast: bytes
    guess: float | None = None
    slow: bytes | None = None
    expected: int = 0

    @property
    def rival(self) -> int:
        """Bytes by zstd."""
        return len(self.fast) if self.fast else self.expected

    @property
    def measured(self) -> float:
        """Bytes by the model, as far as known."""
        if self.slow is not None:
            return len(self.slow)
        return 0 if self.guess is None else self.guess * len(self.piece.data)


@dataclass
class _Plan:
    """A unit that goes on, cut into the model's frames."""

    at: int
    unit: Unit
    clear: bool = False
    """Every window of it pays: its pieces are not probed again, and zstd sees them only if the model disappoints."""
    candidates: list[_Candidate] = field(default_factory=list)

    @property
    def whole(self) -> float:
        """zstd's size for the unit as a share of its size for the pieces: what a piece alone makes zstd look worse."""
        return min(1.0, len(self.unit.payload) / max(1, sum(c.rival for c in self.candidates)))


class TextCoder:
    """Decides for each unit: its zstd frame as it is, or frames of ``level.text_frame`` of which some use the model.

    Each unit comes out no larger than its zstd frame, frame headers included; so the promise of the group holds.
    """

    def __init__(self, level: Level, llm: Codec, zstd: Codec, run: Run) -> None:
        self.level = level
        self.llm = llm
        self.zstd = zstd
        self.run = run
        self._model_is_named = False
        # Work on bytes that count as done only later, or have been counted.
        self.quiet = run.quiet()

    def encode(self, pieces: Sequence[Piece], payloads: Callable[[], Sequence[bytes]]) -> list[list[CodedFrame]]:
        """The frames of each unit, a piece with its zstd payload. Progress: every unit's bytes, once."""
        with ThreadPoolExecutor(1) as beside:  # zstd has work for one thread, the model for all
            fast = beside.submit(payloads)
            guesses = estimate(pieces, self.llm, self.quiet)
            units = [Unit(piece, payload) for piece, payload in zip(pieces, fast.result(), strict=True)]
        result, plans = [], []
        for at, (unit, costs) in enumerate(zip(units, guesses, strict=True)):
            if self._hopeless(unit, costs):
                self.run.done(len(unit.piece.data))
            else:
                rival = len(unit.payload) / len(unit.piece.data)
                plans.append(_Plan(at, unit, bool(costs) and all(self._surely_pays(cost, rival) for cost in costs)))
            mean = sum(costs) / len(costs) if costs else 0.0
            result.append([_frame(unit.piece, self.zstd, unit.payload, Reason.ZSTD_PROBE, millibits(mean, 1))])
        self._cut(plans)
        self._code(plans)
        self._ask_zstd(plans)
        settled = list(self._settle(plans))
        if not self._model_is_named:
            self._model_is_named = self._earns_its_name(plans, settled)
        for plan, frames in zip(plans, settled, strict=True):
            result[plan.at] = frames if self._model_is_named else [self._by_zstd(plan)]
        return result

    def _earns_its_name(self, plans: Sequence[_Plan], settled: Sequence[Sequence[CodedFrame]]) -> bool:
        before = sum(len(plan.unit.payload) for plan in plans)
        return before - sum(_cost(frames) for frames in settled) > MODEL_COST

    def _hopeless(self, unit: Unit, costs: Sequence[float]) -> bool:
        """Whether the model is far from zstd's average; with its best window, where pieces can be chosen from."""
        if not costs:
            return False
        size = len(unit.piece.data)
        guess = min(costs) if size > self.level.text_frame else sum(costs) / len(costs)
        return not self._pays(guess, len(unit.payload) / size)

    def _pays(self, guess: float, rival: float) -> bool:
        return guess * (1 - self.level.probe_slack) < rival * (1 - self.level.min_gain)

    def _surely_pays(self, guess: float, rival: float) -> bool:
        return guess < rival * (1 - self.level.min_gain)

    def _cut(self, plans: Sequence[_Plan]) -> None:
        """Into pieces; those of doubtful plans get their zstd payloads (a twentieth of the model's time) and a guess by
        probing them."""
        for plan in plans:
            plan.candidates = [_Candidate(piece, b"") for piece in cut_pieces(plan.unit.piece, self.level.text_frame)]
            if len(plan.candidates) == 1:  # known already
                plan.candidates[0].fast = plan.unit.payload
        doubtful = [c for plan in plans if len(plan.candidates) > 1 and not plan.clear for c in plan.candidates]
        parts = [candidate.piece for candidate in doubtful]
        with ThreadPoolExecutor(1) as beside:
            fast = beside.submit(self._zstd, parts)
            guesses = estimate(parts, self.llm, self.quiet, _WINDOWS_PER_PIECE)
        for candidate, costs, payload in zip(doubtful, guesses, fast.result(), strict=True):
            candidate.fast = payload
            candidate.guess = sum(costs) / len(costs) if costs else None

    def _ask_zstd(self, plans: Sequence[_Plan]) -> None:
        """The payloads that are still missing, of pieces that the model did not clearly win, as far as the average of
        their unit by zstd says; of the others the expected size will do."""
        asked = []
        for plan in plans:
            average = len(plan.unit.payload) / len(plan.unit.piece.data)
            for candidate in plan.candidates:
                candidate.expected = round(average * len(candidate.piece.data))
                won = candidate.slow is not None and len(candidate.slow) < _CLEARLY * candidate.expected
                if not candidate.fast and not won:
                    asked.append(candidate)
        for candidate, payload in zip(asked, self._zstd([c.piece for c in asked]), strict=True):
            candidate.fast = payload

    def _code(self, plans: Sequence[_Plan]) -> None:
        """All promising pieces of all units by the model, in one batch."""
        chosen = []
        for plan in plans:
            for candidate in plan.candidates:
                size = len(candidate.piece.data)
                if candidate.guess is None or self._pays(candidate.guess, len(candidate.fast) * plan.whole / size):
                    chosen.append(candidate)
                else:
                    self.run.done(size)
        if chosen:
            payloads = self.llm.encode_batch([(c.piece.data, c.piece.cuts) for c in chosen], self.run)
            for candidate, payload in zip(chosen, payloads, strict=True):
                candidate.slow = payload

    def _settle(self, plans: Sequence[_Plan]) -> Iterator[list[CodedFrame]]:
        """Frames of each plan's unit: runs of pieces that zstd wins are joined, and coded by zstd as one."""
        runs = [(plan, won, run) for plan in plans for won, run in self._runs(plan)]
        joined = [_span(plan, run) for plan, won, run in runs if not won and not _has_payload(run)]
        payloads = iter(self._zstd(joined))
        frames: dict[int, list[CodedFrame]] = {plan.at: [] for plan in plans}
        for plan, won, run in runs:
            if won:
                frames[plan.at] += [_llm_frame(candidate, self.llm) for candidate in run]
            else:
                payload = run[0].fast if _has_payload(run) else next(payloads)
                frames[plan.at].append(self._zstd_frame(plan, run, payload))
        for plan in plans:
            yield self._cheaper(plan, frames[plan.at])

    def _runs(self, plan: _Plan) -> list[tuple[bool, list[_Candidate]]]:
        """Neighbours that the model wins, or does not win, in order."""
        marked = [(self._wins(candidate, plan), candidate) for candidate in plan.candidates]
        return [(won, [candidate for _, candidate in run]) for won, run in groupby(marked, lambda pair: pair[0])]

    def _wins(self, candidate: _Candidate, plan: _Plan) -> bool:
        rival = min(candidate.rival, len(candidate.piece.data)) * plan.whole
        return candidate.slow is not None and len(candidate.slow) < rival * (1 - self.level.min_gain)

    def _cheaper(self, plan: _Plan, frames: list[CodedFrame]) -> list[CodedFrame]:
        unit = plan.unit
        with_model = sum(frame.raw_size for frame in frames if frame.uses_model)
        gain = len(unit.payload) - _cost(frames)
        # Where only some frames use the model, only their share of the gain can be asked for.
        wanted = self.level.min_gain * len(unit.payload) * with_model / len(unit.piece.data)
        if with_model and gain > 0 and gain >= wanted:
            return frames
        return [self._by_zstd(plan)]

    def _by_zstd(self, plan: _Plan) -> CodedFrame:
        return self._zstd_frame(plan, plan.candidates, plan.unit.payload)

    def _zstd_frame(self, plan: _Plan, run: Sequence[_Candidate], payload: bytes) -> CodedFrame:
        piece = _span(plan, run)
        coded = any(candidate.slow is not None for candidate in run)
        rival = millibits(sum(candidate.measured for candidate in run), len(piece.data))
        return _frame(piece, self.zstd, payload, Reason.ZSTD_SMALLER if coded else Reason.ZSTD_PROBE, rival)

    def _zstd(self, pieces: Sequence[Piece]) -> list[bytes]:
        return self.zstd.encode_batch([(piece.data, piece.cuts) for piece in pieces], self.quiet)


def _has_payload(run: Sequence[_Candidate]) -> bool:
    return len(run) == 1 and bool(run[0].fast)


def _cost(frames: Sequence[CodedFrame]) -> int:
    return sum(len(frame.payload) for frame in frames) + FRAME_COST * (len(frames) - 1)


def _span(plan: _Plan, run: Sequence[_Candidate]) -> Piece:
    return plan.unit.piece.part(run[0].piece.start, run[-1].piece.end)


def _llm_frame(candidate: _Candidate, llm: Codec) -> CodedFrame:
    size = len(candidate.piece.data)
    rival = millibits(candidate.rival, size)
    return CodedFrame(llm.id, True, size, candidate.slow or b"", Reason.LLM_SMALLER, rival)


def _frame(piece: Piece, zstd: Codec, payload: bytes, reason: Reason, rival: int) -> CodedFrame:
    size = len(piece.data)
    if len(payload) < size:
        return CodedFrame(zstd.id, False, size, payload, reason, rival)
    return CodedFrame(StoreCodec.id, False, size, piece.data, Reason.STORE_INCOMPRESSIBLE, rival)
