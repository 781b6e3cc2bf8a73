"""Windows whose sums of values pass 32 bits (docs/arithmetic.md, sections 3 and 4): reference, kernels, and torch."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
import reference
from models import tiny

from zllm import _native as native
from zllm.errors import ModelError
from zllm.models import zlm
from zllm.models.store import load

KERNELS = native.usable_kernels()
ONE = {"layers": 1, "dim": 32, "heads": 1, "kv_heads": 1, "ffn": 32, "vocab": 256}


def written(path: Path, windows: tuple[int, ...] = (), **kind: Any) -> zlm.ModelFile:
    """A tiny model, whose layers have these windows."""
    description, tensors = tiny.tensors_of(seed=6, **{**ONE, **kind})
    for said, window in zip(description["layers"], windows, strict=False):
        said["window"] = window
    for said in description["layers"]:
        said["v_shift"] = 4  # scales of values are as large as they can be
    zlm.write(path, description, tensors)
    return zlm.read(path)


class Skipping(reference.Reference):
    """Attends only to what it is asked about: in a single layer, keys and values do not depend on what was seen."""

    attending = False
    largest = 0

    def _attend(self, query: list[int], i: int, cache: reference.Cache) -> list[int]:
        if not self.attending:
            return [0] * len(query)
        window = self.layers[i]["window"] or self.c["window"]
        scales = [scale for _, scale in cache.values[-window:]]
        values = [value for value, _ in cache.values[-window:]]
        sums = [abs(sum(s * v[d] for s, v in zip(scales, values, strict=True))) for d in range(len(query))]
        self.largest = max(self.largest, *sums)
        return super()._attend(query, i, cache)


@pytest.mark.parametrize(("window", "of_layer"), [(544, 0), (4096, 576)])
def test_equal_reference(tmp_path: Path, window: int, of_layer: int) -> None:
    """One token over and over: all scores are equal, so every value counts in full."""
    file = written(tmp_path / "m.zlm", (of_layer,), window=window, extreme=True)
    oracle = Skipping(file)
    ids, wanted = [7] * 580, {}
    for at, token in enumerate(ids):
        oracle.attending = at in (0, 300, 511, 512, 513, 543, 544, 579)
        row = oracle.feed(token)
        if oracle.attending:
            wanted[at] = row
    assert oracle.largest > 2**31
    for kernel in KERNELS:
        model = native.Model(file.description, file.tensors, kernel)
        for bulk in (1, 64):
            logits, _ = model.evaluate(ids, sums=False, bulk=bulk)
            for at, row in wanted.items():
                assert list(logits[at * 256 : (at + 1) * 256]) == row, (kernel, bulk, at)


@pytest.mark.parametrize("windows", [(), (32, 2048, 512), (640, 96, 1984)])
def test_kernels_and_batches_agree(tmp_path: Path, windows: tuple[int, ...]) -> None:
    """Longer than the window, and than the cache: in bulk, step by step, side by side."""
    kind = {"layers": 3, "heads": 4, "kv_heads": 2, "window": 2048, "vocab": 300}
    path = tmp_path / "m.zlm"
    file = written(path, windows, **kind)
    model = load(path)
    streams = [[random.Random(n).randrange(300) for _ in range(length)] for n, length in enumerate((2300, 700))]
    text = [b"".join(model.tokens[i] for i in ids) for ids in streams]
    expected = native.Model(file.description, file.tensors, "generic").encode(streams, model.start)
    for kernel in KERNELS:
        core = native.Model(file.description, file.tensors, kernel)
        assert core.encode(streams, model.start, lanes=5) == expected
        jobs = [(code, len(part), ()) for code, part in zip(expected, text, strict=True)]
        assert core.decode(jobs, model.start) == text


@pytest.mark.parametrize("extreme", [False, True])
def test_torch_gives_the_same(tmp_path: Path, extreme: bool) -> None:
    torch = pytest.importorskip("torch")
    from zllm.executors.products import exactly
    from zllm.executors.torch_executor import TorchExecutor

    device = torch.device("cpu")
    path = tmp_path / "m.zlm"
    written(path, (1088, 512), layers=2, window=1088, extreme=extreme)
    model = load(path)
    ids = [7] * 1150 if extreme else [random.Random(3).randrange(256) for _ in range(1150)]
    executor = TorchExecutor(model.native, model.file, device)
    with exactly(device):
        cache, rows = executor.cache(1, 50), []
        for at in range(0, len(ids), 50):
            x = executor.network.feed(cache, torch.tensor([ids[at : at + 50]]))
            rows.append(executor.network.logits(x))
    assert torch.cat(rows).flatten().tolist() == list(model.native.evaluate(ids, bulk=64)[0])


@pytest.mark.parametrize("window", [4128, 0, 2049])
def test_other_windows_are_refused(tmp_path: Path, window: int) -> None:
    written(tmp_path / "m.zlm", window=window)
    with pytest.raises(ModelError, match=re.escape("window must be 32 to 4096, by 32")):
        _ = load(tmp_path / "m.zlm").native
