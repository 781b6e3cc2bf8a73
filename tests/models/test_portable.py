"""The same bits whatever the order of sums, and functions that are what they say."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from zllm.models import portable  # noqa: E402

GENERATOR = torch.Generator().manual_seed(5)


def noise(*shape: int, spread: float = 3.0) -> torch.Tensor:
    """Numbers of very different sizes, whose sums in doubles depend on their order."""
    sizes = torch.randn(shape, generator=GENERATOR, dtype=torch.float64)
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64) * (sizes * spread).exp()


@pytest.mark.parametrize("columns", [1, 2, 3, 32, 96, 576, 4097, 16384])
def test_products_do_not_depend_on_the_order_of_sums(columns: int) -> None:
    a, b = noise(5, columns), noise(7, columns)
    order = torch.randperm(columns, generator=GENERATOR)
    found = portable.product(a, b)
    assert torch.equal(found, portable.product(a[:, order], b[:, order]))
    if columns > 96:
        assert not torch.equal(a @ b.T, a[:, order] @ b[:, order].T)  # as they do otherwise
    scale = a.abs().amax(1)[:, None] * b.abs().amax(1)[None] * columns
    assert ((found - a @ b.T).abs() / scale).max() < 2.0**-18


@pytest.mark.parametrize("columns", [1, 3, 1000, 100_000])
@pytest.mark.parametrize("dim", [0, 1])
def test_sums_do_not_depend_on_their_order(columns: int, dim: int) -> None:
    x = noise(3, columns)
    order = torch.randperm(columns, generator=GENERATOR)
    y = x.T.contiguous() if dim == 0 else x
    found = portable.total(y, dim)
    assert torch.equal(found, portable.total(y[order] if dim == 0 else y[:, order], dim))
    exact = torch.tensor([math.fsum(row) for row in x.tolist()], dtype=torch.float64)
    assert ((found - exact).abs() / x.abs().amax(1) / columns).max() < 2.0**-30


def test_matrices_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable, "_BLOCK", 64 * 700)
    weight, x, bias = noise(5000, 64).float(), noise(2, 3, 64, spread=1), noise(5000)
    found = portable.linear(x, weight, bias)
    assert found.shape == (2, 3, 5000)
    expected = x @ weight.double().T + bias
    assert ((found - expected).abs() / expected.abs().max()).max() < 1e-6
    moved = portable.weighted(weight, x[0, 0])
    assert torch.allclose(moved, weight.double() @ x[0, 0], rtol=1e-9, atol=float(moved.abs().max()) * 1e-9)
    for dim in (0, 1):
        centred = weight.double() - weight.double().mean(dim, keepdim=True)
        assert torch.allclose(portable.less_mean(weight, dim).double(), centred, atol=float(centred.abs().max()) * 1e-6)


X = torch.cat((torch.linspace(-30, 30, 200_001, dtype=torch.float64), torch.tensor([0.0, -0.0, 1e-300, 700.0, -700.0])))
FUNCTIONS: dict[str, tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor], float]] = {
    "exp2": (portable.exp2, torch.exp2, 1e-9),
    "silu": (portable.silu, torch.nn.functional.silu, 1e-9),
    "gelu": (lambda x: portable.gelu(x, "none"), torch.nn.functional.gelu, 1e-6),
    "gelu in its tanh form": (
        lambda x: portable.gelu(x, "tanh"), lambda x: torch.nn.functional.gelu(x, approximate="tanh"), 1e-9
    ),
    "logarithm": (lambda x: portable.log2(x.abs() + 1e-9), lambda x: (x.abs() + 1e-9).log2(), 1e-9),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    ours, theirs, error = FUNCTIONS[name]
    assert torch.allclose(ours(X), theirs(X), rtol=error, atol=error)
    assert torch.equal(ours(X[:7]), ours(X)[:7])  # alone or among others


def test_sines_and_cosines() -> None:
    phase = torch.randint(0, 2**40, (10_000,), generator=GENERATOR)
    phase[:9] = torch.arange(9) << 29
    cos, sin = portable.cos_and_sin(phase)
    angle = (phase % 2**32).double() * (2 * math.pi / 2**32)
    assert torch.allclose(cos, angle.cos(), atol=1e-9) and torch.allclose(sin, angle.sin(), atol=1e-9)


def test_powers() -> None:
    for exponent in range(-40, 40):
        power = 2.0**exponent
        assert portable.power_below(power) == portable.power_above(power) == exponent
        assert portable.power_below(power * 1.01) == exponent and portable.power_above(power * 1.01) == exponent + 1
        assert float(portable.power_of_two(torch.tensor(exponent))) == power
    x = torch.tensor([0.0, 1.0, 16.0, 81.0], dtype=torch.float64)
    for quarters in range(5):
        assert torch.allclose(portable.share_power(x, quarters), x ** (quarters / 4))


def test_surprise_is_what_cross_entropy_is() -> None:
    logits, targets = noise(40, 3000, spread=0.3), torch.randint(0, 3000, (40,), generator=GENERATOR)
    expected = torch.nn.functional.cross_entropy(logits * math.log(2), targets, reduction="none") / math.log(2)
    assert torch.allclose(portable.surprise(logits, targets), expected, rtol=1e-8)


SCRIPT = """
import contextlib, sys, torch
from pathlib import Path
from zllm.models.importing import command
torch.set_num_threads(int(sys.argv[1]))
folder = Path(sys.argv[2])
@contextlib.contextmanager
def no_bar(label, total):
    yield lambda count: None
command.import_model(command.ImportOptions(str(folder), folder / f"{sys.argv[3]}.zlm", "mine"), no_bar)
"""


def test_a_checkpoint_gives_the_same_file_on_other_processors(tmp_path: Path) -> None:
    """torch and MKL are told to do without this processor's vectors, and to use another number of threads."""
    pytest.importorskip("transformers")
    from importing import hub

    folder = hub.save(hub.season(hub.fresh("qwen2")), tmp_path / "model", "qwen2")
    ways: list[tuple[str, dict[str, str]]] = [
        ("1", {}),
        ("2", {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "MKL_CBWR": "COMPATIBLE"}),
    ]
    for number, (threads, settings) in enumerate(ways):
        env = {**os.environ, **settings}
        subprocess.run([sys.executable, "-c", SCRIPT, threads, str(folder), str(number)], env=env, check=True)
    assert (folder / "0.zlm").read_bytes() == (folder / "1.zlm").read_bytes()
