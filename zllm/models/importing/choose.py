"""Which input rows have 15 bits: as few as keep the loss low, the most sensitive first, measured with the integers.

A wide row costs its matrix a second product, so candidates are ordered by the error they save for each multiplication.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from zllm import _native
from zllm.models import portable
from zllm.models.importing.canonical import MATRICES
from zllm.models.zlm import Tensor

TARGET = 0.004  # of the float network's bits: the promise is 0.005, on any text
_ROWS = 64  # of logits that are in memory in double precision at a time
HEAD = -1  # the layer of the head's input row


@dataclass(frozen=True)
class Candidate:
    """An input row that may be wide."""

    layer: int
    name: str
    worth: float


def set_wide(config: dict[str, Any], layers: Sequence[dict[str, int]], chosen: Sequence[Candidate]) -> None:
    """Write the choice into a description's fields."""
    config["wide_head"] = int(any(c.layer == HEAD for c in chosen))
    for index, layer in enumerate(layers):
        names = [c.name for c in chosen if c.layer == index]
        layer["wide"] = sum(1 << bit for bit, name in enumerate(MATRICES) if name in names)


def integer_bits(description: Mapping[str, Any], tensors: Mapping[str, Tensor], runs: Sequence[Sequence[int]]) -> float:
    """Bits of all tokens of ``runs`` but the first of each, by the C core."""
    model = _native.Model(description, tensors)
    bits = []
    for ids in runs:
        logits = torch.frombuffer(model.evaluate(ids[:-1], sums=False)[0], dtype=torch.int32).reshape(len(ids) - 1, -1)
        for at in range(0, len(logits), _ROWS):
            targets = torch.tensor(ids[1 + at : 1 + min(at + _ROWS, len(logits))])
            bits.append(portable.surprise(logits[at : at + _ROWS].double() / 65536.0, targets))
    return portable.sum_of(torch.cat(bits))


def choose(
    candidates: Sequence[Candidate],
    measure: Callable[[Sequence[Candidate]], float],
    tick: Callable[[int], None],
    target: float = TARGET,
) -> tuple[list[Candidate], float]:
    """(those that are to be wide, the loss they leave). ``measure`` gives the loss of a choice."""

    def loss(count: int) -> float:
        tick(1)
        return measure(order[:count])

    order = sorted(candidates, key=lambda c: -c.worth)
    none = loss(0)
    if none <= target:
        return [], none
    low, high, best = 0, len(order), loss(len(order))
    target = max(target, best + target / 8)  # where weights alone cost more, what comes near them
    while high - low > 1:
        middle = (low + high) // 2
        tried = loss(middle)
        if tried <= target:
            high, best = middle, tried
        else:
            low = middle
    return order[:high], best
