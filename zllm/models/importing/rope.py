"""Speeds of rotary positions, as checkpoints describe them.

Sources: Su et al. 2021; Chen et al. 2023 (position interpolation, ``linear``); the Llama 3 model card (``llama3``: slow
pairs are interpolated, fast ones kept, those between blended).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal

from zllm.errors import ModelError
from zllm.models.importing.config import Config

SUPPORTED = ("default", "linear", "llama3")
_PI = Decimal("3.14159265358979323846264338327950288419716939937510")
_EXACT = Context(prec=40)  # decimal arithmetic is the same everywhere, pow of floats is not


@dataclass(frozen=True)
class Rope:
    """Rotary positions. ``partial``: the share of a head that is rotated. Beyond ``factor``, of kind ``llama3``."""

    theta: float
    partial: float = 1.0
    kind: str = "default"
    factor: float = 1.0
    low: float = 1.0
    high: float = 4.0
    original: int = 8192


def read(config: Config, partial: float = 1.0) -> Rope:
    """What the config says of rotary positions. transformers 5 has one object, 4 has fields of several names.

    Raises:
        ModelError: it asks for a kind that is not supported, or has numbers that cannot be.
    """
    found = config.part("rope_parameters", "rope_scaling")
    nested = [name for name, value in found.raw.items() if isinstance(value, dict)]
    if nested:
        raise ModelError(f"{config.path}: {found.inside}{nested[0]}: rotary positions by layer are not supported")
    theta = config.number("rope_theta", "rotary_emb_base", low=1, high=1e15, default=10000.0)
    share = config.number("partial_rotary_factor", "rotary_pct", low=0, high=1, default=partial)
    kind = found.raw.get("rope_type", found.raw.get("type")) or "default"
    if kind not in SUPPORTED:
        raise ModelError(
            f"{config.path}: rotary positions of kind {str(kind)[:60]!r} are not supported: only {', '.join(SUPPORTED)}"
        )
    found.number("attention_factor", low=1, high=1, default=1.0)
    theta = found.number("rope_theta", low=1, high=1e15, default=theta)
    share = found.number("partial_rotary_factor", low=0, high=1, default=share)
    if kind == "default":
        return Rope(theta, share)
    factor = found.number("factor", low=1e-3, high=1e6)
    if kind == "linear":
        return Rope(theta, share, kind, factor)
    low = found.number("low_freq_factor", low=1e-3, high=1e6)
    high = found.number("high_freq_factor", low=1e-3, high=1e6)
    if high <= low:
        raise ModelError(f"{config.path}: {found.inside}high_freq_factor is {high:g}, not above the low one, {low:g}")
    longest = config.whole("max_position_embeddings", low=1, high=1 << 40, default=8192)
    original = found.whole("original_max_position_embeddings", low=1, high=1 << 40, default=longest)
    return Rope(theta, share, kind, factor, low, high, original)


def steps(rope: Rope, rotated: int) -> list[int]:
    """What a position turns each of the ``rotated`` / 2 pairs by, in 2^-32 turns."""
    exact = _EXACT
    theta, factor = Decimal(rope.theta), Decimal(rope.factor)
    found = []
    for i in range(rotated // 2):
        speed = exact.power(theta, exact.divide(Decimal(-2 * i), Decimal(rotated)))
        if rope.kind == "linear":
            speed = exact.divide(speed, factor)
        elif rope.kind == "llama3":
            speed = _llama3(speed, factor, rope)
        turns = exact.divide(exact.multiply(speed, Decimal(2**32)), 2 * _PI)
        found.append(int(exact.to_integral_value(turns)) % 2**32)
    return found


def _llama3(speed: Decimal, factor: Decimal, rope: Rope) -> Decimal:
    exact = _EXACT
    low, high = Decimal(rope.low), Decimal(rope.high)
    turns = exact.divide(exact.multiply(Decimal(rope.original), speed), 2 * _PI)
    slow = exact.divide(speed, factor)
    if turns > high:
        return speed
    if turns < low:
        return slow
    share = exact.divide(exact.subtract(turns, low), exact.subtract(high, low))
    return exact.add(exact.multiply(exact.subtract(Decimal(1), share), slow), exact.multiply(share, speed))
