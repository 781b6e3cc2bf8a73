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
    vocab = model.config.vocab
    for ids in runs:
        n = len(ids) - 1
        target = torch.tensor(ids[1:])
        with torch.no_grad():
            logits = network(torch.tensor(ids[:-1])[None])[0].double()
        float_bits -= float(torch.log_softmax(logits, -1)[torch.arange(n), target].sum()) / math.log(2)
        sums = np.frombuffer(model.native.evaluate(ids[:-1])[1], np.uint64).reshape(n, vocab + 1).astype(np.float64)
        rows = np.arange(n)
        share = (sums[rows, target.numpy() + 1] - sums[rows, target.numpy()]) / sums[:, -1]
        integer_bits -= float(np.log2(share).sum())
        tokens += n
    return float_bits / tokens, integer_bits / tokens
