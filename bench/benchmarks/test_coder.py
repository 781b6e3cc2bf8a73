"""The range coder, beside constriction's: the same decisions, and the same symbols of an alphabet of 4,096."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pytest

from zllm import _native as native

DECISIONS = 1_200_000
UNIT = 1 << 24  # of the coder's probabilities
DEPTH = 12  # decisions a symbol


@pytest.fixture(scope="module")
def varied() -> tuple[bytes, Any]:
    """Decisions, each with a probability of its own."""
    rng = np.random.default_rng(4096)
    ones = rng.integers(1, UNIT, DECISIONS)
    return (rng.integers(0, UNIT, DECISIONS) < ones).astype(np.uint8).tobytes(), ones


@pytest.fixture(scope="module")
def symbols() -> tuple[Any, Any]:
    """Symbols and the weights they were drawn with: Zipf's, in a random order."""
    rng = np.random.default_rng(4096)
    weights = np.maximum(1, np.rint((1 << 26) / (rng.permutation(1 << DEPTH) + 1))).astype(np.int64)
    return rng.choice(1 << DEPTH, DECISIONS // DEPTH, p=weights / weights.sum()), weights


def decisions(symbols: Any, weights: Any) -> tuple[bytes, Any]:
    """The bits of all symbols, highest first, and the probability of a one for each."""
    sums = np.concatenate(([0], np.cumsum(weights)))
    bits = np.empty((len(symbols), DEPTH), np.uint8)
    ones = np.empty(bits.shape, np.int64)
    for depth in range(DEPTH):
        width = 1 << (DEPTH - depth)  # symbols that are still possible
        low = symbols // width * width
        starts = np.arange(0, len(sums) - 1, width)
        share = (sums[starts + width] - sums[starts + width // 2]) * UNIT // (sums[starts + width] - sums[starts])
        ones[:, depth] = np.clip(share, 1, UNIT - 1)[low // width]
        bits[:, depth] = symbols >= low + width // 2
    return bits.tobytes(), ones.reshape(-1)


def uint32s(values: Any) -> array[int]:
    """What the coder takes without a conversion."""
    out = array("I")
    out.frombytes(values.astype(np.uint32).tobytes())
    return out


@pytest.mark.parametrize("kind", ["varied", "symbols"])
@pytest.mark.parametrize("way", ["encode", "decode"])
def test_coder(kind: str, way: str, benchmark: Any, request: pytest.FixtureRequest) -> None:
    """Decisions a second are ``DECISIONS`` over the time."""
    one, two = request.getfixturevalue(kind)
    bits, ones = (one, two) if kind == "varied" else decisions(one, two)
    probabilities = uint32s(ones)
    coded = native.coder_encode(bits, probabilities)
    benchmark.extra_info |= {"decisions": len(bits), "coded_bytes": len(coded)}
    benchmark.group = f"coder, {kind}, {way}"
    if way == "encode":
        assert benchmark(native.coder_encode, bits, probabilities) == coded
    else:
        assert benchmark(native.coder_decode, coded, probabilities) == bits


@pytest.mark.parametrize("kind", ["varied", "symbols"])
@pytest.mark.parametrize("way", ["encode", "decode"])
def test_constriction(kind: str, way: str, benchmark: Any, request: pytest.FixtureRequest) -> None:
    """constriction codes a symbol at once with a fixed model, where the coder above takes twelve decisions."""
    constriction = pytest.importorskip("constriction")
    kinds, queue = constriction.stream.model, constriction.stream.queue
    given, weights = request.getfixturevalue(kind)
    if kind == "varied":
        values, model = np.frombuffer(given, np.uint8).astype(np.int32), kinds.Bernoulli(perfect=False)
        rows: tuple[Any, ...] = (weights / UNIT,)
    else:
        values, model, rows = given.astype(np.int32), kinds.Categorical(weights / weights.sum(), perfect=False), ()

    def encode() -> Any:
        encoder = queue.RangeEncoder()
        encoder.encode(values, model, *rows)
        return encoder.get_compressed()

    def decode(coded: Any) -> Any:
        return queue.RangeDecoder(coded).decode(model, *(rows or (len(values),)))

    benchmark.extra_info |= {"symbols": len(values), "coded_bytes": encode().nbytes}
    benchmark.group = f"coder, {kind}, {way}"
    if way == "encode":
        benchmark(encode)
    else:
        assert np.array_equal(benchmark(decode, encode()), values)
