"""The network on tensors: logits and prefix sums are the C core's, whatever is computed at once."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from models import tiny, variants

from zllm._native.steps import SUM_BLOCK, trie_paths
from zllm.models.store import Model, load, resolve

torch = pytest.importorskip("torch")

from zllm.executors.products import exactly  # noqa: E402
from zllm.executors.torch_executor import Sizes, TorchExecutor, _bases  # noqa: E402


def ids_of(model: Model, count: int, seed: int = 5) -> list[int]:
    rng = random.Random(seed)
    return [model.start, *(rng.randrange(model.config.vocab) for _ in range(count - 1))]


def assert_equal(model: Model, device: Any, streams: list[list[int]], bulk: int) -> None:
    """Streams of one length, fed ``bulk`` tokens at a time."""
    executor = TorchExecutor(model.native, model.file, device)
    network, period = executor.network, executor.network.w.period
    fed = torch.tensor(streams, device=device)
    rows, sums, at = [], [], 0
    with exactly(device):
        cache = executor.cache(len(streams), bulk)
        while at < fed.shape[1]:
            count = min(bulk, fed.shape[1] - at, *([period - at % period] if period else []))
            x = network.feed(cache, fed[:, at : at + count])
            rows.append(network.logits(x).view(len(streams), count, -1).cpu())
            weights = network.weights(x)
            sums.append(torch.nn.functional.pad(weights.cumsum(-1), (1, 0)).view(len(streams), count, -1).cpu())
            assert torch.equal(_bases(weights).cpu(), sums[-1].flatten(0, 1)[:, ::SUM_BLOCK])
            at += count
    found, added = torch.cat(rows, 1), torch.cat(sums, 1)
    for stream, own, own_sums in zip(streams, found, added, strict=True):
        logits, prefix = model.native.evaluate(stream)
        assert own.flatten().tolist() == list(logits)
        assert own_sums.flatten().tolist() == list(prefix)


@pytest.mark.parametrize(("lanes", "bulk"), [(1, 1), (3, 1), (1, 64), (3, 7), (64, 30)])
def test_batch_shapes(tmp_path: Path, device: Any, lanes: int, bulk: int) -> None:
    """More than two windows, so that rings go round."""
    model = load(tiny.write(tmp_path / "m.zlm", layers=1, dim=32))
    assert_equal(model, device, [ids_of(model, 70, seed) for seed in range(lanes)], bulk)


@pytest.mark.parametrize("kind", [{}, {"extreme": True}, {"kv_heads": 4}, {"heads": 3, "kv_heads": 1, "head_dim": 64}])
def test_models(tmp_path: Path, device: Any, kind: dict[str, Any]) -> None:
    model = load(tiny.write(tmp_path / "m.zlm", seed=2, **kind))
    assert_equal(model, device, [ids_of(model, 50)], 16)


@pytest.mark.parametrize("family", variants.FAMILIES)
@pytest.mark.parametrize("extreme", [False, True])
def test_families(tmp_path: Path, device: Any, family: str, extreme: bool) -> None:
    """More tokens than a window, and than there are positions."""
    model = load(variants.write(tmp_path / "m.zlm", seed=3, extreme=extreme, **variants.FAMILIES[family]))
    assert_equal(model, device, [ids_of(model, 75, seed) for seed in (1, 2)], 9)


@pytest.mark.parametrize("seed", range(12))
def test_any_combination(tmp_path: Path, device: Any, seed: int) -> None:
    model = load(variants.write(tmp_path / "m.zlm", **variants.anything(seed)))
    assert_equal(model, device, [ids_of(model, 40, seed)], 12)


def test_wide_rows_of_many_columns(tmp_path: Path, device: Any) -> None:
    kind = {"dim": 32, "layers": 1, "mlp": 1, "ffn": 16384, "biases": ("gate_up",), "layer": {"wide": 15}}
    model = load(variants.write(tmp_path / "m.zlm", extreme=True, **kind))
    assert_equal(model, device, [ids_of(model, 3)], 3)


def test_default_model(device: Any) -> None:
    model = resolve("default")
    assert_equal(model, device, [[model.start, *model.tokenizer.encode(b"The quick brown fox: 1, 2, 3.\n")]], 8)


def test_lanes_that_start_anew_or_go_on_without_others(tmp_path: Path, device: Any) -> None:
    model = load(tiny.write(tmp_path / "m.zlm", layers=1, dim=32))
    streams = [ids_of(model, 60, seed) for seed in range(4)]
    wanted = [list(model.native.evaluate(stream)[0]) for stream in streams]
    executor = TorchExecutor(model.native, model.file, device)
    vocab = model.config.vocab
    with exactly(device):
        cache = executor.cache(3, 1)

        def feed(lanes: dict[int, tuple[int, int]], count: int) -> None:
            """lanes: stream and place of its next token, by lane."""
            for k in range(count):
                tokens = [streams[s][at + k] for s, at in (lanes[lane] for lane in sorted(lanes))]
                found = executor.network.logits(
                    executor.network.feed(cache, torch.tensor(tokens, device=device)[:, None])
                )
                for row, lane in enumerate(sorted(lanes)):
                    s, at = lanes[lane][0], lanes[lane][1] + k
                    assert found[row].tolist() == wanted[s][at * vocab : (at + 1) * vocab]

        feed({0: (0, 0), 1: (1, 0), 2: (2, 0)}, 40)
        cache.restart(torch.tensor([1], device=device))
        feed({0: (0, 40), 1: (3, 0), 2: (2, 40)}, 10)
        cache.keep(torch.tensor([1, 2], device=device))
        feed({0: (3, 10), 1: (2, 50)}, 10)


def test_paths_are_the_trie(tmp_path: Path) -> None:
    model = load(tiny.write(tmp_path / "m.zlm", layers=1, dim=32))
    found = trie_paths(model.native)
    assert len(found.first) == model.config.vocab + 1
    for token in range(model.config.vocab):
        low, high = 0, model.config.vocab
        for d in range(found.first[token], found.first[token + 1]):
            assert (found.low[d], found.high[d]) == (low, high)
            low, high = (found.split[d], high) if token >= found.split[d] else (low, found.split[d])
        assert (low, high) == (token, token + 1)


def test_sizes_for_devices() -> None:
    assert Sizes.of(torch.device("cuda")).rows > Sizes.of(torch.device("cpu")).rows
