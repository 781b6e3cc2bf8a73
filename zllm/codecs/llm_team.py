"""Decoding by all threads at once, for models that are larger than the caches.

A decoded token reads every weight, and from memory that takes longer than the products do. So all threads work at the
same step, each at some rows of every matrix: the weights come by once for as many streams as there are lanes, not once
for each thread's share of them. For a smaller model it is not worth the waiting (``docs/decisions.md``).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from zllm._native import Cancel, Counter, Job, Stages, Team
from zllm._native import Model as NativeModel
from zllm.codecs.base import Run
from zllm.codecs.llm import FAR, Frame, FrameDecoding, LlmCodec
from zllm.codecs.threads import in_threads

_MOST = 8  # threads: with more, each has too few rows of a matrix


def suits(model: NativeModel, threads: int) -> bool:
    """Whether so many threads decode faster as a team."""
    return threads > 1 and model.memory > FAR


@dataclass
class _Unit:
    """Frames that are decoded together."""

    frames: list[Frame]
    team: Team
    lock: threading.Lock = field(default_factory=threading.Lock)
    jobs: list[Job] = field(default_factory=list)
    done: int = 0
    """Threads that have ended."""


class TeamDecoding(FrameDecoding):
    """Decodes one unit of frames after the other."""

    def __init__(self, codec: LlmCodec, run: Run) -> None:
        super().__init__(codec, run)
        self._together: list[_Unit] = []

    def code(self, frames: list[Frame]) -> None:
        """See :meth:`_Coding.code`."""
        threads = min(self.run.threads, _MOST)
        self._together = [_Unit(part, Team(threads)) for part in self._parts(frames)]
        in_threads(self._thread, threads if frames else 0, self.run)

    def _parts(self, frames: list[Frame]) -> list[list[Frame]]:
        """As many frames together as fill the lanes; of about the same size, so that they end at the same time."""
        parts: list[list[Frame]] = []
        room = 0
        for frame in sorted(frames, key=lambda f: (-f.size, f.number)):
            streams = self.streams_of(frame)
            if streams > room:
                parts.append([])
                room = self.rows
            parts[-1].append(frame)
            room -= streams
        return parts

    def _thread(self, number: int, cancel: Cancel, counter: Counter, stages: Stages | None) -> None:
        for unit in self._together:
            with unit.lock:
                unit.jobs = unit.jobs or [self.make(frame, 1) for frame in unit.frames]
            self._work(unit.jobs, number, {"cancel": cancel, "counter": counter, "stages": stages, "team": unit.team})
            with unit.lock:
                unit.done += 1
                if unit.done == unit.team.threads:
                    for frame, job in zip(unit.frames, unit.jobs, strict=True):
                        self._finish(frame, job)
                    unit.jobs = []
