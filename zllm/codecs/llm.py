"""Text by a language model: tokens, exact probabilities, adaptive predictor, range coder (``docs/arithmetic.md``).

Payload::

    repeats, which are taken out of the text first (zllm/codecs/repeats.py)
    varint streams - 1
    per stream but the last: varint size in bytes of text
    the code string

A frame's text is cut into streams that the model reads apart from each other, so that many tokens are computed at once
when decoding. They advance in lockstep and share the adaptive predictor, so that a stream costs little: see
``docs/predictor.md``.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import ClassVar, Protocol, TypedDict, TypeVar

from zllm._native import GIVEN, Cancel, Counter, Job, RoomError, Stages, Team, trim_memory, work
from zllm._native import Model as NativeModel
from zllm.codecs.base import Buffer, Codec, Cost, Run, map_items
from zllm.codecs.repeats import Repeats, find, read
from zllm.codecs.threads import NoThreadsError, in_threads
from zllm.codecs.varint import read_varint, varint
from zllm.errors import DamagedError
from zllm.executors.base import Executor
from zllm.format import limits
from zllm.format.category import TEXTS, Category

LANES = 32  # streams that one thread decodes at once, at most
ROWS = 64  # tokens of one stream that one thread encodes at once
STREAMS = 16  # of a frame, at most, unless the level says otherwise
BATCH_BYTES = 8 << 20  # text in work at once, which bounds memory
STEPPED_BYTES = 64 << 20  # the same where an executor has lanes to fill
MAX_SIZE = 64 << 20  # the container's limit for one frame: a few bytes may claim, and be, any amount of text
_TOKENISED = 256 << 10  # text that a thread tokenises at once: its tokens are Python objects for a moment
_TOKENISERS = 2  # threads: each more takes 8 MB, and saves less
# Bytes of code a byte of text, at most: a token of n bytes takes up to 9 n + 1 decisions of 24 bits; and the end.
_ROOM_FOR_ANYTHING = 32
_UNIT_BYTES = 256 << 10  # text of small frames in work at once in a thread: a predictor takes 100 times a small text
_SAME = 0.8  # of the largest: frames that take threads about the same time
_NEAR = 6 << 20  # keys and values of all lanes of a model that fits into the last cache
LAST_CACHE = 24 << 20  # a larger model does not fit
_FEW = 6  # streams a thread that shares a frame: with fewer its steps are too empty
_MOST_IN_TEAM = 8  # threads: with more, each has too few rows of a matrix

_T = TypeVar("_T")


def lane_count(model: NativeModel) -> int:
    """Streams of small frames that one thread decodes at once; of a large one it takes all (:data:`LANES`).

    The keys and values of all lanes, and the model, come by once a token. A model that fits into the last cache shares
    it with so many lanes only; one that does not is read from memory, the more rarely the more lanes there are.
    """
    if model.memory > LAST_CACHE:
        return LANES
    return min(LANES, max(8, _NEAR // model.stream_memory))


def stream_count(size: int, most: int = STREAMS) -> int:
    """Streams of a frame of ``size`` bytes: one per 16 KiB up to 12, then one per 64 KiB, but at most ``most``."""
    return max(1, min(size >> 14, max(12, size >> 16), most))


def cut_tokens(tokens: Sequence[int], count: int) -> list[int]:
    """Where streams end, the last at ``len(tokens)``: equal numbers of tokens, for they advance token by token."""
    total = len(tokens)
    return sorted({total * i // count for i in range(1, count)} - {0} | {total})


@dataclass
class Frame:
    """One frame of a batch."""

    number: int
    data: memoryview
    """Text, or code string."""
    size: int
    """Of the text without its repeats."""
    cuts: Sequence[int]
    repeats: Repeats
    ends: list[int] = field(default_factory=list)
    """Decoding: where its streams end in the text."""
    header: bytes = b""
    """Encoding: what stands before the code string."""
    streams: int = 1
    """Encoding: how many it has."""
    result: bytes = b""


@dataclass
class _Shared:
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
        self.executor: Executor | None = None

    def settings(self) -> dict[str, int]:
        """See :meth:`Codec.settings`."""
        return {"streams": self.streams}

    def encode(self, data: Buffer, cuts: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.encode`."""
        return self.encode_batch([(data, cuts)], Run())[0]

    def decode(self, payload: Buffer, size: int, cuts: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.decode`."""
        return self.decode_batch([(payload, size, cuts)], Run())[0]

    def encode_batch(self, items: Sequence[tuple[Buffer, Sequence[int]]], run: Run) -> list[bytes]:
        """All frames, by all threads."""
        out: list[bytes] = []
        for part in _batches(items, lambda item: len(item[0]), self._most):
            counted = _Counted(run)
            try:
                out += self._encode(part, counted.run, None)
            except RoomError:
                out += self._encode(part, run.quiet(), _ROOM_FOR_ANYTHING)
                run.done(sum(len(data) for data, _ in part) - counted.total)
        return out

    def _encode(self, part: Sequence[tuple[Buffer, Sequence[int]]], run: Run, room: int | None) -> list[bytes]:
        frames = [_take_apart(i, data, cuts) for i, (data, cuts) in enumerate(part)]
        self._code(lambda how: self._encoding(how, room), frames, run)
        run.done(sum(frame.repeats.size for frame in frames))
        return [frame.header + _long_enough(frame) for frame in frames]

    def decode_batch(self, items: Sequence[tuple[Buffer, int, Sequence[int]]], run: Run) -> list[bytes]:
        """All frames, by all threads.

        Raises:
            DamagedError: a payload is not one that :meth:`encode` makes.
        """
        out: list[bytes] = []
        for part in _batches(items, lambda item: item[1], self._most):
            frames = [_parse(i, payload, size, cuts) for i, (payload, size, cuts) in enumerate(part)]
            self._code(self._decoding, frames, run)
            run.done(sum(frame.repeats.size for frame in frames))
            out += [frame.repeats.put_back(frame.result) for frame in frames]
        return out

    @staticmethod
    def _code(coding: Callable[[Run], _Coding], frames: list[Frame], run: Run) -> None:
        todo = [frame for frame in frames if frame.size]
        try:
            coding(run).code(todo)
        except NoThreadsError:  # nothing was done: who shares a frame would wait for those who are missing
            coding(replace(run, threads=1)).code(todo)

    @property
    def _most(self) -> int:
        return BATCH_BYTES if self.executor is None else STEPPED_BYTES

    def _encoding(self, run: Run, room: int | None) -> _Coding:
        if self.executor is None:
            return FrameEncoding(self, run, room)
        from zllm.codecs.llm_steps import SteppedEncoding

        return SteppedEncoding(self, run, room, self.executor)

    def _decoding(self, run: Run) -> _Coding:
        if self.executor is None:
            large = self.model.native.memory > LAST_CACHE
            return TeamDecoding(self, run) if large and run.threads > 1 else FrameDecoding(self, run)
        from zllm.codecs.llm_steps import SteppedDecoding

        return SteppedDecoding(self, run, self.executor)


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


class _How(TypedDict):
    cancel: Cancel
    counter: Counter
    stages: Stages | None


class _Coding(ABC):
    """A batch in work.

    Large frames are coded by all threads together, one after the other, as long as that gives each thread enough rows;
    else those of one size, enough for all threads, are taken by one thread each. The small ones come last, several at a
    time.
    """

    def __init__(self, codec: LlmCodec, run: Run, rows: int) -> None:
        self.codec = codec
        self.native = codec.model.native
        self.run = run
        self.rows = rows
        self.alone: SimpleQueue[list[Frame]] = SimpleQueue()
        self.rest: SimpleQueue[list[Frame]] = SimpleQueue()
        self.shared: list[_Shared] = []

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
        units = self._units(frames, limit, _UNIT_BYTES)
        while units:
            same = [u for u in units[:threads] if _size(u) >= _SAME * _size(units[0])]
            streams = self.streams_of(units[0][0]) if len(units[0]) == 1 and threads > 1 else 1
            if len(same) == threads and self.apart(streams):
                self._put(self.alone, same)
            elif streams > 1:
                same = units[:1]
                self.shared.append(_Shared(units[0]))
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
            if streams > room or _size(units[-1]) + frame.size > most:
                units.append([])
                room = limit
            units[-1].append(frame)
            room -= streams
        return units

    def _thread(self, number: int, cancel: Cancel, counter: Counter, stages: Stages | None) -> None:
        how: _How = {"cancel": cancel, "counter": counter, "stages": stages}
        self._take(self.alone, how)
        for shared in self.shared:
            self._join(shared, number, how)
        self._take(self.rest, how)

    def _take(self, queue: SimpleQueue[list[Frame]], how: _How) -> None:
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

    def _join(self, shared: _Shared, number: int, how: _How) -> None:
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

    def _work(self, jobs: list[Job], thread: int, how: _How, rows: int, team: Team | None = None) -> None:
        with self.run.stage("model"):
            work(jobs, thread, rows, team=team, **how)

    def _finish(self, frame: Frame, job: Job) -> None:
        frame.result = job.result()
        if self.run.stats is not None:
            self.run.stats.add("model", 0.0, len(frame.data), len(frame.result))


class FrameEncoding(_Coding):
    """``room``: bytes for each code string per byte of text; None for what is enough but for extremely odd text."""

    def __init__(self, codec: LlmCodec, run: Run, room: int | None) -> None:
        super().__init__(codec, run, ROWS)
        self.room = room

    def streams_of(self, frame: Frame) -> int:
        """See :meth:`_Coding.streams_of`."""
        return stream_count(frame.size, self.codec.streams)

    def apart(self, streams: int) -> bool:
        """See :meth:`_Coding.apart`. Steps are as full with shared frames, of which fewer take memory: 30 MB each."""
        return streams < self.run.threads

    def make(self, frame: Frame, threads: int) -> Job:
        """See :meth:`_Coding.make`."""
        streams = self.take_streams(frame, threads)
        return self.job(frame, streams, min(threads, len(streams)))

    def take_streams(self, frame: Frame, threads: int = 1) -> list[tuple[array[int], int]]:
        """The frame's streams, each of them its tokens and the bytes of their text; its header is made of them."""
        with self.run.stage("tokenizing", frame.size):
            streams = list(self._streams(self._tokens(frame, threads), self.streams_of(frame)))
            if frame.size >= _TOKENISED:
                trim_memory()
        frame.streams = len(streams)
        frame.header = (
            frame.repeats.to_bytes() + varint(len(streams) - 1) + b"".join(varint(size) for _, size in streams[:-1])
        )
        return streams

    def job(self, frame: Frame, streams: list[tuple[array[int], int]], threads: int) -> Job:
        """The job that codes these streams of the frame."""
        room = None if self.room is None else self.room * frame.size
        return self.native.encoder(streams, self.codec.model.start, threads, room)

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
        run = replace(self.run, threads=min(threads, _TOKENISERS))
        ids: array[int] = array("I")
        for start, end in zip((0, *frame.cuts), (*frame.cuts, frame.size), strict=True):
            if start:
                ids.append(self.codec.model.start | GIVEN)
            parts = [frame.data[at : min(end, at + _TOKENISED)] for at in range(start, end, _TOKENISED)]
            for tokens in map_items(self._tokenise, parts, run):
                ids.extend(tokens)
        return ids

    def _tokenise(self, part: memoryview, run: Run) -> array[int]:
        run.check()
        return array("I", self.codec.model.tokenizer.encode(part.tobytes()))


class FrameDecoding(_Coding):
    """Decodes as many streams in a step as suit the model (:func:`lane_count`)."""

    def __init__(self, codec: LlmCodec, run: Run) -> None:
        super().__init__(codec, run, lane_count(codec.model.native))

    def streams_of(self, frame: Frame) -> int:
        """See :meth:`_Coding.streams_of`."""
        return len(frame.ends)

    def apart(self, streams: int) -> bool:
        """See :meth:`_Coding.apart`.

        Threads that share a frame mix in turns, its predictor goes from one's cache to the other's and back, and their
        steps are emptier.
        """
        return streams <= LANES or streams < _FEW * self.run.threads

    def rows_for(self, unit: list[Frame]) -> int:
        """See :meth:`_Coding.rows_for`. All streams of a frame: they share a predictor, as small frames do not."""
        return max(self.rows, min(LANES, self.streams_of(unit[0])))

    def make(self, frame: Frame, threads: int) -> Job:
        """See :meth:`_Coding.make`."""
        streams = []
        for start, end in zip([0, *frame.ends], frame.ends, strict=False):
            inner = frame.cuts[bisect_right(frame.cuts, start) : bisect_left(frame.cuts, end)]
            streams.append((end - start, [cut - start for cut in inner]))
        return self.native.decoder(frame.data, streams, self.codec.model.start, threads)


class TeamDecoding(FrameDecoding):
    """Decodes with a model that is larger than the caches: by all threads at once, some frames after the others.

    A decoded token reads every weight, and from memory that takes longer than the products do. So all threads work at
    the same step, each at some rows of every matrix: the weights come by once for as many streams as there are lanes,
    not once for each thread's share of them. For a smaller model it is not worth the waiting (``docs/decisions``).
    """

    def code(self, frames: list[Frame]) -> None:
        """See :meth:`_Coding.code`."""
        threads = min(self.run.threads, _MOST_IN_TEAM)
        self.shared = [_Shared(unit, Team(threads)) for unit in self._units(frames, self.rows, BATCH_BYTES)]
        in_threads(self._thread, threads if frames else 0, self.run)


def _size(unit: list[Frame]) -> int:
    return sum(frame.size for frame in unit)


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


def _take_apart(number: int, data: Buffer, cuts: Sequence[int]) -> Frame:
    """A text as its repeats and what is left."""
    whole = memoryview(data)
    found = find(whole)
    left = found.take_out(whole)
    return Frame(number, left, len(left), found.move(cuts, len(left)), found)


def _code_for(size: int, streams: int) -> int:
    """How long the code string of a text of so many bytes and streams is at least: readers refuse a shorter one, which
    would ask for memory or time out of proportion.
    """
    for_size = -(-(size - limits.FREE_MODEL_TEXT) // limits.MAX_MODEL_TEXT_RATIO)
    return max(0, for_size, (streams - limits.FREE_STREAMS) * limits.STREAM_CODE)


def _long_enough(frame: Frame) -> bytes:
    """The code string, with zeros after it that change nothing if it is too short for readers."""
    return frame.result.ljust(_code_for(frame.size, frame.streams), b"\0") if frame.size else frame.result


def _parse(number: int, payload: Buffer, size: int, cuts: Sequence[int]) -> Frame:
    """A payload's streams and code string."""
    view = memoryview(payload)
    if size == 0:
        return Frame(number, view, 0, cuts, Repeats())
    if size > MAX_SIZE:
        raise DamagedError(f"damaged text frame: {size} bytes are more than one may have")
    found, at = read(view, 0, size)
    left = size - found.size
    count, at = read_varint(view, at)
    if count >= min(left, limits.MAX_STREAMS):
        raise DamagedError("damaged text frame: too many streams")
    ends, end = [], 0
    for _ in range(count):
        length, at = read_varint(view, at)
        end += length
        ends.append(end)
        if not length or end >= left:
            raise DamagedError("damaged text frame: its streams do not fit it")
    if len(view) - at < _code_for(left, count + 1):
        raise DamagedError(f"damaged text frame: {len(view) - at} bytes claim to be {left} in {count + 1} streams")
    return Frame(number, view[at:], left, found.move(cuts, left), found, [*ends, left])
