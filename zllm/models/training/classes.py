"""Classes of a two-level head: ranges of tokens that are nodes of the walk by which tokens are coded.

A token is coded by yes-or-no questions, each of which splits a range of tokens (``docs/arithmetic.md``, section 5).
Every class is one of those ranges, so a question is either about whole classes, and answered by the probabilities of
classes alone, or inside one class, and answered by those of its tokens.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Range:
    """Tokens ``low`` to ``high`` - 1, of which ``bit`` of the byte at ``depth`` is asked next; 8: whether it ends."""

    low: int
    high: int
    depth: int = 0
    bit: int = 7


def split(tokens: Sequence[bytes], node: Range) -> tuple[Range, Range] | None:
    """The two sides of the next question with two possible answers; None if there is only one token."""
    low, high, depth, bit = node.low, node.high, node.depth, node.bit
    while high - low > 1:
        if bit == 8:
            if len(tokens[low]) == depth:
                return Range(low, low + 1, depth), Range(low + 1, high, depth, 7)
            bit = 7
        middle = next((i for i in range(low, high) if tokens[i][depth] >> bit & 1), high)
        after = (depth, bit - 1) if bit else (depth + 1, 8)
        if low < middle < high:
            return Range(low, middle, *after), Range(middle, high, *after)
        depth, bit = after
    return None


def choose(tokens: Sequence[bytes], counts: np.ndarray, classes: int) -> list[int]:
    """The first token of each of about ``classes`` classes, ascending; ``tokens`` are in the order of their bytes.

    The class that costs most, in tokens of its size for each time it is met, is split until there are enough.
    """
    before = np.concatenate(([0], np.cumsum(counts + 1.0)))

    def entry(node: Range) -> tuple[float, int, Range]:
        return -float(before[node.high] - before[node.low]) * (node.high - node.low - 1), node.low, node

    heap = [entry(Range(0, len(tokens)))]
    done: list[int] = []
    while heap and len(heap) + len(done) < classes:
        _, low, node = heapq.heappop(heap)
        sides = split(tokens, node)
        if sides is None:
            done.append(low)
            continue
        for side in sides:
            heapq.heappush(heap, entry(side))
    return sorted(done + [low for _, low, _ in heap])


def rows_a_token(starts: Sequence[int], counts: np.ndarray) -> float:
    """Rows of the head that are multiplied for a token, on average: all classes, and the tokens of one class."""
    ends = [*starts[1:], len(counts)]
    inside = sum(float(counts[a:b].sum()) * (b - a) for a, b in zip(starts, ends, strict=True) if b - a > 1)
    return len(starts) + inside / max(1.0, float(counts.sum()))
