"""Encoding frames of text with a model."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace

from zllm._native import GIVEN, Job, trim_memory
from zllm.codecs.base import Run, map_items
from zllm.codecs.llm_frames import Frame, header
from zllm.codecs.llm_work import Coding, Model
from zllm.codecs.scheduling import Scheduling

STREAMS = 16
"""Of a frame, at most, unless the level says otherwise."""


def stream_count(size: int, most: int = STREAMS) -> int:
    """Streams of a frame of ``size`` bytes: one per 16 KiB up to 12, then one per 64 KiB, but at most ``most``."""
    return max(1, min(size >> 14, max(12, size >> 16), most))


def cut_tokens(tokens: Sequence[int], count: int) -> list[int]:
    """Where streams end, the last at ``len(tokens)``: equal numbers of tokens, for they advance token by token."""
    total = len(tokens)
    return sorted({total * i // count for i in range(1, count)} - {0} | {total})


class FrameEncoding(Coding):
    """Makes at most ``streams`` streams of a frame.

    ``room``: bytes for each code string per byte of text; None for what is enough but for extremely odd text.
    """

    def __init__(
        self, model: Model, scheduling: Scheduling, run: Run, streams: int = STREAMS, room: int | None = None
    ) -> None:
        super().__init__(model, scheduling, run, scheduling.rows)
        self.streams = streams
        self.room = room

    def streams_of(self, frame: Frame) -> int:
        """See :meth:`Coding.streams_of`."""
        return stream_count(frame.size, self.streams)

    def apart(self, streams: int) -> bool:
        """See :meth:`Coding.apart`. Steps are as full with shared frames, of which fewer take memory: 30 MB each."""
        return streams < self.run.threads

    def make(self, frame: Frame, threads: int) -> Job:
        """See :meth:`Coding.make`."""
        streams = self.take_streams(frame, threads)
        return self.job(frame, streams, min(threads, len(streams)))

    def take_streams(self, frame: Frame, threads: int = 1) -> list[tuple[array[int], int]]:
        """The frame's streams, each of them its tokens and the bytes of their text; its header is made of them."""
        with self.run.stage("tokenizing", frame.size):
            streams = list(self._streams(self._tokens(frame, threads), self.streams_of(frame)))
            if frame.size >= self.scheduling.tokenised_bytes:
                trim_memory()
        frame.streams = len(streams)
        frame.header = header(frame.repeats, [size for _, size in streams])
        return streams

    def job(self, frame: Frame, streams: list[tuple[array[int], int]], threads: int) -> Job:
        """The job that codes these streams of the frame."""
        room = None if self.room is None else self.room * frame.size
        return self.native.encoder(streams, self.model.start, threads, room)

    def _streams(self, tokens: array[int], count: int) -> Iterator[tuple[array[int], int]]:
        """Streams, each of them its tokens and the bytes of their text."""
        lengths = self.native.token_lengths
        ends = cut_tokens(tokens, count)
        for start, end in zip([0, *ends], ends, strict=False):
            # A stream starts like a document anyway. Given tokens do not stand side by side.
            first = start + (tokens[start] >= GIVEN)
            last = end - (tokens[end - 1] >= GIVEN)
            if first < last:
                part = tokens[first:last]
                yield part, sum(lengths[token] for token in part if token < GIVEN)

    def _tokens(self, frame: Frame, threads: int = 1) -> array[int]:
        """Documents are cut apart, and each but the first is started by a given token."""
        run = replace(self.run, threads=min(threads, self.scheduling.tokenising_threads))
        most = self.scheduling.tokenised_bytes
        ids: array[int] = array("I")
        for start, end in zip((0, *frame.boundaries), (*frame.boundaries, frame.size), strict=True):
            if start:
                ids.append(self.model.start | GIVEN)
            parts = [frame.data[at : min(end, at + most)] for at in range(start, end, most)]
            for tokens in map_items(self._tokenise, parts, run):
                ids.extend(tokens)
        return ids

    def _tokenise(self, part: memoryview, run: Run) -> array[int]:
        run.check()
        return array("I", self.model.tokenizer.encode(part.tobytes()))
