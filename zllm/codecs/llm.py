"""Text by a language model: tokens, exact probabilities, binary range coder (``docs/arithmetic.md``).

Payload::

    varint streams - 1
    per stream but the last: varint size in bytes of text, varint size of its code string
    the code strings

A frame's text is cut into streams that know nothing of each other, so that many tokens are computed at once when
decoding: a stream costs about 40 bytes of lost context. How many there are depends on the frame's size alone.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import ClassVar, Protocol, TypedDict, TypeVar

from zllm._native import GIVEN, Cancel, Counter, Stages
from zllm._native import Model as NativeModel
from zllm.codecs.base import Buffer, Codec, Run
from zllm.errors import DamagedError

LANES = 32  # streams that one thread decodes at once, at most
ROWS = 64  # tokens of one stream that one thread encodes at once
BATCH_BYTES = 8 << 20  # text in work at once, which bounds memory
PORTION_BYTES = 1 << 20  # text that one thread has tokens of at once: 4 bytes a token, and 6 more for its code
MAX_SIZE = 64 << 20  # the container's limit for one frame: a few bytes may claim, and be, any amount of text
_POLL_SECONDS = 0.1
_BREAKS = b"\n .,;:)]}>"  # a stream had better end at a line, a word or a sign than inside a word

_T = TypeVar("_T")


_NEAR, _FAR = 6 << 20, 24 << 20


def lane_count(model: NativeModel) -> int:
    """Streams that one thread decodes at once.

    The keys and values of all lanes, and the model, come by once a token. A model that fits into the last cache shares
    it with so many lanes only; one that does not is read from memory, the more rarely the more lanes there are.
    """
    if model.memory > _FAR:
        return LANES
    return min(LANES, max(8, _NEAR // model.stream_memory))


def stream_count(size: int) -> int:
    """Streams of a frame of ``size`` bytes: one per 16 KiB up to 8, then one more per 64 KiB."""
    return max(1, min(size >> 14, 8 + (size >> 16)))


def cut_streams(data: memoryview, cuts: Sequence[int]) -> list[int]:
    """Where streams end (the last at ``len(data)``): near equal sizes, at member boundaries or line ends if close."""
    size, count = len(data), stream_count(len(data))
    step = size // count
    ends: list[int] = []
    for i in range(1, count):
        aim, reach = size * i // count, step // 8
        near = cuts[bisect_left(cuts, aim - reach) : bisect_right(cuts, aim + reach)]
        if near:
            end = min(near, key=lambda c: abs(c - aim))
        else:
            window = data[aim - min(reach, 256) : aim].tobytes()
            end = aim
            for sign in _BREAKS:
                found = window.rfind(sign)
                if found >= 0:
                    end = aim - len(window) + found + 1
                    break
        if end > (ends[-1] if ends else 0):
            ends.append(end)
    return [*ends, size]


@dataclass
class _Stream:
    """One stream of one frame of a batch."""

    frame: int
    start: int
    end: int
    cuts: list[int]  # inside the stream, from its start
    coded: bytes | memoryview = b""
    text: bytes = b""

    @property
    def size(self) -> int:
        return self.end - self.start


class _Handles(TypedDict):
    cancel: Cancel
    counter: Counter
    stages: Stages | None


class _Worker:
    """One thread's part of a batch, and what it shares with the thread that waits for it."""

    def __init__(self, run: Run, cancel: Cancel) -> None:
        self.run = run
        self.cancel = cancel
        self.streams: list[_Stream] = []
        self.counter = Counter()
        self.stages = Stages() if run.stats is not None else None

    @property
    def handles(self) -> _Handles:
        """What the C core is given."""
        return {"cancel": self.cancel, "counter": self.counter, "stages": self.stages}

    def portions(self) -> Iterator[list[_Stream]]:
        """Its streams, some at a time; none when the batch was cancelled."""
        for portion in _batches(self.streams, lambda stream: stream.size, PORTION_BYTES):
            if self.cancel.is_set():
                raise KeyboardInterrupt
            yield portion

    def report(self) -> None:
        """Add the model's stages to the statistics; the thread has ended."""
        if self.stages is not None and self.run.stats is not None:
            for name, seconds in self.stages.seconds().items():
                self.run.stats.add(f"model/{name}", seconds)


def _streams(frame: int, ends: Sequence[int], cuts: Sequence[int]) -> Iterator[_Stream]:
    start = 0
    for end in ends:
        inner = cuts[bisect_right(cuts, start) : bisect_left(cuts, end)]
        yield _Stream(frame, start, end, [c - start for c in inner])
        start = end


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
    """Codes text with ``model``."""

    name: ClassVar[str] = "llm"
    id: ClassVar[int] = 3
    needs_model: ClassVar[bool] = True

    def __init__(self, model: Model) -> None:
        self.model = model

    def encode(self, data: Buffer, cuts: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.encode`."""
        return self.encode_batch([(data, cuts)], Run())[0]

    def decode(self, payload: Buffer, size: int, cuts: Sequence[int] = ()) -> bytes:
        """See :meth:`Codec.decode`."""
        return self.decode_batch([(payload, size, cuts)], Run())[0]

    def encode_batch(self, items: Sequence[tuple[Buffer, Sequence[int]]], run: Run) -> list[bytes]:
        """All streams of all frames, spread over the threads."""
        out: list[bytes] = []
        for part in _batches(items, lambda item: len(item[0])):
            views = [memoryview(data) for data, _ in part]
            streams = [
                s
                for i, (view, (_, cuts)) in enumerate(zip(views, part, strict=True))
                for s in _streams(i, cut_streams(view, cuts), cuts)
            ]
            _spread(streams, partial(self._encode, views), run)
            out += [_join([s for s in streams if s.frame == i]) for i in range(len(part))]
        return out

    def _encode(self, views: list[memoryview], worker: _Worker) -> None:
        for mine in worker.portions():
            with worker.run.stage("tokenizing", sum(s.size for s in mine)):
                tokens = [self._tokens(views[s.frame][s.start : s.end], s.cuts) for s in mine]
            with worker.run.stage("model", sum(s.size for s in mine)) as stage:
                coded = self.model.native.encode(tokens, self.model.start, ROWS, **worker.handles)
                stage.bytes_out = sum(map(len, coded))
            for stream, code in zip(mine, coded, strict=True):
                stream.coded = code

    def decode_batch(self, items: Sequence[tuple[Buffer, int, Sequence[int]]], run: Run) -> list[bytes]:
        """All streams of all frames, spread over the threads.

        Raises:
            DamagedError: a payload is not one that :meth:`encode` makes.
        """
        out: list[bytes] = []
        for part in _batches(items, lambda item: item[1]):
            streams = [s for i, (payload, size, cuts) in enumerate(part) for s in _split(i, payload, size, cuts)]
            _spread(streams, self._decode, run)
            out += [b"".join(s.text for s in streams if s.frame == i) for i in range(len(part))]
        return out

    def _decode(self, worker: _Worker) -> None:
        # All at once: the more streams, the longer all lanes are busy.
        mine = worker.streams
        jobs = [(s.coded, s.size, s.cuts) for s in mine]
        with worker.run.stage("model", sum(len(s.coded) for s in mine)) as stage:
            texts = self.model.native.decode(jobs, self.model.start, lane_count(self.model.native), **worker.handles)
            stage.bytes_out = sum(map(len, texts))
        for stream, text in zip(mine, texts, strict=True):
            stream.text = text

    def _tokens(self, text: memoryview, cuts: Sequence[int]) -> array[int]:
        """Tokens of a stream; documents are cut apart, and each but the first is started by a given token."""
        ids: array[int] = array("I")
        for start, end in zip((0, *cuts), (*cuts, len(text)), strict=True):
            if start:
                ids.append(self.model.start | GIVEN)
            ids.extend(self.model.tokenizer.encode(text[start:end].tobytes()))
        return ids


def _batches(items: Sequence[_T], size: Callable[[_T], int], limit: int = 0) -> Iterator[list[_T]]:
    """Neighbours of at most ``limit`` bytes together (0: :data:`BATCH_BYTES`), or one that has more alone."""
    part: list[_T] = []
    total = 0
    for item in items:
        if part and total + size(item) > (limit or BATCH_BYTES):
            yield part
            part, total = [], 0
        part.append(item)
        total += size(item)
    if part:
        yield part


def _spread(streams: list[_Stream], work: Callable[[_Worker], None], run: Run) -> None:
    """Give each thread streams of about the same length in all, the longest first."""
    cancel = Cancel()
    workers = [_Worker(run, cancel) for _ in range(max(1, min(run.threads, len(streams))))]
    loads = [0] * len(workers)
    for stream in sorted(streams, key=lambda s: -s.size):
        at = loads.index(min(loads))
        workers[at].streams.append(stream)
        loads[at] += stream.size
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def thread(worker: _Worker) -> None:
        try:
            work(worker)
        except BaseException as exc:  # it goes on in the thread that waits
            ended.put(exc)
        else:
            ended.put(None)

    threads = [threading.Thread(target=thread, args=(w,), name="zllm-llm", daemon=True) for w in workers]
    for one in threads:
        one.start()
    try:
        _watch(workers, ended, run)
    except BaseException:
        cancel.set()
        raise
    finally:
        for one in threads:
            one.join()
    for worker in workers:
        worker.report()


def _watch(workers: list[_Worker], ended: SimpleQueue[BaseException | None], run: Run) -> None:
    """Wait for all of them; pass on progress, cancellation and the first error."""
    reported = 0
    left = len(workers)
    while left:
        try:
            error = ended.get(timeout=_POLL_SECONDS)
        except Empty:
            pass
        else:
            if error is not None:
                raise error
            left -= 1
        total = sum(worker.counter.value for worker in workers)
        run.done(total - reported)
        reported = total


def _join(streams: list[_Stream]) -> bytes:
    parts = [_varint(len(streams) - 1)]
    parts += [_varint(s.size) + _varint(len(s.coded)) for s in streams[:-1]]
    return b"".join([*parts, *(bytes(s.coded) for s in streams)])


def _split(frame: int, payload: Buffer, size: int, cuts: Sequence[int]) -> list[_Stream]:
    view = memoryview(payload)
    if size == 0:
        return []
    if size > MAX_SIZE:
        raise DamagedError(f"damaged text frame: {size} bytes are more than one may have")
    count, at = _read_varint(view, 0)
    if count + 1 > max(1, size):
        raise DamagedError("damaged text frame: more streams than bytes")
    ends, lengths, end = [], [], 0
    for _ in range(count):
        length, at = _read_varint(view, at)
        coded, at = _read_varint(view, at)
        end += length
        ends.append(end)
        lengths.append(coded)
    rest = len(view) - at - sum(lengths)
    if end >= size or rest < 0 or any(a >= b for a, b in zip([0, *ends], [*ends, size], strict=True)):
        raise DamagedError("damaged text frame: its streams do not fit it")
    streams = list(_streams(frame, [*ends, size], cuts))
    for stream, length in zip(streams, [*lengths, rest], strict=True):
        stream.coded = view[at : at + length]
        at += length
    return streams


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):
        if at >= len(view):
            break
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise DamagedError("damaged text frame: bad number")
