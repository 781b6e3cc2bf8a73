"""Which input rows have 15 bits: as few as keep the loss low, the most sensitive first, measured with the integers.

A wide row costs its matrix a second product, so candidates are ordered by the error they save for each multiplication.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch

from zllm import _native
from zllm.models import portable
from zllm.models.importing.canonical import MATRICES
from zllm.models.zlm import Tensor

TARGET = 0.004  # of the float network's bits: the promise is 0.005, on any text
_BULK = 64  # tokens of a step
_ROWS = 64  # of logits that are in memory in double precision at a time
_FINE = 32  # inputs that may be one of so many more than are needed: each try takes as long as some of them
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
        found, _ = model.evaluate(ids[:-1], sums=False, bulk=_BULK)
        logits = torch.frombuffer(found, dtype=torch.int32).reshape(len(ids) - 1, -1)
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
    low, high, above, best = 0, len(order), none, loss(len(order))
    target = max(target, best + target / 8)  # where weights alone cost more, what comes near them
    left = list(accumulate((c.worth for c in reversed(order)), initial=0.0))[::-1]  # the error of those from i on
    fine, guess = max(1, len(order) // _FINE), True
    while high - low > fine:
        middle = (low + high) // 2
        if guess:  # a loss grows about as the errors that cause it do
            part = (target - best) / max(above - best, 1e-12)
            wanted = left[high] + part * (left[low] - left[high])
            middle = next((i for i in range(low + 1, high) if left[i] <= wanted), high - 1)
        guess = not guess
        tried = loss(middle)
        if tried <= target:
            high, best = middle, tried
        else:
            low, above = middle, tried
    return order[:high], best
