"""Qwen2 and Qwen2.5: Llama with biases of queries, keys and values (Yang et al. 2024)."""

from __future__ import annotations

from zllm.models.importing.llama import Llama


class Qwen2(Llama):
    """A Qwen2 checkpoint as the canonical network: biases are read wherever the checkpoint has them."""
