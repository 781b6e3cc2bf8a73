"""The two-level head: P(class) times P(token in class), classes being ranges of tokens.

The products of a token are those of all classes and of the tokens of one class, in training too: the tokens of a batch
are sorted by their class, and each class multiplies its own rows.

Source: Goodman 2001 (classes for fast maximum entropy training).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Wanted:
    """Tokens [N], their classes [N], and the first token of each class with the size of the vocabulary at the end."""

    targets: Tensor
    classes: Tensor
    starts: list[int]


class InClass(torch.autograd.Function):
    """-ln P(token in its class) of hidden [N, d], summed; gradients are made on the way forward, class by class."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, wanted: Wanted) -> Tensor:
        """Losses are of ``wanted`` after ``hidden``; ``weight`` [vocab, d]."""
        with torch.no_grad():
            losses, dhidden, dweight = _in_class(hidden, weight, wanted, gradients=True)
        assert dhidden is not None and dweight is not None
        ctx.save_for_backward(dhidden, dweight)
        return losses.sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        """The stored gradients times that of the sum."""
        dhidden, dweight = ctx.saved_tensors
        return dhidden * grads[0].to(dhidden.dtype), dweight * grads[0], None


def _in_class(
    hidden: Tensor, weight: Tensor, wanted: Wanted, gradients: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Losses [N] in nats, and the gradients of their sum."""
    starts = wanted.starts
    order = torch.argsort(wanted.classes)
    counts = torch.bincount(wanted.classes, minlength=len(starts) - 1).tolist()
    rows, targets = hidden[order], wanted.targets[order]
    cast = weight.to(hidden.dtype)
    sorted_losses = torch.zeros(len(targets))
    drows = torch.zeros_like(rows) if gradients else None
    dweight = torch.zeros_like(weight) if gradients else None
    at = 0
    for number, count in enumerate(counts):
        low, high, end = starts[number], starts[number + 1], at + count
        if count and high - low > 1:
            part, own = rows[at:end], cast[low:high]
            logs = F.log_softmax((part @ own.T).float(), -1)
            index = (targets[at:end] - low)[:, None]
            sorted_losses[at:end] = -logs.gather(1, index)[:, 0]
            if drows is not None and dweight is not None:
                slope = logs.exp_().scatter_add_(1, index, torch.full((count, 1), -1.0)).to(hidden.dtype)
                torch.mm(slope, own, out=drows[at:end])
                dweight[low:high] = slope.T @ part
        at = end
    losses = torch.empty_like(sorted_losses)
    losses[order] = sorted_losses
    if drows is not None:
        dhidden = torch.empty_like(drows)
        dhidden[order] = drows
        return losses, dhidden, dweight
    return losses, None, None


class TwoLevelHead(nn.Module):
    """``classes`` has the first token of each class, ascending from 0."""

    def __init__(self, classes: Sequence[int], vocab: int, dim: int) -> None:
        super().__init__()
        self.starts = [*classes, vocab]
        self.weight = nn.Parameter(torch.randn(len(classes), dim) * 0.02)
        of = torch.bucketize(torch.arange(vocab), torch.tensor(list(classes)), right=True) - 1
        self.register_buffer("of", of, persistent=False)
        self.of: Tensor

    def loss(self, hidden: Tensor, tokens: Tensor, targets: Tensor) -> Tensor:
        """-ln P of ``targets`` [N] after ``hidden`` [N, d], summed; ``tokens`` [vocab, d] is the tokens' own matrix."""
        classes = self.of[targets]
        first = F.cross_entropy(F.linear(hidden, self.weight.to(hidden.dtype)).float(), classes, reduction="sum")
        return first + InClass.apply(hidden, tokens, Wanted(targets, classes, self.starts))  # type: ignore[no-untyped-call, no-any-return]

    @torch.no_grad()
    def losses(self, hidden: Tensor, tokens: Tensor, targets: Tensor) -> Tensor:
        """-ln P of each of ``targets``, float [N]."""
        classes = self.of[targets]
        first = F.cross_entropy(F.linear(hidden, self.weight.to(hidden.dtype)).float(), classes, reduction="none")
        return first + _in_class(hidden, tokens, Wanted(targets, classes, self.starts), gradients=False)[0]
