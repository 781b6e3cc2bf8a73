"""Every kernel that this machine can run: its matrix product, and the network of the model ``fast``."""

from __future__ import annotations

from typing import Any

import pytest

from zllm import _native as native
from zllm.models import store, zlm

ROWS, COLS, BATCH, REPEATS = 512, 512, 64, 50
TOKENS = 128


@pytest.mark.parametrize("kernel", native.usable_kernels())
def test_product(kernel: str, benchmark: Any) -> None:
    """``REPEATS`` int8 products; packing the matrix is a small part of the time."""
    benchmark.group = "matrix product"
    benchmark.extra_info["multiply_adds"] = ROWS * COLS * BATCH * REPEATS
    assert benchmark(native.kernel_rate, kernel, ROWS, COLS, BATCH, REPEATS) > 0


@pytest.mark.parametrize("kernel", native.usable_kernels())
def test_network(kernel: str, benchmark: Any, text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The distributions after each of ``TOKENS`` tokens, as encoding computes them."""
    monkeypatch.setenv("ZLLM_KERNEL", kernel)
    known = store.resolve("fast")
    model = store.Model(known.path, zlm.read(known.path))
    assert model.native.kernel == kernel
    tokens = model.tokenizer.encode(text[: 16 * TOKENS])[:TOKENS]
    benchmark.group = "network"
    benchmark.extra_info["tokens"] = len(tokens)
    benchmark(model.native.evaluate, [model.start, *tokens])
