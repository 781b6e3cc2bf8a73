"""Several sections in work at the same time: the archive is the same, and errors end it."""

from __future__ import annotations

import io
import random
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from zllm.archive.options import WriteOptions
from zllm.archive.writer import Writer
from zllm.codecs.base import Buffer, Codec, Run

SECTION = 64 << 10
DATA = random.Random(5).randbytes(SECTION // 4) * 40  # ten sections of a stream that is no tar


@pytest.fixture(autouse=True)
def _small_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zllm.archive.builder.SECTION", SECTION)


@dataclass
class Helpers:
    """A cluster that is none: its codecs do the work here, each batch a little later than it could."""

    sections: int
    fail_at: int = -1
    seconds: float = 0.05
    batches: int = 0
    most: int = 0
    inside: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wrap(self, codec: Codec) -> Codec:
        encode_batch = codec.encode_batch

        def late(items: Sequence[tuple[Buffer, Sequence[int]]], run: Run) -> list[bytes]:
            with self.lock:
                number, self.batches = self.batches, self.batches + 1
                self.inside += 1
                self.most = max(self.most, self.inside)
            try:
                # The first of each few takes longest: they end in another order than they began.
                time.sleep(self.seconds * (self.sections - number % self.sections))
                if number == self.fail_at:
                    raise MemoryError("of a helper")
                return encode_batch(items, run)
            finally:
                with self.lock:
                    self.inside -= 1

        codec.encode_batch = late  # type: ignore[method-assign]
        return codec


def write(out: io.BytesIO, cluster: Helpers | None) -> None:
    sink = Writer(out, WriteOptions(level=3, threads=1, cluster=cluster))
    try:
        for at in range(0, len(DATA), 10_000):
            sink.write(DATA[at : at + 10_000])
        sink.close()
    except BaseException:
        sink.abort()
        raise


@pytest.mark.parametrize("sections", [1, 2, 4])
def test_the_archive_is_the_same(sections: int) -> None:
    here, there = io.BytesIO(), io.BytesIO()
    write(here, None)
    helpers = Helpers(sections)
    write(there, helpers)
    assert there.getvalue() == here.getvalue()
    assert helpers.batches == 10 and helpers.most == sections


@pytest.mark.parametrize("fail_at", [0, 3, 9])
def test_an_error_in_one_ends_all(fail_at: int) -> None:
    helpers = Helpers(3, fail_at)
    out = io.BytesIO()
    with pytest.raises(MemoryError, match="of a helper"):
        write(out, helpers)
    assert helpers.batches <= fail_at + 4
    assert not helpers.inside


def test_giving_up_waits_for_sections_that_ctrl_c_left_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    helpers = Helpers(2)
    out = io.BytesIO()
    sink = Writer(out, WriteOptions(level=3, threads=1, cluster=helpers))
    sink.write(DATA[: SECTION + SECTION // 2])

    def press() -> None:
        while not helpers.inside:
            time.sleep(0.001)
        time.sleep(0.1)  # close() waits meanwhile
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    monkeypatch.setattr(helpers, "seconds", 0.5)
    # Whoever runs the tests in the background may have told them to ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            threading.Thread(target=press, daemon=True).start()
            sink.close()
        assert helpers.inside, "nothing was left to wait for"
        sink.abort()
    finally:
        signal.signal(signal.SIGINT, before)
    assert helpers.batches and not helpers.inside


def test_a_disk_that_is_full_ends_all() -> None:
    class Full(io.BytesIO):
        def write(self, data: Buffer, /) -> int:  # type: ignore[override]
            if self.tell() > SECTION:
                raise OSError(28, "No space left on device")
            return super().write(data)

    with pytest.raises(OSError, match="No space left"):
        write(Full(), Helpers(3))
