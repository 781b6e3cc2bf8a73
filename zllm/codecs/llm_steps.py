"""The codec's work where an executor computes the model (``zllm/executors``): the same bytes as by the C core alone.

The executor takes many streams at once, of as many frames as there are; predictor and range coder stay with C, whose
threads take some of the frames each.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

from zllm._native import Cancel, Counter, Job
from zllm._native.steps import ENDED, Distributions, Memory, decode_turns, encode_turns, job_memory
from zllm.codecs.base import Run
from zllm.codecs.llm_decoding import FrameDecoding
from zllm.codecs.llm_encoding import STREAMS, FrameEncoding
from zllm.codecs.llm_frames import Frame
from zllm.codecs.llm_work import Model
from zllm.codecs.pool import Pool
from zllm.codecs.scheduling import Scheduling
from zllm.executors.base import Decoding, Executor


class _Pool:
    """Threads that run C code for the executor's."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.cancel = Cancel()
        self.counters: list[Counter] = []
        self._told = 0
        self._pool = Pool(max(1, run.threads), "zllm-codec")

    @contextmanager
    def open(self) -> Iterator[_Pool]:
        """On the way out, threads end; on an error, soon."""
        try:
            yield self
        except BaseException:
            self.cancel.set()
            raise
        finally:
            self._pool.shutdown()

    def counter(self) -> Counter:
        """For one thread at a time to count bytes of text with."""
        self.counters.append(Counter())
        return self.counters[-1]

    def start(self, work: list[Callable[[], None]]) -> list[Future[None]]:
        """Run them all."""
        return [self._pool.submit(one) for one in work]

    def wait(self, futures: list[Future[None]]) -> None:
        """Until all have ended: raises what one raised, reports what is done, heeds a cancellation."""
        for future in futures:
            future.result()
        total = sum(counter.value for counter in self.counters)
        self.run.done(total - self._told)
        self._told = total


class SteppedEncoding(FrameEncoding):
    """Encodes frames side by side: while threads code what the executor said, it computes what comes next."""

    def __init__(
        self,
        model: Model,
        scheduling: Scheduling,
        run: Run,
        *,
        executor: Executor,
        streams: int = STREAMS,
        room: int | None = None,
    ) -> None:
        super().__init__(model, scheduling, run, streams, room)
        self.executor = executor

    def code(self, frames: list[Frame]) -> None:
        """Code all of them."""
        for group in self._groups(frames):
            with _Pool(self.run).open() as pool:
                self._code(group, pool)

    def _groups(self, frames: list[Frame]) -> Iterator[list[Frame]]:
        """Frames that are coded side by side, the longest streams first: neighbours end at about the same time."""
        group: list[Frame] = []
        streams = memory = 0
        for frame in sorted(frames, key=lambda f: (-f.size / self.streams_of(f), f.number)):
            own = self.streams_of(frame)
            more = job_memory(self.native, frame.size, own)
            if group and (streams + own > self.executor.lanes or memory + more > self.scheduling.predictor_bytes):
                yield group
                group, streams, memory = [], 0, 0
            group.append(frame)
            streams += own
            memory += more
        if group:
            yield group

    def _code(self, group: list[Frame], pool: _Pool) -> None:
        streams = [self.take_streams(frame) for frame in group]
        jobs = [self.job(frame, own, 0) for frame, own in zip(group, streams, strict=True)]
        counters = [pool.counter() for _ in jobs]
        tokens = [[ids for ids, _ in own] for own in streams]

        def turns(job: Job, said: Memory, counter: Counter) -> Callable[[], None]:
            return lambda: encode_turns(job, said, pool.cancel, counter)

        pending: list[Future[None]] = []
        pieces = self.executor.encoding(tokens, self.model.start)
        while True:
            with self.run.stage("model"):
                piece = next(pieces, None)
            pool.wait(pending)
            if piece is None:
                break
            work = [turns(*one) for one in zip(jobs, piece, counters, strict=True) if one[1].length]
            pending = pool.start(work)
        for frame, job in zip(group, jobs, strict=True):
            self._finish(frame, job)


@dataclass
class _Seated:
    """A frame that is being decoded, and the lanes of its streams."""

    frame: Frame
    job: Job
    lanes: array[int]
    """By stream; ENDED at its end."""
    own: list[int]
    """All that it has, until it ends."""
    memory: int
    """Bytes of its job."""


@dataclass
class _Table:
    """Frames that one thread decodes."""

    counter: Counter
    seated: list[_Seated] = field(default_factory=list)

    @property
    def streams(self) -> int:
        """How many there are, at their ends or not."""
        return sum(one.job.streams for one in self.seated)


class SteppedDecoding(FrameDecoding):
    """Decodes frames side by side, a token of each stream a step. Frames that are done make room for others."""

    def __init__(self, model: Model, scheduling: Scheduling, run: Run, executor: Executor) -> None:
        super().__init__(model, scheduling, run)
        self.executor = executor

    def code(self, frames: list[Frame]) -> None:
        """Code all of them."""
        if frames:
            with _Pool(self.run).open() as pool:
                _Steps(self, pool, sorted(frames, key=lambda f: (f.size, -f.number))).run()


class _Steps:
    """A batch of frames on the executor's lanes."""

    def __init__(self, coding: SteppedDecoding, pool: _Pool, frames: list[Frame]) -> None:
        self.coding = coding
        self.pool = pool
        self.waiting = frames  # the next one last
        streams = [coding.streams_of(frame) for frame in frames]
        lanes = max(*streams, min(sum(streams), coding.executor.lanes))
        self.tokens = array("I", bytes(4 * lanes))
        self.free = list(range(lanes))
        self.tables = [_Table(pool.counter()) for _ in range(max(1, coding.run.threads))]
        self.room = coding.scheduling.predictor_bytes
        self.lanes: Decoding = coding.executor.decoding(lanes)

    def run(self) -> None:
        """Until all frames are decoded."""
        self._seat_more()
        while any(table.seated for table in self.tables):
            with self.coding.run.stage("model"):
                distributions = self.lanes.step(self.tokens)
            self._decode(distributions)
            self._clear()
            if self.waiting:
                self._seat_more()
            else:
                self._close_ranks()

    def _decode(self, distributions: Distributions | None) -> None:
        def turns(table: _Table) -> Callable[[], None]:
            return lambda: self._turns(table, distributions)

        self.pool.wait(self.pool.start([turns(table) for table in self.tables if table.seated]))

    def _turns(self, table: _Table, distributions: Distributions | None) -> None:
        for one in table.seated:
            decode_turns(
                self.coding.native, [one.job], one.lanes, self.tokens, distributions,
                cancel=self.pool.cancel, counter=table.counter,
            )  # fmt: skip

    def _seat_more(self) -> None:
        """Frames for free lanes, each where the fewest streams are."""
        new: list[int] = []
        while self.waiting and self.coding.streams_of(self.waiting[-1]) <= len(self.free):
            frame = self.waiting[-1]
            memory = job_memory(self.coding.native, frame.size, self.coding.streams_of(frame))
            if memory > self.room and self.room < self.coding.scheduling.predictor_bytes:
                break
            self.waiting.pop()
            self.room -= memory
            job = self.coding.make(frame, 0)
            own = [self.free.pop() for _ in range(job.streams)]
            one = _Seated(frame, job, array("I", own), own, memory)
            # They have no distributions yet: only what their streams start with.
            decode_turns(self.coding.native, [job], one.lanes, self.tokens)
            min(self.tables, key=lambda table: table.streams).seated.append(one)
            new += own
        if new:
            self.lanes.restart(new)

    def _clear(self) -> None:
        """Frames whose streams are all at their ends give their lanes back."""
        for table in self.tables:
            done = [one for one in table.seated if one.lanes.count(ENDED) == len(one.lanes)]
            for one in done:
                table.seated.remove(one)
                self.free += one.own
                self.room += one.memory
                self.coding._finish(one.frame, one.job)

    def _close_ranks(self) -> None:
        """When half of the lanes or more have nothing to do, the others go on without them."""
        seated = [one for table in self.tables for one in table.seated]
        busy = [lane for one in seated for lane in one.lanes if lane != ENDED]
        if not busy or 2 * len(busy) > len(self.tokens):
            return
        number = {lane: k for k, lane in enumerate(busy)}
        self.lanes.keep(busy)
        self.tokens = array("I", [self.tokens[lane] for lane in busy])
        self.free = []
        for one in seated:
            one.lanes = array("I", [number.get(lane, ENDED) for lane in one.lanes])
            one.own = []
