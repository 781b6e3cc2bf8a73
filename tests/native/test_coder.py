"""The range coder and the fixed-point functions against the reference."""

from __future__ import annotations

import math
import random

import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from zllm import _native as native
from zllm.errors import UsageError

PROBABILITY = st.one_of(
    st.integers(1, 2**24 - 1), st.sampled_from([1, 2, 2**23, 2**24 - 2, 2**24 - 1]), st.just(2**24 - 1)
)


@given(st.lists(st.tuples(st.booleans(), PROBABILITY), max_size=300))
def test_round_trip_and_reference(decisions: list[tuple[bool, int]]) -> None:
    bits, ps = bytes(b for b, _ in decisions), [p for _, p in decisions]
    coded = native.coder_encode(bits, ps)
    assert native.coder_decode(coded, ps) == bits
    coder = reference.RangeCoder()
    for bit, p in decisions:
        coder.put(p, int(bit))
    assert coded == coder.finish()


def test_carries_through_many_bytes() -> None:
    """All ones of tiny probability drive low to 0xff.. and a zero then carries all the way."""
    for n in range(1, 40):
        bits = bytes([0] * n + [1] + [0] * 3)
        ps = [2**24 - 1] * n + [1] + [2**24 - 1] * 3
        assert native.coder_decode(native.coder_encode(bits, ps), ps) == bits


@pytest.mark.parametrize("p", [2**23, 2**20, 2**14, 300, 2**24 - 2**10])
def test_close_to_ideal(p: int) -> None:
    """At most 0.01% over the ideal code length, and a byte or two for the end."""
    rng = random.Random(p)
    n = 400_000
    bits = bytes(rng.random() * 2**24 < p for _ in range(n))
    ideal = sum(-math.log2((p if b else 2**24 - p) / 2**24) for b in bits) / 8
    assert len(native.coder_encode(bits, [p] * n)) <= ideal * 1.0001 + 2


def test_bad_probabilities() -> None:
    for p in (0, 2**24):
        with pytest.raises(UsageError):
            native.coder_encode(b"\1", [p])


@given(st.integers(1, 2**63))
def test_rsqrt(x: int) -> None:
    r, e = native.rsqrt(x)
    assert (r, e) == reference.rsqrt(x)
    assert abs(r * 2.0**-e * math.sqrt(x) - 1) < 1e-6


@given(st.integers(0, 2**32 - 1))
def test_exp2_and_sincos(d: int) -> None:
    assert native.exp2(d) == reference.exp2(d)
    assert abs(native.exp2(d) / 2**15 - 2.0 ** (-d / 65536)) < 2e-4
    assert native.sincos(d) == (reference.sine(d), reference.sine(d + 2**30))


@given(st.integers(-(2**30), 2**30))
def test_sigmoid(x: int) -> None:
    assert native.sigmoid(x) == reference.sigmoid(x)


@given(st.lists(st.integers(-(2**30), 2**30), min_size=1, max_size=64), st.booleans())
def test_quantise(x: list[int], normalise: bool) -> None:
    q, m, e = native.quantise(x, normalise)
    assert (q, (m, e)) == reference.quantise(x, None if normalise else 0)
    assert all(-127 <= v <= 127 for v in q)
