"""What ``zllm model train`` is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrainOptions:
    """Options of a training run. ``work`` is a folder for checkpoints; a run with the same ``work`` goes on.

    ``start``: a model or the folder of a run to start from. ``held_out``: share of the text to measure on.
    ``patience``: see :class:`~zllm.models.training.loop.Recipe`; None leaves it to that.
    """

    data: Path
    out: Path
    work: Path
    preset: str = "default"
    name: str = "mine"
    origin: str = "trained here"
    tokens: int | None = None
    minutes: float | None = None
    seed: int = 1
    threads: int | None = None
    validation: Path | None = None
    description: str = ""
    start: str | None = None
    held_out: float = 0.05
    patience: int | None = None
