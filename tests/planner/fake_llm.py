"""A codec that stands in for one with a model: each test says how many bytes its payloads take."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from zllm.codecs.base import Codec, Run
from zllm.errors import DamagedError


class FakeLlm(Codec):
    """Payloads are ``cost(data)`` bytes long (at least 8: a hash, by which ``decode`` finds the data again)."""

    name = "fake-llm"
    id = 3
    needs_model = True

    def __init__(self, cost: Callable[[bytes], float]):
        self.cost = cost
        self.seen: dict[bytes, bytes] = {}
        self.batches: list[list[tuple[int, tuple[int, ...]]]] = []

    def encode(self, data, boundaries=()):
        data = bytes(data)
        key = hashlib.sha256(data).digest()[:8]
        self.seen[key] = data
        return key.ljust(max(8, int(self.cost(data))), b"\0")

    def decode(self, payload, size, boundaries=()):
        data = self.seen.get(bytes(payload[:8]))
        if data is None or len(data) != size:
            raise DamagedError("not one of mine")
        return data

    def encode_batch(self, items, run: Run):
        self.batches.append([(len(data), tuple(boundaries)) for data, boundaries in items])
        return super().encode_batch(items, run)


def share(ratio: float) -> FakeLlm:
    """A model that codes everything to ``ratio`` of its size."""
    return FakeLlm(lambda data: ratio * len(data))
