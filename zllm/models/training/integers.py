"""Exported weights of a long run as a model file, and what the integers cost beside the float network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from zllm.models import store, zlm
from zllm.models.quantise import quantise_network
from zllm.models.tokenizer import BytesTokenizer
from zllm.models.training import measure, weights
from zllm.models.training.network import Network
from zllm.models.training.tokens import START, TokenFile

SAMPLE = Path(__file__).parents[1] / "importing" / "sample.txt"
LENGTH = 1024  # tokens of a row
CALIBRATION_ROWS, MEASURED_ROWS = 8, 4  # of each text


def make(source: Path, out: Path, name: str, origin: str, *, nibbles: int, texts: Sequence[Path] = ()) -> store.Model:
    """Quantise the weights in ``source`` into the model file ``out``.

    Args:
        source: made by ``pretrain export``.
        out: replaced if it is there.
        name: the model's.
        origin: where it comes from, in words.
        nibbles: which tables have 4 bits a number, 1 those of values, 2 that of pairs.
        texts: files of tokens that ranges are calibrated on, beside the sample of text that the package has.

    Raises:
        UsageError: ``source`` is not such a file.
        ModelError: its numbers do not fit a model file.
    """
    network, tokenizer = weights.load(source)
    sample = torch.tensor([row[:-1] for row in rows_of(network, tokenizer, texts, CALIBRATION_ROWS)])
    description, tensors = quantise_network(network, tokenizer, sample, name, origin, nibbles=nibbles)
    zlm.write(out, description, tensors)
    model = store.load(out)
    _ = model.native  # C has checked every number
    return model


def rows_of(network: Network, tokenizer: BytesTokenizer, texts: Sequence[Path], count: int) -> list[list[int]]:
    """Rows of LENGTH + 1 ids, about ``count`` of each text and of the sample, spread evenly."""
    length = network.config.window * max(1, LENGTH // network.config.window)
    sources = [np.array(tokenizer.encode(SAMPLE.read_bytes()), np.int64)]
    sources += [np.asarray(TokenFile.load(path).ids) for path in texts]
    rows = []
    for ids in sources:
        starts = range(0, max(1, len(ids) - length), length)
        for start in starts[:: max(1, len(starts) // count)][:count]:
            rows.append([START, *(int(i) for i in ids[start : start + length])])
    return [row + [START] * (length + 1 - len(row)) for row in rows]


def loss(source: Path, model: store.Model, texts: Sequence[Path], log: Callable[[str], None]) -> None:
    """Say what the integers add to the float network's bits a token, on each of ``texts``, or on the sample."""
    network, tokenizer = weights.load(source)
    for path in texts or [SAMPLE]:
        own = rows_of(network, tokenizer, [path] if texts else [], MEASURED_ROWS)[-MEASURED_ROWS:]
        exact, rounded = measure.quantisation_loss(network, model, own)
        log(f"{path.stem}: {exact:.4f} -> {rounded:.4f} bits a token ({rounded / exact - 1:+.3%})")
