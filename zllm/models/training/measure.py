"""What a model costs: bits per byte by category, and what quantisation adds to the float network's bits."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from zllm.codecs.base import Run
from zllm.codecs.llm import LlmCodec
from zllm.errors import UsageError
from zllm.models.store import Model
from zllm.models.training.network import Network


@dataclass(frozen=True)
class Category:
    """One category of validation text: its documents, each coded from the model's start."""

    name: str
    documents: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """Bytes of text."""
        return sum(map(len, self.documents))


def read_validation(folder: Path) -> list[Category]:
    """Every ``.txt`` in ``folder``. With a ``.tsv`` beside it (offset, length, category, source), by category; without
    one, each file is a category of its own and is split at 0x00 bytes.
    """
    found: dict[str, list[bytes]] = defaultdict(list)
    for path in sorted(folder.glob("*.txt")):
        data = path.read_bytes()
        table = path.with_suffix(".tsv")
        if not table.exists():
            found[path.stem] += [d for d in data.split(b"\0") if d]
            continue
        for line in table.read_text(encoding="utf-8").splitlines():
            offset, length, category, _ = line.split("\t", 3)
            if offset.isdigit():
                found[category].append(data[int(offset) : int(offset) + int(length)])
    if not found:
        raise UsageError(f"no validation text (*.txt) in {folder}")
    return [Category(name, tuple(documents)) for name, documents in sorted(found.items())]


def coded_size(model: Model, category: Category, threads: int = 2) -> int:
    """Bytes of the category's documents as solid text frames of 1 MiB, as ``zllm create`` codes many small members."""
    frames: list[tuple[bytes, Sequence[int]]] = []
    data, boundaries = bytearray(), list[int]()
    for document in category.documents:
        if len(data) + len(document) > 1 << 20:
            frames.append((bytes(data), boundaries))
            data, boundaries = bytearray(), []
        if data:
            boundaries.append(len(data))
        data += document
    frames.append((bytes(data), boundaries))
    return sum(map(len, LlmCodec(model).encode_batch(frames, Run(threads))))


def chunks(model: Model, categories: Iterable[Category], count: int, length: int) -> list[list[int]]:
    """``count`` runs of ``length`` + 1 token ids, taken in turn from all categories."""
    out: list[list[int]] = []
    streams = [model.tokenizer.encode(b"\0".join(c.documents)) for c in categories]
    streams = [s for s in streams if len(s) > length]
    for i in range(count if streams else 0):
        ids = streams[i % len(streams)]
        turns = max(1, count // len(streams))
        start = (len(ids) - length - 1) * (i // len(streams)) // turns
        out.append(ids[max(0, start) : max(0, start) + length + 1])
    return out


def quantisation_loss(network: Network, model: Model, runs: Sequence[Sequence[int]]) -> tuple[float, float]:
    """(float, integer) bits per token over the same runs, each from an empty context."""
    float_bits = integer_bits = 0.0
    tokens = 0
    for ids in runs:
        float_bits += _float_bits(network, torch.tensor(ids))
        integer_bits += integer_bits_of(model, ids)
        tokens += len(ids) - 1
    return float_bits / tokens, integer_bits / tokens


@torch.no_grad()
def _float_bits(network: Network, ids: torch.Tensor) -> float:
    """Of all ids but the first."""
    hidden = network.hidden(ids[None, :-1])[0]
    if network.extras.classes:
        losses = network.head.losses(hidden, network.token_matrix, ids[1:]).double()
        return float(losses.sum()) / math.log(2)
    logits = torch.nn.functional.linear(hidden, network.token_matrix).double()
    return float(torch.nn.functional.cross_entropy(logits, ids[1:], reduction="sum")) / math.log(2)


def integer_bits_of(model: Model, ids: Sequence[int]) -> float:
    """Of all ids but the first, by the integers."""
    n, target = len(ids) - 1, np.array(ids[1:])
    sums = np.frombuffer(model.native.evaluate(ids[:-1])[1], np.uint64).reshape(n, -1).astype(np.float64)
    rows, classes = np.arange(n), model.config.classes

    def bits(at: np.ndarray, low: np.ndarray | int, high: np.ndarray | int) -> float:
        """Of element ``at`` of those from ``low`` to ``high`` - 1."""
        return -float(np.log2((sums[rows, at + 1] - sums[rows, at]) / (sums[rows, high] - sums[rows, low])).sum())

    if not classes:
        return bits(target, 0, model.config.vocab)
    starts = np.append(np.frombuffer(model.tensors["classes"][2], "<u4"), model.config.vocab).astype(np.int64)
    own = np.searchsorted(starts, target, side="right") - 1
    return bits(own, 0, classes) + bits(classes + target, classes + starts[own], classes + starts[own + 1])
