"""What every codec is."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeAlias, TypeVar

from zllm.codecs import workspace
from zllm.errors import ZllmError
from zllm.format.category import Category
from zllm.stats import Stage, Stats, measure

Buffer: TypeAlias = bytes | bytearray | memoryview
_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass
class Run:
    """How a batch is worked on; nothing here changes a byte of the result.

    ``progress`` is called with bytes of text done since the last call, from any thread. Setting ``cancelled`` makes a
    batch end early with :class:`KeyboardInterrupt`. ``stats`` collects seconds and bytes.
    """

    threads: int = 1
    progress: Callable[[int], None] | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    stats: Stats | None = None

    def quiet(self) -> Run:
        """The same without progress: for work on bytes that count as done at another time."""
        return replace(self, progress=None)

    def stage(self, name: str, bytes_in: int = 0) -> Stage:
        """Measure a block, if anybody wants to know."""
        return measure(self.stats, name, bytes_in)

    def done(self, count: int) -> None:
        """Report ``count`` bytes of text and honour a cancellation."""
        if self.progress is not None:
            self.progress(count)
        self.check()

    def apart(self) -> Run:
        """The same, but what is cancelled in it is not cancelled here."""
        return replace(self, cancelled=_Below(self.cancelled))

    def check(self) -> None:
        """Raise :class:`KeyboardInterrupt` if the run was cancelled."""
        if self.cancelled.is_set():
            raise KeyboardInterrupt


class _Below(threading.Event):
    """An event that is also set when another one is."""

    def __init__(self, above: threading.Event) -> None:
        super().__init__()
        self._above = above

    def is_set(self) -> bool:
        return super().is_set() or self._above.is_set()


@dataclass(frozen=True)
class Cost:
    """What a codec costs on one core, in nanoseconds a byte of data, each way: measured once, on a processor with AVX2.

    A level tries codecs whose ``encode`` is within its budget (:class:`zllm.planner.levels.Level`).
    """

    encode: float
    decode: float


class Codec(ABC):
    """Codes one frame. ``id`` is written into archives and never reused; everything that shapes a payload is in it.

    A codec says what it is for: the planner tries it for data of its ``categories``, at levels whose budget its
    ``cost`` is within, beside the others, and keeps the smallest. Without categories it only decodes.

    ``whole``: it gets more of a member at a time, since it finds little in a part of one.

    ``extra``: a module that it needs beside those that every installation has, and zllm's extra that brings it.

    ``boundaries`` are the offsets inside a frame where members begin, ascending, without 0. Both sides get the same,
    from the section map.
    """

    name: ClassVar[str]
    id: ClassVar[int]
    needs_model: ClassVar[bool] = False
    categories: ClassVar[frozenset[Category]] = frozenset()
    cost: ClassVar[Cost] = Cost(0, 0)
    whole: ClassVar[bool] = False
    extra: ClassVar[tuple[str, str]] = ("", "")

    @classmethod
    def within(cls, budget: float) -> Codec | None:
        """The instance to try where encoding may cost ``budget`` nanoseconds a byte; None if it costs more."""
        return cls() if cls.cost.encode <= budget else None

    def recognises(self, data: Buffer, boundaries: Sequence[int] = ()) -> bool | None:
        """Whether the data is what the codec was made for, at little cost. It is tried on what it recognises even
        where zstd saves nothing, and on nothing that it does not; None: only coding the data tells.
        """
        return None

    def settings(self) -> dict[str, int]:
        """Keyword arguments of the constructor, the model apart, that make a codec with the same payloads elsewhere."""
        return {}

    @abstractmethod
    def encode(self, data: Buffer, boundaries: Sequence[int] = ()) -> bytes:
        """The payload for ``data``."""

    @abstractmethod
    def decode(self, payload: Buffer, size: int, boundaries: Sequence[int] = ()) -> bytes:
        """Exactly ``size`` bytes.

        Raises:
            DamagedError: the payload is not one that :meth:`encode` makes for ``size`` bytes.
        """

    def salvage(self, payload: Buffer, size: int, boundaries: Sequence[int] = ()) -> bytes:
        """What of the data a damaged payload, or one that was cut off, still gives: at its place in ``size`` bytes, of
        which those at the end may be missing. Anything in it may be wrong; who asks has hashes.
        """
        try:
            return self.decode(payload, size, boundaries)
        except ZllmError:
            return b""

    def encoder_memory(self, size: int) -> int:
        """Bytes that encoding a frame of ``size`` bytes takes, data and payload apart, about; 0: not worth counting.

        What many threads take together stays within a budget (:mod:`zllm.codecs.workspace`).
        """
        return 0

    def decoder_memory(self, size: int) -> int:
        """The same of decoding a frame that gives ``size`` bytes."""
        return 0

    def encode_batch(self, items: Sequence[tuple[Buffer, Sequence[int]]], run: Run) -> list[bytes]:
        """Encode many frames, with ``run.threads`` threads."""

        def one(item: tuple[Buffer, Sequence[int]], run: Run) -> bytes:
            run.check()
            memory = self.encoder_memory(len(item[0]))
            with workspace.shared.hold(memory), run.stage(self.name, len(item[0])) as stage:
                payload = self.encode(*item)
                stage.bytes_out = len(payload)
            run.done(len(item[0]))
            return payload

        return map_items(one, items, run)

    def payload_sizes(self, items: Sequence[tuple[Buffer, Sequence[int]]], run: Run) -> list[int]:
        """Bytes of the payload of each frame: what :meth:`encode_batch` would give."""
        return [len(payload) for payload in self.encode_batch(items, run)]

    def decode_batch(self, items: Sequence[tuple[Buffer, int, Sequence[int]]], run: Run) -> list[bytes]:
        """Decode many frames, with ``run.threads`` threads."""

        def one(item: tuple[Buffer, int, Sequence[int]], run: Run) -> bytes:
            run.check()
            memory = self.decoder_memory(item[1])
            with workspace.shared.hold(memory), run.stage(self.name, len(item[0])) as stage:
                data = self.decode(*item)
                stage.bytes_out = len(data)
            run.done(item[1])
            return data

        return map_items(one, items, run)


def map_items(one: Callable[[_T, Run], _R], items: Sequence[_T], run: Run) -> list[_R]:
    """``one`` of each item, in order, by ``run.threads`` threads, as far as they can be started. It gets a run of its
    own, which is cancelled as soon as one of them fails or Ctrl-C comes: the others end soon. Raises what failed first.
    """
    if run.threads <= 1 or len(items) <= 1:
        return [one(item, run) for item in items]
    from zllm.codecs.pool import Pool  # 4 ms that reading one small member does without

    own = run.apart()
    failed: list[BaseException] = []

    def each(item: _T) -> _R:
        try:
            return one(item, own)
        except BaseException as exc:
            failed.append(exc)
            own.cancelled.set()
            raise

    with Pool(min(run.threads, len(items))) as pool:
        try:
            return list(pool.map(each, items))
        except BaseException:
            # Leaving the block waits for running items: without this a 64 MiB frame would take a minute to stop.
            own.cancelled.set()
            if failed and not run.cancelled.is_set():
                raise failed[0] from None
            raise
