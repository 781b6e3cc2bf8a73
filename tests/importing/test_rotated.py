"""Other coordinates, and factors moved between matrices, change rounding and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from importing import hub  # noqa: E402

from zllm.models.importing import canonical, source  # noqa: E402
from zllm.models.importing.calibrate import SHARES, factors, spread  # noqa: E402
from zllm.models.importing.rotated import Rotated, basis  # noqa: E402
from zllm.models.importing.simulate import NARROW, Observer, rounded  # noqa: E402


@pytest.mark.parametrize("n", [32, 96, 128, 576])
def test_the_basis_is_orthogonal_and_spreads_all_channels(n: int) -> None:
    turn = basis(n)
    assert (turn @ turn.T - torch.eye(n)).abs().max() < 1e-7
    assert turn.abs().max() <= (2 / n) ** 0.5 + 1e-9


@pytest.mark.parametrize("family", hub.FAMILIES)
def test_logits_stay(family: str, tmp_path: Path) -> None:
    folder = hub.save(hub.season(hub.fresh(family)), tmp_path / family, family)
    read = source.open_source(str(folder)).family()
    ids = torch.randint(0, 300, (2, 40), generator=torch.Generator().manual_seed(3))
    theirs, ours = canonical.logits(read, ids), canonical.logits(Rotated(read), ids)
    assert torch.std(theirs) > 0.1
    assert (theirs - ours).abs().max() < 1e-3 * torch.std(theirs)


def test_an_outlier_leaves_the_others_their_steps() -> None:
    x = torch.randn(50, 576, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x[:, 7] = 500
    turned = x @ basis(576).T

    def error(rows: torch.Tensor) -> float:
        return float((rounded(rows, NARROW) - rows).square().sum())

    assert error(turned) < error(x) / 50


@pytest.mark.parametrize("share", SHARES)
def test_what_is_moved_behind_the_feed_forward_changes_nothing(share: int, tmp_path: Path) -> None:
    folder = hub.save(hub.season(hub.fresh("llama3")), tmp_path / "m", "llama3")
    family = source.open_source(str(folder)).family()
    layer, shape = family.layer(0), family.shape
    x = torch.randn(1, 20, shape.dim, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        weight = layer.gate_up.weight.clone()
        weight[shape.ffn] *= 100
        layer = replace(layer, gate_up=canonical.Linear(weight, layer.gate_up.bias))
        seen = Observer(shape)
        before = canonical.feed_forward(shape, layer, x, seen)
        largest = float(seen.each["down"].max() / seen.each["down"].median())
        moved = spread(shape, layer, seen, factors(layer, seen, share))
        seen_after = Observer(shape)
        after = canonical.feed_forward(shape, moved, x, seen_after)
    assert (before - after).abs().max() < 1e-4 * before.abs().max()
    assert seen.largest["up"] == pytest.approx(seen_after.largest["up"], rel=1e-5)
    left = float(seen_after.each["down"].max() / seen_after.each["down"].median())
    assert left < largest / 1.5 if share else left == largest
