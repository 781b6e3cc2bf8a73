"""A batch of frames in work: which threads code which, and how many at a time."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Protocol, TypedDict

from zllm._native import Cancel, Counter, Job, Stages, Team, work
from zllm._native import Model as NativeModel
from zllm.codecs.base import Run
from zllm.codecs.llm_frames import Frame, size_of
from zllm.codecs.scheduling import Scheduling
from zllm.codecs.threads import in_threads


class Tokenizer(Protocol):
    """Makes tokens of text."""

    def encode(self, data: bytes, /) -> list[int]:
        """Token ids whose bytes are ``data``."""


class Model(Protocol):
    """What the codec needs of a model (:class:`zllm.models.store.Model`)."""

    @property
    def native(self) -> NativeModel:
        """The packed model."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The encoder's tokenizer."""

    @property
    def start(self) -> int:
        """Id of the token that starts streams and documents."""


@dataclass
class Shared:
    """Frames that threads code together: one, of which each has some streams; or, by a team, several."""

    frames: list[Frame]
    team: Team | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    jobs: list[Job] = field(default_factory=list)
    """From the first thread to come until the last one has ended."""
    done: int = 0
    """Threads that have ended."""

    @property
    def threads(self) -> int:
        """How many code it. May be fewer than there are: long tokens make fewer streams."""
        return self.team.threads if self.team else self.jobs[0].threads


class How(TypedDict):
    """What a thread's calls of C are watched by."""

    cancel: Cancel
    counter: Counter
    stages: Stages | None


class Coding(ABC):
    """A batch in work.

    Large frames are coded by all threads together, one after the other, as long as that gives each thread enough rows;
    else those of one size, enough for all threads, are taken by one thread each. The small ones come last, several at a
    time.
    """

    def __init__(self, model: Model, scheduling: Scheduling, run: Run, rows: int) -> None:
        self.model = model
        self.native = model.native
        self.scheduling = scheduling
        self.run = run
        self.rows = rows
        self.alone: SimpleQueue[list[Frame]] = SimpleQueue()
        self.rest: SimpleQueue[list[Frame]] = SimpleQueue()
        self.shared: list[Shared] = []

    @abstractmethod
    def streams_of(self, frame: Frame) -> int:
        """How many streams it has, or will have."""

    @abstractmethod
    def apart(self, streams: int) -> bool:
        """Whether threads take frames of so many streams one each, where there are enough, rather than share one."""

    def rows_for(self, unit: list[Frame]) -> int:
        """Rows of a step of one thread with these frames alone."""
        return self.rows

    @abstractmethod
    def make(self, frame: Frame, threads: int) -> Job:
        """The frame's job, for so many threads."""

    def code(self, frames: list[Frame]) -> None:
        """Code all of them; raises what any thread raised."""
        threads = max(1, self.run.threads)
        all_streams = sum(map(self.streams_of, frames))
        limit = min(self.rows, max(1, all_streams // threads))  # some for every thread
        units = self._units(frames, limit, self.scheduling.unit_bytes)
        while units:
            same = [u for u in units[:threads] if size_of(u) >= self.scheduling.same_size * size_of(units[0])]
            streams = self.streams_of(units[0][0]) if len(units[0]) == 1 and threads > 1 else 1
            if len(same) == threads and self.apart(streams):
                self._put(self.alone, same)
            elif streams > 1:
                same = units[:1]
                self.shared.append(Shared(units[0]))
            else:
                same = units
                self._put(self.rest, units)
            units = units[len(same) :]
        in_threads(self._thread, min(threads, all_streams), self.run)

    @staticmethod
    def _put(queue: SimpleQueue[list[Frame]], units: list[list[Frame]]) -> None:
        for unit in units:
            queue.put(unit)

    def _units(self, frames: list[Frame], limit: int, most: int) -> list[list[Frame]]:
        """Frames that fill ``limit`` rows alone, smaller ones together, of ``most`` bytes; the largest first, so that
        those of a unit are of about the same size and end at the same time.
        """
        units: list[list[Frame]] = []
        room = 0
        for frame in sorted(frames, key=lambda f: (-f.size, f.number)):
            streams = self.streams_of(frame)
            if streams > room or size_of(units[-1]) + frame.size > most:
                units.append([])
                room = limit
            units[-1].append(frame)
            room -= streams
        return units

    def _thread(self, number: int, cancel: Cancel, counter: Counter, stages: Stages | None) -> None:
        how: How = {"cancel": cancel, "counter": counter, "stages": stages}
        self._take(self.alone, how)
        for shared in self.shared:
            self._join(shared, number, how)
        self._take(self.rest, how)

    def _take(self, queue: SimpleQueue[list[Frame]], how: How) -> None:
        """Units, one after the other, until there are no more."""
        while True:
            try:
                unit = queue.get_nowait()
            except Empty:
                return
            jobs = [self.make(frame, 1) for frame in unit]
            self._work(jobs, 0, how, self.rows_for(unit))
            for frame, job in zip(unit, jobs, strict=True):
                self._finish(frame, job)

    def _join(self, shared: Shared, number: int, how: How) -> None:
        """The first thread makes the jobs; the last takes the results, so that no more than two of these are held."""
        with shared.lock:
            if not shared.jobs and not shared.done:
                shared.jobs = [self.make(frame, self._threads_for(frame, shared.team)) for frame in shared.frames]
            jobs = shared.jobs
            if not jobs or number >= shared.threads:
                return
        self._work(jobs, number, how, self.rows, shared.team)
        with shared.lock:
            shared.done += 1
            if shared.done == shared.threads:
                for frame, job in zip(shared.frames, jobs, strict=True):
                    self._finish(frame, job)
                shared.jobs = []

    def _threads_for(self, frame: Frame, team: Team | None) -> int:
        """That the job of a shared frame is made for; to a job, a team is one."""
        return 1 if team else min(self.run.threads, self.streams_of(frame))

    def _work(self, jobs: list[Job], thread: int, how: How, rows: int, team: Team | None = None) -> None:
        with self.run.stage("model"):
            work(jobs, thread, rows, team=team, **how)

    def _finish(self, frame: Frame, job: Job) -> None:
        frame.result = job.result()
        if self.run.stats is not None:
            self.run.stats.add("model", 0.0, len(frame.data), len(frame.result))
