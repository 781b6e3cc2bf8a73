"""Functions on tensors against the C core's and the reference's, with ==."""

from __future__ import annotations

import random
from typing import Any

import pytest
import reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zllm import _native as native
from zllm.errors import KernelError

torch = pytest.importorskip("torch")

from zllm.executors import numerics as nm  # noqa: E402
from zllm.executors import products  # noqa: E402
from zllm.executors.products import Matrix, _compare, check, exactly  # noqa: E402
from zllm.executors.torch_executor import probability  # noqa: E402

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LARGE = 2**30


def column(values: list[int], device: Any) -> Any:
    return torch.tensor(values, dtype=torch.int64, device=device)[:, None]


def extremes(low: int, high: int, count: int = 200) -> list[int]:
    """The ends, the powers of two and their neighbours, and some between."""
    rng = random.Random(high)
    near = {s * (1 << k) + d for k in range(63) for s in (1, -1) for d in (-1, 0, 1)} | {low, high, 0}
    return sorted(v for v in near if low <= v <= high) + [rng.randint(low, high) for _ in range(count)]


def test_shifts_and_quotients_round_down(device: Any) -> None:
    values = extremes(-(2**62), 2**62)
    x = torch.tensor(values, device=device)
    for s in (0, 1, 19, 47, 62):
        assert (x >> s).tolist() == [v >> s for v in values]
    positive = [abs(v) for v in values]
    assert (torch.tensor(positive, device=device) // 127).tolist() == [v // 127 for v in positive]
    small = torch.tensor([-3, 3, -(2**31)], dtype=torch.int32, device=device)
    assert (small >> 1).tolist() == [-2, 1, -(2**30)]


def test_bits(device: Any) -> None:
    values = extremes(0, 2**53 - 1)
    assert nm.bits(torch.tensor(values, device=device)).tolist() == [v.bit_length() for v in values]


def test_rsqrt(device: Any) -> None:
    values = extremes(2**18, 2**48, 3000)
    r, e = nm.rsqrt(column(values, device), nm.Tables(device))
    found = zip(r[:, 0].clamp(max=2**31).tolist(), e[:, 0].tolist(), strict=True)
    assert list(found) == [native.rsqrt(v) for v in values]


def test_powers_of_two(device: Any) -> None:
    values = [*extremes(0, 2**31 - 1), *range(0, 1 << 17, 7)]
    tables, d = nm.Tables(device), torch.tensor(values, dtype=torch.int32, device=device)
    assert nm.exp2(d, tables).tolist() == [native.exp2(v) for v in values]
    assert nm.weight(d, tables).tolist() == [reference.weight(v) for v in values]


def test_gates(device: Any) -> None:
    every = list(range(-32767, 32768))
    x = torch.tensor(every, device=device)
    assert nm.sigmoid(x).tolist() == [native.sigmoid(v) for v in every]
    tables = nm.Tables(device)
    assert tables.gelu.tolist() == [native.gelu(v) for v in every] == nm.gelu(x).tolist()
    assert tables.swish.tolist() == [(v * native.sigmoid(v) + 2**14) >> 15 for v in every]


def test_sines(device: Any) -> None:
    phases = [*extremes(0, 2**32 - 1), *(i << 22 for i in range(1024)), *range(0, 1 << 24, 4099)]
    more = [v + (v << 30) for v in phases]  # bits above 32 do not count
    for given_ in (phases, more):
        s, c = nm.sincos(torch.tensor(given_, device=device), nm.Tables(device))
        wanted = [native.sincos(v % 2**32) for v in given_]
        assert list(zip(s.tolist(), c.tolist(), strict=True)) == wanted


rows = st.integers(0, 30).flatmap(lambda k: st.lists(st.integers(-(2**k), 2**k), min_size=1, max_size=80))


@quick
@given(x=rows, frac=st.integers(-20, 40))
def test_quantising(device: Any, x: list[int], frac: int) -> None:
    tables, row = nm.Tables(device), torch.tensor([x, x[::-1]], dtype=torch.int32, device=device)
    if not any(x):  # any scale will do
        assert nm.quantise(row, frac, tables).high.tolist() == [x, x]
        return
    for f in (None, frac):
        found = nm.quantise(row, f, tables)
        q, (m, e) = reference.quantise(x, f)
        assert found.high.tolist() == [q, q[::-1]]
        assert [*found.scale.mantissa[:, 0].tolist(), *found.scale.exponent[:, 0].tolist()] == [m, m, e, e]
        wide = nm.quantise(row, f, tables, True)
        q, (m, e) = reference.quantise(x, f, 1)
        assert wide.low is not None
        assert (wide.high[0].to(torch.int32) * 128 + wide.low[0]).tolist() == q
        assert (wide.scale.mantissa[0].item(), wide.scale.exponent[0].item()) == (m, e)
    for normalise in (True, False):
        found = nm.quantise(row, None if normalise else 0, tables)
        q, m, e = native.quantise(x, normalise)
        assert (found.high[0].tolist(), found.scale.mantissa[0].item(), found.scale.exponent[0].item()) == (q, m, e)


scales = st.tuples(st.integers(2**15, 2**16 - 1), st.integers(-70, 130))


@quick
@given(acc=st.lists(st.integers(-(2**28), 2**28), min_size=1, max_size=20), scale=scales, exponent=st.integers(-64, 64))
def test_sums_to_fixed_point(device: Any, acc: list[int], scale: tuple[int, int], exponent: int) -> None:
    factors = [1, 32767, 12345]
    m, e = (torch.tensor([[part]], device=device) for part in scale)
    for factor in factors:
        found = nm.descale(torch.tensor([acc], device=device), torch.tensor(factor, device=device), m, e + exponent)
        s = max(1, min(62, scale[1] + exponent))
        wanted = [(a * (factor * scale[0] >> 15) + (1 << (s - 1))) >> s for a in acc]
        assert found[0].tolist() == [reference.clamp(v, 2**30 - 1) for v in wanted]


def test_no_limit_is_needed_where_there_is_none() -> None:
    """The largest sums, scales and shifts for which the specification has none: the limit changes nothing."""
    for cols in (32, 64, 1024, 16384):
        largest = cols * 127**2
        s = largest.bit_length() - 14
        assert (largest * (32767 * 65535 >> 15) + (1 << (s - 1))) >> s <= nm.LIMIT


@quick
@given(a=scales, b=scales)
def test_product_of_scales(device: Any, a: tuple[int, int], b: tuple[int, int]) -> None:
    x, y = (nm.Scale(*(torch.tensor(part, device=device) for part in scale)) for scale in (a, b))
    found = nm.multiply(x, y)
    assert (found.mantissa.item(), found.exponent.item()) == reference.multiply(a, b)


@quick
@given(weights=st.lists(st.integers(1, 2**26), min_size=2, max_size=40), data=st.data())
def test_probabilities(device: Any, weights: list[int], data: st.DataObject) -> None:
    many = data.draw(st.sampled_from([1, 2**13]))  # totals of more than 40 bits
    low, split, high = sorted(data.draw(st.lists(st.integers(0, len(weights)), min_size=3, max_size=3, unique=True)))
    part, whole = sum(weights[split:high]) * many, sum(weights[low:high]) * many
    k = max(0, whole.bit_length() - 40)
    wanted = max(1, min(2**24 - 1, ((part >> k) << 24) // (whole >> k)))
    assert probability(column([part], device), column([whole], device)).item() == wanted


@pytest.mark.parametrize("shape", [(1, 32, 32), (40, 300, 1024), (3, 64, 1056), (17, 33, 2080), (2, 40, 16384)])
def test_products_are_exact(device: Any, shape: tuple[int, int, int]) -> None:
    n, m, cols = shape
    w = torch.randint(-127, 128, (m, cols), dtype=torch.int8)
    x = torch.randint(-127, 128, (n, cols), dtype=torch.int8)
    w[0], w[1], x[0] = 127, -127, 127
    with exactly(device):
        found = Matrix(w, device)(x.to(device))
    assert found.dtype == torch.int32
    assert torch.equal(found.cpu().to(torch.int64), x.to(torch.int64) @ w.to(torch.int64).t())


def test_products_are_checked(device: Any) -> None:
    check(device)
    with pytest.raises(KernelError, match="not exact"):
        _compare(torch.tensor([1, 2]), torch.tensor([1, 3]))


def test_settings_that_lose_bits_are_off_while_it_computes(device: Any) -> None:
    """And as they were afterwards."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            with exactly(device):
                product = torch.full((8, 1024), 255.0, device=device) @ torch.full((1024, 8), 63.0, device=device)
                assert product.dtype == torch.float32
                assert product.unique().tolist() == [1024 * 255 * 63]
                assert all(getattr(owner, name) == products._WHOLE for owner, name in products._PRECISIONS)
            assert (torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)).dtype == torch.bfloat16
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
