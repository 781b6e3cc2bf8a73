"""Frames that threads share: the same bytes for any number of them, and an end for all when one fails."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from models import tiny
from native.jobs import in_team, outcomes, together

from zllm import _native as native
from zllm._native import core, jobs
from zllm.errors import DamagedError, UsageError
from zllm.models.store import Model, load


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(tiny.write(tmp_path_factory.mktemp("m") / "m.zlm", seed=3, layers=1, dim=32, heads=2, kv_heads=1))


def stream(model: Model, lengths: Sequence[int], seed: int = 1) -> tuple[list[int], int, list[int]]:
    """Documents of so many tokens: ids, size of their text, boundaries."""
    rng = random.Random(seed)
    ids: list[int] = []
    boundaries: list[int] = []
    size = 0
    for length in lengths:
        if size:
            ids.append(model.start | native.GIVEN)
            boundaries.append(size)
        part = [rng.randrange(model.config.vocab) for _ in range(length)]
        ids += part
        size += sum(len(model.tokens[i]) for i in part)
    return ids, size, boundaries


def text_of(model: Model, streams: Sequence[tuple[list[int], int, list[int]]]) -> bytes:
    return b"".join(model.tokens[i] for ids, _, _ in streams for i in ids if i < native.GIVEN)


def encoder(model: Model, streams: Sequence[tuple[list[int], int, list[int]]], threads: int) -> native.Job:
    return model.native.encoder([(ids, size) for ids, size, _ in streams], model.start, threads, 1 << 16)


def decoder(
    model: Model, coded: bytes, streams: Sequence[tuple[list[int], int, list[int]]], threads: int
) -> native.Job:
    return model.native.decoder(coded, [(size, boundaries) for _, size, boundaries in streams], model.start, threads)


def encoded(model: Model, streams: Sequence[tuple[list[int], int, list[int]]]) -> bytes:
    job = encoder(model, streams, 1)
    native.work([job], 0)
    return job.result()


SHAPES: dict[str, list[list[int]]] = {
    "one stream": [[100]],
    "fewer streams than threads": [[30], [70, 2]],
    "ends at different steps": [[1], [200], [2, 63], [64], [65, 1, 1], [3], [130]],
    "the first thread is done first": [[1], [1], [90], [90], [90], [300]],
    "the last thread is done first": [[300], [90], [90], [1], [1], [1]],
    "more streams than lanes": [[5 + n % 3] for n in range(70)],
    "as many as there may be": [[1 + n % 2] for n in range(256)],
}


@pytest.mark.parametrize("threads", [2, 3, 8])
@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_threads_change_nothing(model: Model, shape: str, threads: int) -> None:
    streams = [stream(model, lengths, seed) for seed, lengths in enumerate(SHAPES[shape])]
    expected = encoded(model, streams)
    for lanes in (1, 5, 64):
        assert together(encoder(model, streams, threads), lanes) == expected
        assert together(decoder(model, expected, streams, threads), lanes) == text_of(model, streams)


def test_frames_of_many_shapes_fill_steps_together(model: Model) -> None:
    frames = [[stream(model, lengths, seed) for seed, lengths in enumerate(shape)] for shape in SHAPES.values()]
    coded = [encoded(model, streams) for streams in frames]
    for lanes in (1, 7, 256):
        jobs = [decoder(model, code, streams, 1) for code, streams in zip(coded, frames, strict=True)]
        native.work(jobs, 0, lanes)
        assert [job.result() for job in jobs] == [text_of(model, streams) for streams in frames]


@pytest.mark.parametrize("decoding", [False, True])
def test_a_thread_that_is_refused_stops_the_others(model: Model, decoding: bool) -> None:
    streams = [stream(model, [200], seed) for seed in range(6)]
    job = decoder(model, encoded(model, streams), streams, 3) if decoding else encoder(model, streams, 3)
    outcome = outcomes([job], [8, 0, 8], range(3))
    assert all(isinstance(error, UsageError) for error in outcome)


@pytest.mark.parametrize("decoding", [False, True])
def test_cancelling_ends_threads_that_wait_for_one_that_never_comes(model: Model, decoding: bool) -> None:
    streams = [stream(model, [200], seed) for seed in range(6)]
    job = decoder(model, encoded(model, streams), streams, 3) if decoding else encoder(model, streams, 3)
    cancel = native.Cancel()
    threading.Timer(0.2, cancel.set).start()
    outcome = outcomes([job], 8, (0, 1), cancel=cancel)  # of three threads
    assert all(isinstance(error, KeyboardInterrupt) for error in outcome)


def test_too_little_room_ends_all_threads(model: Model) -> None:
    streams = [stream(model, [200], seed) for seed in range(6)]
    job = model.native.encoder([(ids, size) for ids, size, _ in streams], model.start, 3, 100)
    outcome = outcomes([job], 8, range(3))
    assert any(isinstance(error, native.RoomError) for error in outcome)
    assert all(error is None or isinstance(error, native.RoomError) for error in outcome)


@pytest.mark.parametrize("team", [False, True])
def test_damaged_code_ends_all_threads(model: Model, team: bool) -> None:
    streams = [stream(model, [20, 3, 5], seed) for seed in range(7)]
    coded = encoded(model, streams)
    failed = 0
    for seed in range(30):
        job = decoder(model, coded[: seed * 4] + random.Random(seed).randbytes(300), streams, 1 if team else 3)
        outcome = outcomes([job], 4, range(3), team=native.Team(3) if team else None)
        assert all(error is None or isinstance(error, DamagedError) for error in outcome)
        failed += any(outcome)
    assert failed > 10


def test_tokens_that_no_decoder_would_give_itself_are_refused(model: Model) -> None:
    given = model.start | native.GIVEN
    size = len(model.tokens[7]) + len(model.tokens[8])
    encoder(model, [([7, given, 8], size, [])], 1)
    for ids in ([given, 7, 8], [7, 8, given], [7, given, given, 8], [7, (model.start + 1) | native.GIVEN, 8]):
        with pytest.raises(UsageError):
            encoder(model, [(ids, size, [])], 1)


@pytest.mark.parametrize(
    ("sizes", "total"),
    [
        ([2**63, 2**63, 8], 8),  # adds up, modulo 2^64: the third stream would be written far outside
        ([2**64 - 8, 16], 8),
        ([2**64 - 1], 2**64 - 1),
        ([2**32 - 1], 2**32 - 1),
        ([0, 8], 8),
        ([4, 3], 8),
        ([4, 5], 8),
        ([], 0),
        ([1] * 257, 257),
    ],
)
def test_sizes_that_do_not_fit_are_refused(model: Model, sizes: list[int], total: int) -> None:
    frame, keep = jobs.new_frame(len(sizes), total)
    for item, size in zip(keep[0], sizes, strict=True):
        item.size = size
    keep += [core.ffi.new("uint8_t[]", 300), core.ffi.new("uint8_t[]", 8)]
    frame.data, frame.coded, frame.coded_size = keep[1], keep[2], 8
    with pytest.raises(UsageError):
        native.Job(model.native._model, frame, keep, model.start, 1, decoding=True)


def test_numbers_of_threads(model: Model) -> None:
    """One for 0 threads is for a model that is computed elsewhere: no thread may work at it."""
    with pytest.raises(UsageError):
        encoder(model, [stream(model, [3])], 257)
    with pytest.raises(UsageError):
        native.work([encoder(model, [stream(model, [3])], 0)], 0)


def test_thread_numbers(model: Model) -> None:
    job = encoder(model, [stream(model, [3])], 2)
    with pytest.raises(UsageError):
        native.work([job], 2)
    alone = encoder(model, [stream(model, [3])], 1)
    with pytest.raises(UsageError):
        native.work([alone, encoder(model, [stream(model, [3])], 2)], 0)


# Teams


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_a_team_changes_nothing(model: Model, shape: str, threads: int) -> None:
    streams = [stream(model, lengths, seed) for seed, lengths in enumerate(SHAPES[shape])]
    coded = encoded(model, streams)
    for lanes in (1, 5, 33, 256):  # 32 rows are computed together
        assert in_team([decoder(model, coded, streams, 1)], threads, lanes) == [text_of(model, streams)]


@pytest.mark.parametrize("kernel", native.usable_kernels())
def test_a_team_with_every_kernel(tmp_path: Path, kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that no number of threads divides evenly, more of them than fit into a part."""
    path = tiny.write(tmp_path / "m.zlm", seed=4, dim=352, heads=11, kv_heads=1, ffn=416)
    monkeypatch.setenv("ZLLM_KERNEL", kernel)
    model = load(path)
    streams = [stream(model, [9 + seed % 4], seed) for seed in range(20)]
    coded = encoded(model, streams)
    for threads in (2, 3, 8):
        assert in_team([decoder(model, coded, streams, 1)], threads, 32) == [text_of(model, streams)]


def test_a_team_fills_its_steps_with_several_frames(model: Model) -> None:
    frames = [[stream(model, lengths, seed) for seed, lengths in enumerate(shape)] for shape in SHAPES.values()]
    coded = [encoded(model, streams) for streams in frames]
    for lanes in (1, 7, 256):
        jobs = [decoder(model, code, streams, 1) for code, streams in zip(coded, frames, strict=True)]
        assert in_team(jobs, 3, lanes) == [text_of(model, streams) for streams in frames]


@pytest.mark.parametrize("numbers", [(0,), (1,), (0, 2), (1, 2)])
def test_cancelling_ends_a_team_that_is_not_whole(model: Model, numbers: Sequence[int]) -> None:
    streams = [stream(model, [200], seed) for seed in range(6)]
    cancel = native.Cancel()
    threading.Timer(0.2, cancel.set).start()
    job = decoder(model, encoded(model, streams), streams, 1)
    outcome = outcomes([job], 8, numbers, team=native.Team(3), cancel=cancel)
    assert all(isinstance(error, KeyboardInterrupt) for error in outcome)


def test_cancelling_ends_a_team_at_work(model: Model) -> None:
    for wait in (0.0, 0.001, 0.01, 0.03):
        streams = [stream(model, [3000], seed) for seed in range(6)]
        job = decoder(model, encoded(model, streams), streams, 1)
        cancel = native.Cancel()
        threading.Timer(wait, cancel.set).start()
        outcome = outcomes([job], 8, range(3), team=native.Team(3), cancel=cancel)
        assert isinstance(outcome[0], KeyboardInterrupt)


def test_what_a_team_cannot_do(model: Model) -> None:
    streams = [stream(model, [30]), stream(model, [30])]
    coded = encoded(model, streams)
    with pytest.raises(UsageError):
        native.Team(0)
    with pytest.raises(UsageError):
        native.work([decoder(model, coded, streams, 1)], 2, team=native.Team(2))
    with pytest.raises(UsageError):
        native.work([decoder(model, coded, streams, 2)], 0, team=native.Team(2))
    with pytest.raises(UsageError):
        native.work([encoder(model, streams, 1)], 0, team=native.Team(2))
    outcome = outcomes([decoder(model, coded, streams, 2)], 8, range(2), team=native.Team(2))
    assert all(isinstance(error, UsageError) for error in outcome)
