"""Qwen3: Llama with queries and keys that are normalised and have gains (Yang et al. 2025)."""

from __future__ import annotations

from torch import Tensor

from zllm.models.importing import canonical
from zllm.models.importing.llama import Llama


class Qwen3(Llama):
    """A Qwen3 checkpoint as the canonical network."""

    qk = canonical.GAINED
    head_dim = 128

    def _gains(self, at: str) -> tuple[Tensor | None, Tensor | None]:
        n = self.shape.head_dim
        return self.weights(at + "q_norm.weight", n), self.weights(at + "k_norm.weight", n)
