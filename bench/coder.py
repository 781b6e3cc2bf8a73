"""The range coder alone, beside constriction's, on the same symbols: length over the ideal, and speed.

A symbol of 4,096 is twelve binary decisions here, each a halving of what is left, and one symbol of a fixed model
there. The ideal is what the symbols that were drawn cost by the weights that they were drawn with. Speeds are of one
core; zllm's are of its C code, constriction's of one call for all symbols.
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.common import Outcome, Row, Settings, Target, say
from zllm import _native as native
from zllm.errors import MissingDependencyError

_FULL, _QUICK = 6_000_000, 400_000  # decisions
_BITS = 12
_UNIT = 1 << 24  # of the coder's probabilities
OVER_PERCENT, DECISIONS_A_SECOND = 0.01, 50e6


@dataclass(frozen=True)
class _Stream:
    """Symbols drawn with ``weights`` (one more than the largest symbol; a row for each symbol if ``varied``)."""

    name: str
    bits: int  # decisions a symbol
    symbols: Any
    weights: Any
    varied: bool = False


def measure(settings: Settings) -> Outcome:
    """One row a stream."""
    np = _numpy()
    outcome = Outcome()
    constriction = _constriction(outcome)
    for stream in _streams(np, settings.bytes(_FULL, _QUICK)):
        say(f"coder: {stream.name}")
        outcome.rows.append(_measure_stream(np, constriction, stream, outcome))
    for row in outcome.rows:
        over = Target(f"{row['stream']}: % over the ideal", float(str(row["zllm_over_%"])), OVER_PERCENT, at_most=True)
        outcome.targets.append(over)
    for way in ("encode", "decode"):
        slowest = min(float(str(row[f"zllm_{way}_mdec_s"])) for row in outcome.rows)
        title = f"{way}: million decisions a second, of the slowest stream"
        outcome.targets.append(Target(title, slowest, DECISIONS_A_SECOND / 1e6))
    return outcome


def _streams(np: Any, decisions: int) -> Iterator[_Stream]:
    rng = np.random.default_rng(4096)
    count = decisions // _BITS
    ranks = rng.permutation(1 << _BITS)
    first = (ranks == 0).astype(float)
    rest = 1.0 - first
    skews = {
        "4,096 symbols, Zipf": 1.0 / (ranks + 1),
        "4,096 symbols, Zipf squared": 1.0 / (ranks + 1) ** 2,
        "4,096 symbols, one of 99%": 0.99 * first + 0.01 * rest / rest.sum(),
        "4,096 symbols, exponential": np.exp2(-ranks / 40),
    }
    for name, weights in skews.items():
        # As the model's weights: whole numbers, none below one.
        whole = np.maximum(1, np.rint(weights / weights.max() * (1 << 26))).astype(np.int64)
        yield _Stream(name, _BITS, rng.choice(1 << _BITS, count, p=whole / whole.sum()), whole)
    for one in (0.5, 0.1, 0.99, 0.005):
        whole = np.array([_UNIT - round(one * _UNIT), round(one * _UNIT)])
        drawn = (rng.integers(0, _UNIT, decisions) < whole[1]).astype(np.int64)
        yield _Stream(f"binary, ones {one:g}", 1, drawn, whole)
    ones = rng.integers(1, _UNIT, decisions)
    drawn = (rng.integers(0, _UNIT, decisions) < ones).astype(np.int64)
    yield _Stream("binary, ones vary", 1, drawn, np.stack((_UNIT - ones, ones), 1), varied=True)


def _measure_stream(np: Any, constriction: Any, stream: _Stream, outcome: Outcome) -> Row:
    count = len(stream.symbols)
    bits, probabilities = _decisions(np, stream)
    coded = native.coder_encode(bits, probabilities)
    if native.coder_decode(coded, probabilities) != bits:
        outcome.wrong.append(stream.name)
    rates = native.coder_rate(bits, probabilities)
    drawn = stream.weights[np.arange(count), stream.symbols] if stream.varied else stream.weights[stream.symbols]
    ideal = float(np.log2(stream.weights.sum(-1) / drawn).sum()) / 8
    row: Row = {
        "stream": stream.name,
        "decisions": len(bits),
        "ideal_bytes": round(ideal, 1),
        "zllm_over_%": round(100 * (len(coded) / ideal - 1), 5),
        "constriction_over_%": "",
        "zllm_encode_mdec_s": round(rates[0] / 1e6, 1),
        "zllm_decode_mdec_s": round(rates[1] / 1e6, 1),
        "encode_symbols_over_constriction": "",
        "decode_symbols_over_constriction": "",
    }
    if constriction:
        size, seconds = _rival(np, constriction, stream, outcome)
        row["constriction_over_%"] = round(100 * (size / ideal - 1), 5)
        for way, rate, taken in zip(("encode", "decode"), rates, seconds, strict=True):
            row[f"{way}_symbols_over_constriction"] = round(rate / stream.bits / (count / taken), 3)
    return row


def _decisions(np: Any, stream: _Stream) -> tuple[bytes, array[int]]:
    """The bits of all symbols, highest first, and the probability of a one for each."""
    if stream.varied:
        return stream.symbols.astype(np.uint8).tobytes(), _uint32s(np, stream.weights[:, 1])
    sums = np.concatenate(([0], np.cumsum(stream.weights)))
    bits = np.empty((len(stream.symbols), stream.bits), np.uint8)
    probabilities = np.empty(bits.shape, np.int64)
    for depth in range(stream.bits):
        width = 1 << (stream.bits - depth)  # symbols that are still possible
        low = stream.symbols // width * width
        # One entry a node of the tree, then one for each symbol's node.
        starts = np.arange(0, len(sums) - 1, width)
        ones = (sums[starts + width] - sums[starts + width // 2]) * _UNIT // (sums[starts + width] - sums[starts])
        probabilities[:, depth] = np.clip(ones, 1, _UNIT - 1)[low // width]
        bits[:, depth] = stream.symbols >= low + width // 2
    return bits.tobytes(), _uint32s(np, probabilities.reshape(-1))


def _uint32s(np: Any, values: Any) -> array[int]:
    out = array("I")
    out.frombytes(values.astype(np.uint32).tobytes())
    return out


def _rival(np: Any, constriction: Any, stream: _Stream, outcome: Outcome) -> tuple[int, tuple[float, float]]:
    """constriction's bytes, and its seconds for encoding and decoding, of the same symbols with the same weights."""
    kinds, queue = constriction.stream.model, constriction.stream.queue
    symbols = stream.symbols.astype(np.int32)
    shares = stream.weights / stream.weights.sum(-1, keepdims=True)
    model = kinds.Bernoulli(perfect=False) if stream.varied else kinds.Categorical(shares, perfect=False)
    rows = (np.ascontiguousarray(shares[:, 1]),) if stream.varied else ()
    encode_seconds = decode_seconds = math.inf
    for _ in range(3):
        encoder = queue.RangeEncoder()
        started = time.perf_counter()
        encoder.encode(symbols, model, *rows)
        coded = encoder.get_compressed()
        encode_seconds = min(encode_seconds, time.perf_counter() - started)
        decoder = queue.RangeDecoder(coded)
        started = time.perf_counter()
        decoded = decoder.decode(model, *(rows or (len(symbols),)))
        decode_seconds = min(decode_seconds, time.perf_counter() - started)
    if not np.array_equal(decoded, symbols):
        outcome.wrong.append(f"{stream.name}, constriction")
    return coded.nbytes, (encode_seconds, decode_seconds)


def _constriction(outcome: Outcome) -> Any:
    try:
        import constriction
    except ImportError:
        outcome.notes.append("constriction is not installed, left out: pip install constriction")
        return None
    return constriction


def _numpy() -> Any:
    try:
        import numpy
    except ImportError as error:
        raise MissingDependencyError("numpy", "pip install numpy", "measuring the coder") from error
    return numpy
