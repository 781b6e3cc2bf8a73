"""Threads end when one of them fails, or was never started."""

from __future__ import annotations

import threading
import time

import pytest

from zllm._native import Cancel, Counter, Stages
from zllm.codecs.base import Codec, Run, map_items
from zllm.codecs.cm import CmCodec
from zllm.codecs.lz4 import Lz4Codec
from zllm.codecs.pool import Pool
from zllm.codecs.threads import NoThreadsError, in_threads
from zllm.codecs.zstd import ZstdCodec


def wait_to_be_told(number: int, cancel: Cancel, _: Counter, __: Stages | None) -> None:
    """A thread that waits for the others of a frame."""
    while not cancel.is_set():
        time.sleep(0.001)
    raise KeyboardInterrupt


def test_the_first_error_ends_all() -> None:
    def work(number: int, cancel: Cancel, counter: Counter, stages: Stages | None) -> None:
        if number == 1:
            raise ValueError("this one")
        wait_to_be_told(number, cancel, counter, stages)

    with pytest.raises(ValueError, match="this one"):
        in_threads(work, 3, Run(3))


def limit_threads(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """So many can be started beside those that there are."""
    start = threading.Thread.start
    before = threading.active_count()

    def limited(thread: threading.Thread) -> None:
        if threading.active_count() >= before + most:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)


def test_a_thread_that_cannot_be_started_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or those that run would wait for it for ever."""
    before = threading.active_count()
    limit_threads(monkeypatch, 2)
    with pytest.raises(NoThreadsError):
        in_threads(wait_to_be_told, 3, Run(3))
    assert threading.active_count() == before


def test_without_any_thread_the_caller_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_threads(monkeypatch, 0)
    seen: list[tuple[int, str]] = []
    in_threads(lambda number, *_: seen.append((number, threading.current_thread().name)), 1, Run(1))
    assert seen == [(0, threading.current_thread().name)]
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda *_: 1 // 0, 1, Run(1))


TEXTS = [b"%d green bottles hanging on the wall, %d green bottles\n" % (k, k) * (3 + k) for k in range(6)]


@pytest.mark.parametrize("most", [0, 1, 2])
@pytest.mark.parametrize("codec", [CmCodec(), ZstdCodec(3), Lz4Codec()], ids=lambda codec: codec.name)
def test_the_same_payloads_by_few_threads_or_none(codec: Codec, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = codec.encode_batch([(text, ()) for text in TEXTS], Run(1))
    limit_threads(monkeypatch, most)
    payloads = codec.encode_batch([(text, ()) for text in TEXTS], Run(4))
    assert payloads == expected
    items = [(payload, len(text), ()) for payload, text in zip(payloads, TEXTS, strict=True)]
    assert codec.decode_batch(items, Run(4)) == TEXTS


@pytest.mark.parametrize("most", [0, 1])
def test_a_pool_does_each_piece_of_work_once(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_threads(monkeypatch, most)
    done: list[int] = []
    with Pool(3) as pool:
        futures = [pool.submit(done.append, number) for number in range(20)]
        failing = pool.submit(int, "x")
        assert [future.result() for future in futures] == [None] * 20
        with pytest.raises(ValueError, match="invalid literal"):
            failing.result()
    assert sorted(done) == list(range(20))
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(print)


def test_the_first_error_ends_the_others_and_nothing_else() -> None:
    run = Run(3)
    started = threading.Barrier(3, timeout=20)

    def one(item: int, own: Run) -> int:
        started.wait()
        if item == 2:
            raise ValueError("the third")
        assert own.cancelled.wait(20)
        own.check()
        return item

    with pytest.raises(ValueError, match="the third"):
        map_items(one, [0, 1, 2], run)
    run.check()


def test_cancelling_a_run_ends_what_is_below_it() -> None:
    run = Run(2)
    run.cancelled.set()
    with pytest.raises(KeyboardInterrupt):
        map_items(lambda item, own: own.check(), [0, 1], run)
