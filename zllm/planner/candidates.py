"""Which codecs are tried beside the level's fast one: those that are for such data, within the level's budget."""

from __future__ import annotations

from collections.abc import Callable

from zllm.codecs import registry
from zllm.codecs.base import Codec
from zllm.format.category import Category
from zllm.planner.levels import Level

_FASTEST_OWN = 50
"""Nanoseconds a byte: all of zllm's own codecs cost more, and need not be looked at for budgets below it."""


class Candidates:
    """The codecs of one archive that are tried, by category. ``wrap``: see :class:`zllm.planner.planner.Planner`.

    zstd, lz4 and store are not among them: the level says which of them all others have to beat. Nor are codecs that
    need a model: text has a planner of its own, which knows how to ask one (:mod:`zllm.planner.text`).
    """

    def __init__(self, level: Level, wrap: Callable[[Codec], Codec]) -> None:
        found = registry.chosen() if level.budget >= _FASTEST_OWN else registry.foreign()
        usable = [c for c in found if not c.needs_model and c.name not in _YARDSTICKS]
        made = [(codec.categories, codec.within(level.budget)) for codec in usable]
        self._codecs = [(categories, wrap(codec)) for categories, codec in made if codec is not None]

    def of(self, category: Category) -> list[Codec]:
        """Those for data of that category, cheapest first."""
        codecs = [codec for categories, codec in self._codecs if category in categories]
        return sorted(codecs, key=lambda codec: (codec.cost.encode, codec.id))


_YARDSTICKS = ("store", "lz4", "zstd")
