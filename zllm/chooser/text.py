"""Text with the model: probe, code, and keep it where it pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zllm.chooser.levels import Level
from zllm.chooser.pieces import CodedFrame, Piece, cut_pieces
from zllm.chooser.probe import estimate
from zllm.chooser.reasons import Reason, millibits
from zllm.codecs.base import Codec, Run
from zllm.codecs.store import StoreCodec

# A frame more costs a header in the file and a row in the index.
FRAME_COST = 48


@dataclass(frozen=True)
class Unit:
    """One zstd frame, and what became of it: the size to beat."""

    piece: Piece
    payload: bytes


class TextCoder:
    """Decides for each unit: its zstd frame as it is, or frames of ``level.text_frame`` of which some use the model.

    Each unit comes out no larger than its zstd frame, frame headers included; so the promise of the group holds.
    """

    def __init__(self, level: Level, llm: Codec, zstd: Codec, run: Run) -> None:
        self.level = level
        self.llm = llm
        self.zstd = zstd
        self.run = run
        # Work on bytes that count as done only later, or have been counted.
        self.quiet = Run(run.threads, None, run.cancelled)

    def encode(self, units: Sequence[Unit]) -> list[list[CodedFrame]]:
        """The frames of each unit. Progress: every unit's bytes, once."""
        guesses = estimate([unit.piece for unit in units], self.llm, self.quiet)
        chosen = [index for index, unit in enumerate(units) if self._promising(unit, guesses[index])]
        result = [self._probed(unit, guess) for unit, guess in zip(units, guesses, strict=True)]
        for index in sorted(set(range(len(units))) - set(chosen)):
            self.run.done(len(units[index].piece.data))
        pieces = [cut_pieces(units[index].piece, self.level.text_frame) for index in chosen]
        both = iter(self._code_both([units[index] for index in chosen], pieces))
        for index, parts in zip(chosen, pieces, strict=True):
            result[index] = self._choose(units[index], [next(both) for _ in parts])
        return result

    def _promising(self, unit: Unit, guess: float | None) -> bool:
        if guess is None:
            return True
        goal = len(unit.payload) * (1 - self.level.min_gain)
        return guess * len(unit.piece.data) * (1 - self.level.probe_slack) < goal

    def _code_both(self, units: Sequence[Unit], parts: Sequence[Sequence[Piece]]) -> list[tuple[Piece, bytes, bytes]]:
        """Each piece with its zstd payload and its payload by the model. zstd takes a twentieth of the time."""
        flat = [piece for pieces in parts for piece in pieces]
        if not flat:
            return []
        again = [(piece.data, piece.cuts) for pieces in parts if len(pieces) > 1 for piece in pieces]
        recoded = iter(self.zstd.encode_batch(again, self.quiet))
        fast = [
            unit.payload if len(pieces) == 1 else next(recoded)
            for unit, pieces in zip(units, parts, strict=True)
            for _ in pieces
        ]
        slow = self.llm.encode_batch([(piece.data, piece.cuts) for piece in flat], self.run)
        return list(zip(flat, fast, slow, strict=True))

    def _choose(self, unit: Unit, both: Sequence[tuple[Piece, bytes, bytes]]) -> list[CodedFrame]:
        frames = [self._better(*candidates) for candidates in both]
        total = sum(len(frame.payload) for frame in frames) + FRAME_COST * (len(frames) - 1)
        with_model = sum(frame.raw_size for frame in frames if frame.uses_model)
        size = len(unit.piece.data)
        gain = len(unit.payload) - total
        # Where only some frames use the model, only their share of the gain can be asked for.
        if with_model and gain > 0 and gain >= self.level.min_gain * len(unit.payload) * with_model / size:
            return frames
        measured = sum(len(slow) for _, _, slow in both)
        return [self._by_zstd(unit.piece, unit.payload, Reason.ZSTD_SMALLER, millibits(measured, size))]

    def _better(self, piece: Piece, fast: bytes, slow: bytes) -> CodedFrame:
        size = len(piece.data)
        if len(slow) < min(len(fast), size) * (1 - self.level.min_gain):
            rival = millibits(len(fast), size)
            return CodedFrame(self.llm.id, True, size, slow, Reason.LLM_SMALLER, rival)
        return self._by_zstd(piece, fast, Reason.ZSTD_SMALLER, millibits(len(slow), size))

    def _probed(self, unit: Unit, guess: float | None) -> list[CodedFrame]:
        size = len(unit.piece.data)
        rival = 0 if guess is None else millibits(guess * size, size)
        return [self._by_zstd(unit.piece, unit.payload, Reason.ZSTD_PROBE, rival)]

    def _by_zstd(self, piece: Piece, payload: bytes, reason: Reason, rival: int) -> CodedFrame:
        size = len(piece.data)
        if len(payload) < size:
            return CodedFrame(self.zstd.id, False, size, payload, reason, rival)
        return CodedFrame(StoreCodec.id, False, size, bytes(piece.data), Reason.STORE_INCOMPRESSIBLE, rival)
