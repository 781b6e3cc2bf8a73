"""A trained network of the second shape becomes integers that compute the same: head of two levels, tables, windows,
scales; and the command that does it."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import tiny, variants

torch = pytest.importorskip("torch")

from zllm.codecs.llm import LlmCodec  # noqa: E402
from zllm.errors import ModelError, UsageError  # noqa: E402
from zllm.models import store, zlm  # noqa: E402
from zllm.models.config import ModelConfig  # noqa: E402
from zllm.models.quantise import LOG2E, quantise_network, quantise_table  # noqa: E402
from zllm.models.tokenizer import BytesTokenizer  # noqa: E402
from zllm.models.training import measure  # noqa: E402
from zllm.models.training.network import Extras, Network  # noqa: E402

CONFIG = ModelConfig(vocab=300, dim=64, layers=2, heads=2, kv_heads=1, head_dim=32, ffn=64, window=64)
STARTS = variants.classes_of(300, 16, random.Random(4))
EXTRAS = Extras(value_layers=(1,), pair_bits=7, scales=True, classes=STARTS, windows=(32, 64))


def network_of(extras: Extras) -> Network:
    """Random weights, none of which is next to nothing."""
    torch.manual_seed(5)
    network = Network(CONFIG, extras)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.ndim == 2:
                value.normal_(std=0.5 if name.startswith(("pairs", "value")) else 0.1)
        if extras.scales:
            network.residual_scales.copy_(torch.tensor([1.3, 0.8]))
            network.embed_scales.copy_(torch.tensor([0.4, -0.6]))
        if extras.pair_bits:
            network.pair_scales.copy_(torch.tensor([1.7, -0.9]))
    return network.eval()


def quantised(network: Network, path: Path, nibbles: int = 0) -> store.Model:
    tokenizer = BytesTokenizer(tiny.tokenizer_json(300)[0])
    description, tensors = quantise_network(network, tokenizer, ids(2)[:, :128], "second", "a test", nibbles=nibbles)
    zlm.write(path, description, tensors)
    return store.load(path)


def ids(rows: int) -> torch.Tensor:
    return torch.randint(300, (rows, 129), generator=torch.Generator().manual_seed(rows))


@torch.no_grad()
def float_logits(network: Network, row: torch.Tensor) -> np.ndarray:
    """Of classes, if there are any, and of tokens, in log2 units."""
    hidden = network.hidden(row[None])[0]
    heads = [network.head.weight] if network.extras.classes else []
    return np.concatenate([(hidden @ w.T).numpy() for w in (*heads, network.token_matrix)], 1) * LOG2E


def error(network: Network, model: store.Model) -> tuple[float, float]:
    """How far the integers' logits are from the float network's, and how large those are: root mean squares."""
    row = ids(1)[0, :128]
    exact = float_logits(network, row)
    found = np.array(model.native.evaluate(row.tolist())[0]).reshape(exact.shape) / 65536
    return float(np.sqrt(((found - exact) ** 2).mean())), float(exact.std())


@pytest.mark.parametrize("extras", [
    EXTRAS, replace(EXTRAS, tied=False), Extras(windows=(64, 32)), Extras(value_layers=(0, 1)), Extras(scales=True),
    Extras(pair_bits=5), Extras(classes=STARTS), Extras(tied=False),
], ids=str)  # fmt: skip
def test_integers_are_the_float_network(tmp_path: Path, extras: Extras) -> None:
    network = network_of(extras)
    off, size = error(network, quantised(network, tmp_path / "m.zlm"))
    assert off < 0.03 * size
    # Any part that was left out would show.
    wrong: list[Extras] = []
    if extras.windows:
        wrong.append(replace(extras, windows=(64, 64)))
    if extras.scales:
        wrong.append(replace(extras, scales=False))
    if extras.pair_bits:
        wrong.append(replace(extras, pair_bits=0))
    for less in wrong:
        other = Network(CONFIG, less).eval()
        other.load_state_dict(network.state_dict(), strict=False)
        row = ids(1)[0, :128]
        assert np.sqrt(((float_logits(other, row) - float_logits(network, row)) ** 2).mean()) > 2 * off


def test_tables_of_four_bits(tmp_path: Path) -> None:
    """Seven steps on each side."""
    network = network_of(EXTRAS)
    errors = [error(network, quantised(network, tmp_path / f"{n}.zlm", n))[0] for n in range(4)]
    _, size = error(network, quantised(network, tmp_path / "m.zlm"))
    assert errors[0] < min(errors[1:]) and max(errors) < 0.2 * size
    weights = torch.randn(50, 64, generator=torch.Generator().manual_seed(1))
    q, scale, exponent = quantise_table(weights, nibbles=True)
    assert q.shape == (50, 32)
    low, high = ((q << 4).astype(np.int8) >> 4), q >> 4
    both = np.stack((low, high), -1).reshape(50, 64)
    assert both.min() >= -7 and both.max() <= 7
    back = torch.from_numpy(both.astype(np.float64) * scale[:, None] * 2.0**-exponent)
    assert float((back - weights).square().mean()) < 0.02
    nothing, ones, most = quantise_table(torch.zeros(3, 32), nibbles=False)
    assert not nothing.any() and (ones == 1).all() and most == 40


def test_loss_is_that_of_what_is_coded(tmp_path: Path) -> None:
    """Bits by sums of weights are the size of the code string, without the predictor's help but for rounding."""
    network = network_of(EXTRAS)
    model = quantised(network, tmp_path / "m.zlm")
    row = [model.start, *ids(1)[0, 1:].tolist()]
    exact, rounded = measure.quantisation_loss(network, model, [row])
    assert abs(rounded / exact - 1) < 0.01
    outputs = model.native.outputs
    sums = np.array(model.native.evaluate(row[:-1])[1], np.float64).reshape(128, outputs + 1)
    bits = 0.0
    for at, token in enumerate(row[1:]):
        own = max(k for k, first in enumerate(STARTS) if first <= token)
        low, high = list(pairwise([*STARTS, 300]))[own]
        weights = np.diff(sums[at])
        bits -= np.log2(weights[own] / weights[:16].sum())
        bits -= np.log2(weights[16 + token] / weights[16 + low : 16 + high].sum())
    assert rounded * 128 == pytest.approx(bits, rel=1e-9)


def test_scales_that_no_file_can_have(tmp_path: Path) -> None:
    network = network_of(EXTRAS)
    with torch.no_grad():
        network.residual_scales[1] = 4.0
    with pytest.raises(ModelError, match=r"residual_scale is 4\.000"):
        quantised(network, tmp_path / "m.zlm")
    with torch.no_grad():
        network.residual_scales[1] = 1.0
        network.pair_scales[0] = 300.0  # goes to the table
        network.pairs.weight.mul_(1 / 300)
    off, size = error(network, quantised(network, tmp_path / "m.zlm"))
    assert off < 0.03 * size


def test_the_command(tmp_path: Path, capsys: Any) -> None:
    """Exported weights become a model that codes; without a text, it is calibrated on the package's own."""
    save = pytest.importorskip("safetensors.torch").save_file
    from zllm.models.training import pretrain
    from zllm.models.training.longrun import Shape

    network = network_of(EXTRAS)
    shape = Shape(64, 2, 2, 1, 32, 64, 64, (1,), 7, True, len(STARTS), True, (32, 64))
    facts = {
        "shape": json.dumps(asdict(shape)), "tokenizer": tiny.tokenizer_json(300)[0], "classes": json.dumps(STARTS),
        "mixture": "{}", "step": "1", "tokens": "2",
    }  # fmt: skip
    kept, out = tmp_path / "w.safetensors", tmp_path / "m.zlm"
    weights = {name: value.detach().bfloat16() for name, value in network.named_parameters()}
    save(weights, kept, metadata=facts)
    pretrain.main(["quantise", str(kept), str(out), "--name", "mine", "--nibbles", "3"])
    said = capsys.readouterr().out
    assert "bits a token (" in said
    loss = float(said.rsplit("(", 1)[1].split("%")[0])
    assert abs(loss) < 5
    model = store.load(out)
    assert (model.name, model.config.nibbles, model.config.classes) == ("mine", 3, len(STARTS))
    codec, text = LlmCodec(model), b"The cat sat on the mat, and the hat. " * 40
    assert codec.decode(codec.encode(text), len(text)) == text
    del weights["head.weight"]
    save(weights, kept, metadata=facts)
    with pytest.raises(UsageError, match="does not contain the weights"):
        pretrain.main(["quantise", str(kept), str(out)])
