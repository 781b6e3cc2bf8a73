"""Speeds of rotary positions, as checkpoints describe them.

Sources: Su et al. 2021; Chen et al. 2023 (position interpolation, ``linear``); the Llama 3 model card (``llama3``: slow
pairs are interpolated, fast ones kept, those between blended).
"""

from __future__ import annotations

import math
from typing import Any

from zllm.errors import ModelError

SUPPORTED = ("default", "linear", "llama3")


def parameters(config: Any) -> dict[str, Any]:
    """What the config says of rotary positions. transformers 5 has one dict, 4 has fields of several names.

    Raises:
        ModelError: it asks for a kind that is not supported.
    """
    new = getattr(config, "rope_parameters", None)
    found = dict(new or getattr(config, "rope_scaling", None) or {})
    theta = getattr(config, "rope_theta", None) or getattr(config, "rotary_emb_base", None)
    found.setdefault("rope_theta", theta or 10000.0)
    partial = getattr(config, "partial_rotary_factor", None) or getattr(config, "rotary_pct", None)
    found.setdefault("partial_rotary_factor", 1.0 if partial is None else partial)
    kind = found.setdefault("rope_type", found.get("type", "default"))
    if kind not in SUPPORTED:
        raise ModelError(f"rotary positions of kind {kind!r} are not supported: only {', '.join(SUPPORTED)}")
    if found.get("attention_factor") not in (None, 1.0):
        raise ModelError("rotary positions with an attention factor are not supported")
    return found


def speeds(found: dict[str, Any], rotated: int) -> list[float]:
    """Radians a position of each of the ``rotated`` / 2 pairs."""
    theta, kind = float(found["rope_theta"]), found["rope_type"]
    speed = [theta ** (-2 * i / rotated) for i in range(rotated // 2)]
    if kind == "linear":
        return [s / float(found["factor"]) for s in speed]
    return [_llama3(s, found) for s in speed] if kind == "llama3" else speed


def _llama3(speed: float, found: dict[str, Any]) -> float:
    factor, low, high = (float(found[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    turns = float(found["original_max_position_embeddings"]) * speed / (2 * math.pi)
    if turns > high:
        return speed
    if turns < low:
        return speed / factor
    share = (turns - low) / (high - low)
    return (1 - share) * speed / factor + share * speed
