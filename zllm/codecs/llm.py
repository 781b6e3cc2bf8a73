"""Text by a language model: tokens, exact probabilities, adaptive predictor, range coder (``docs/arithmetic.md``).

A frame's text is cut into streams that the model reads apart from each other, so that many tokens are computed at once
when decoding. They advance in lockstep and share the adaptive predictor, so that a stream costs little: see
``docs/predictor.md``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, TypeVar

from zllm._native import RoomError, work
from zllm.codecs.base import Buffer, Codec, Cost, Run
from zllm.codecs.llm_decoding import FrameDecoding, TeamDecoding
from zllm.codecs.llm_encoding import STREAMS, FrameEncoding
from zllm.codecs.llm_frames import Frame, long_enough, parse, take_apart
from zllm.codecs.llm_work import Coding, Model
from zllm.codecs.scheduling import SCHEDULING
from zllm.codecs.threads import NoThreadsError
from zllm.errors import DamagedError
from zllm.executors.base import Executor
from zllm.format.category import TEXTS, Category

ROOM_FOR_ANYTHING = 32
"""Bytes of code a byte of text, at most: a token of n bytes takes up to 9 n + 1 decisions of 24 bits; and the end."""

_T = TypeVar("_T")


class LlmCodec(Codec):
    """Codes text with ``model``, in frames of at most ``streams`` streams (which matters to the encoder only).

    ``executor`` computes the model; None: the C core. It changes no byte.
    """

    name: ClassVar[str] = "llm"
    id: ClassVar[int] = 3
    needs_model: ClassVar[bool] = True
    categories: ClassVar[frozenset[Category]] = TEXTS
    cost: ClassVar[Cost] = Cost(encode=10_000, decode=10_000)

    def __init__(self, model: Model, streams: int = STREAMS) -> None:
        self.model = model
        self.streams = streams
        self.scheduling = SCHEDULING
        self.executor: Executor | None = None

    def settings(self) -> dict[str, int]:
        """See :meth:`Codec.settings`."""
        return {"streams": self.streams}

    def encode(self, data: Buffer, boundaries: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.encode`."""
        return self.encode_batch([(data, boundaries)], Run())[0]

    def decode(self, payload: Buffer, size: int, boundaries: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.decode`."""
        return self.decode_batch([(payload, size, boundaries)], Run())[0]

    def encode_batch(self, items: Sequence[tuple[Buffer, Sequence[int]]], run: Run) -> list[bytes]:
        """All frames, by all threads."""
        out: list[bytes] = []
        for part in _batches(items, lambda item: len(item[0]), self._most):
            counted = _Counted(run)
            try:
                out += self._encode(part, counted.run, None)
            except RoomError:
                out += self._encode(part, run.quiet(), ROOM_FOR_ANYTHING)
                run.done(sum(len(data) for data, _ in part) - counted.total)
        return out

    def _encode(self, part: Sequence[tuple[Buffer, Sequence[int]]], run: Run, room: int | None) -> list[bytes]:
        frames = [take_apart(i, data, boundaries) for i, (data, boundaries) in enumerate(part)]
        self._code(lambda how: self._encoding(how, room), frames, run)
        run.done(sum(frame.repeats.size for frame in frames))
        return [frame.header + long_enough(frame) for frame in frames]

    def decode_batch(self, items: Sequence[tuple[Buffer, int, Sequence[int]]], run: Run) -> list[bytes]:
        """All frames, by all threads.

        Raises:
            DamagedError: a payload is not one that :meth:`encode` makes.
        """
        out: list[bytes] = []
        for part in _batches(items, lambda item: item[1], self._most):
            frames = [parse(i, payload, size, boundaries) for i, (payload, size, boundaries) in enumerate(part)]
            self._code(self._decoding, frames, run)
            run.done(sum(frame.repeats.size for frame in frames))
            out += [frame.repeats.put_back(frame.result) for frame in frames]
        return out

    def salvage(self, payload: Buffer, size: int, boundaries: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.salvage`: what each stream gives up to the damage is right."""
        try:
            frame = parse(0, payload, size, boundaries)
        except DamagedError:
            return b""
        if not frame.size:
            return b""
        job = FrameDecoding(self.model, self.scheduling, Run()).make(frame, 1)
        with contextlib.suppress(DamagedError):
            work([job], 0)
        return frame.repeats.put_back(job.result())

    @staticmethod
    def _code(coding: Callable[[Run], Coding], frames: list[Frame], run: Run) -> None:
        todo = [frame for frame in frames if frame.size]
        try:
            coding(run).code(todo)
        except NoThreadsError:  # nothing was done: who shares a frame would wait for those who are missing
            coding(replace(run, threads=1)).code(todo)

    @property
    def _most(self) -> int:
        return self.scheduling.batch_bytes if self.executor is None else self.scheduling.stepped_bytes

    def _encoding(self, run: Run, room: int | None) -> Coding:
        if self.executor is None:
            return FrameEncoding(self.model, self.scheduling, run, self.streams, room)
        from zllm.codecs.llm_steps import SteppedEncoding

        return SteppedEncoding(
            self.model, self.scheduling, run, streams=self.streams, room=room, executor=self.executor
        )

    def _decoding(self, run: Run) -> Coding:
        if self.executor is None:
            large = self.model.native.memory > self.scheduling.last_cache_bytes
            kind = TeamDecoding if large and run.threads > 1 else FrameDecoding
            return kind(self.model, self.scheduling, run)
        from zllm.codecs.llm_steps import SteppedDecoding

        return SteppedDecoding(self.model, self.scheduling, run, self.executor)


class _Counted:
    """A run that knows how many bytes it was told are done."""

    def __init__(self, run: Run) -> None:
        self.total = 0
        self.run = replace(run, progress=self._add)
        self._tell = run.progress

    def _add(self, count: int) -> None:
        self.total += count
        if self._tell is not None:
            self._tell(count)


def _batches(items: Sequence[_T], size: Callable[[_T], int], most: int) -> Iterator[list[_T]]:
    """Neighbours of at most ``most`` bytes together, or one that has more alone."""
    part: list[_T] = []
    total = 0
    for item in items:
        if part and total + size(item) > most:
            yield part
            part, total = [], 0
        part.append(item)
        total += size(item)
    if part:
        yield part
