"""Frames coded by the torch executor: byte for byte the C core's, both ways."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from models import tiny, variants

from zllm.codecs import llm_encoding
from zllm.codecs.base import Run
from zllm.codecs.llm import LlmCodec
from zllm.errors import DamagedError, KernelError
from zllm.models.store import Model, load

torch = pytest.importorskip("torch")

from zllm.executors.torch_executor import Sizes, TorchExecutor  # noqa: E402

Item = tuple[bytes, tuple[int, ...]]
Make = Callable[..., LlmCodec]
SMALL = Sizes(lanes=20, rows=256, bulk=16, logits=1 << 15, scores=1 << 20)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(tiny.write(tmp_path_factory.mktemp("m") / "m.zlm", layers=1, dim=32))


@pytest.fixture(autouse=True)
def many_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small texts are cut as large ones are."""
    monkeypatch.setattr(llm_encoding, "stream_count", lambda size, most: max(1, min(size // 60, most)))


@pytest.fixture
def make(model: Model, device: Any) -> Make:
    def made(of: Model = model, streams: int = 16, **sizes: int) -> LlmCodec:
        codec = LlmCodec(of, streams)
        codec.executor = TorchExecutor(of.native, of.file, device, replace(SMALL, **sizes))
        return codec

    return made


def text(size: int, seed: int = 1) -> bytes:
    rng = random.Random(seed)
    words = [b"the ", b"hat", b"and ", b"in ", b"on\n", b"xyz", bytes([rng.randrange(256)])]
    return b"".join(rng.choice(words) for _ in range(size))[:size]


ITEMS: list[Item] = [
    (text(400), (1, 2, 150)),
    (b"a", ()),
    (b"", ()),
    (text(60, 2), ()),
    (bytes(range(256)), tuple(range(1, 256, 25))),
    (text(900, 3), (450, 451)),
]


def back(payloads: list[bytes], items: list[Item]) -> list[tuple[bytes, int, tuple[int, ...]]]:
    return [(payload, len(data), boundaries) for payload, (data, boundaries) in zip(payloads, items, strict=True)]


@pytest.mark.parametrize("threads", [1, 3])
def test_same_bytes_both_ways(make: Make, model: Model, threads: int) -> None:
    codec, native = make(), LlmCodec(model)
    done: list[int] = []
    payloads = codec.encode_batch(ITEMS, Run(threads, done.append))
    total = sum(len(data) for data, _ in ITEMS)
    assert sum(done) == total
    assert payloads == native.encode_batch(ITEMS, Run())
    done.clear()
    texts = [data for data, _ in ITEMS]
    assert codec.decode_batch(back(payloads, ITEMS), Run(threads, done.append)) == texts
    assert sum(done) == total
    assert native.decode_batch(back(payloads, ITEMS), Run()) == texts


@pytest.mark.parametrize("sizes", [{"bulk": 1}, {"bulk": 64, "rows": 2000}, {"lanes": 1}, {"logits": 1, "scores": 1}])
def test_how_much_at_once_changes_nothing(make: Make, model: Model, sizes: dict[str, int]) -> None:
    items = [(text(250, seed), (90,)) for seed in range(4)]
    codec = make(**sizes)
    payloads = codec.encode_batch(items, Run())
    assert payloads == LlmCodec(model).encode_batch(items, Run())
    assert codec.decode_batch(back(payloads, items), Run()) == [data for data, _ in items]


def test_frames_of_256_streams(make: Make, model: Model) -> None:
    """More than the executor has lanes, of which each is a few tokens."""
    from zllm._native import work
    from zllm._native.steps import encode_turns

    rng = random.Random(7)
    streams = [[rng.randrange(300) for _ in range(1 + i % 5)] for i in range(256)]
    sized = [(ids, sum(len(model.tokens[i]) for i in ids)) for ids in streams]
    wanted = model.native.encoder(sized, model.start, 1)
    work([wanted], 0)
    executor = make().executor
    assert executor is not None
    from array import array

    job = model.native.encoder(sized, model.start, 0)
    for (piece,) in executor.encoding([[array("I", ids) for ids in streams]], model.start):
        encode_turns(job, piece)
    assert job.result() == wanted.result()


@pytest.mark.parametrize("family", variants.FAMILIES)
def test_families(make: Make, tmp_path: Path, family: str) -> None:
    other = load(variants.write(tmp_path / "m.zlm", seed=3, layers=1, **_without_layers(family)))
    items = [(text(200), (100, 101)), (text(40, 2), ())]
    codec = make(other)
    payloads = codec.encode_batch(items, Run())
    assert payloads == LlmCodec(other).encode_batch(items, Run())
    assert codec.decode_batch(back(payloads, items), Run()) == [data for data, _ in items]


def _without_layers(family: str) -> dict[str, Any]:
    return {key: value for key, value in variants.FAMILIES[family].items() if key != "layers"}


def test_text_that_needs_more_room(make: Make, tmp_path: Path) -> None:
    extreme = load(tiny.write(tmp_path / "m.zlm", extreme=True))
    data = random.Random(1).randbytes(400)
    codec = make(extreme)
    done: list[int] = []
    (payload,) = codec.encode_batch([(data, ())], Run(1, done.append))
    assert sum(done) == len(data)
    assert payload == LlmCodec(extreme).encode(data)
    assert codec.decode(payload, len(data)) == data


def test_damaged_payloads(make: Make) -> None:
    """Something of the right size, or an error; never anything else."""
    codec = make()
    data = text(200)
    payload = bytearray(codec.encode(data, (50, 51, 120)))
    rng = random.Random(2)
    for _ in range(6):
        bad = bytearray(payload)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        try:
            assert len(codec.decode(bytes(bad), len(data), (50, 51, 120))) == len(data)
        except DamagedError:
            continue


@pytest.mark.parametrize("threads", [1, 2])
def test_cancelling(make: Make, threads: int) -> None:
    codec = make()
    items = [(text(1500), ())] * 2
    payloads = LlmCodec(codec.model).encode_batch(items, Run())
    for work in (
        lambda run: codec.encode_batch(items, run),
        lambda run: codec.decode_batch(back(payloads, items), run),
    ):
        cancelled = threading.Event()
        run = Run(threads, lambda count: cancelled.set() if count else None, cancelled)  # noqa: B023
        with pytest.raises(KeyboardInterrupt):
            work(run)


def test_wrong_products_are_noticed_before_anything_is_coded(
    model: Model, device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zllm.executors import products

    monkeypatch.setattr(products, "batched", lambda a, b: (torch.matmul(a, b) + 1).to(torch.int32))
    with pytest.raises(KernelError, match="not exact"):
        TorchExecutor(model.native, model.file, device)
