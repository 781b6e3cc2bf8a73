"""A run that lasts: everything it needs to go on is in its folder, and stopping it in any way loses minutes."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import math
import os
import pickle
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zllm import partial
from zllm.errors import UsageError
from zllm.models.config import ModelConfig
from zllm.models.tokenizer import BytesTokenizer
from zllm.models.training.crew import IGNORED, Crew, Maker
from zllm.models.training.network import Extras, Network
from zllm.models.training.optimizer import NorMuon
from zllm.models.training.packs import shares
from zllm.models.training.tokens import START, Mixture, TokenFile

VALIDATION = ("val", "val-C")
FIELDS = ("date", "step", "tokens", "rate", "train", "val", "val-C", "tokens_per_second")


@dataclass(frozen=True)
class Shape:
    """The network; see :class:`ModelConfig` and :class:`Extras`. ``classes``: how many, 0 for one softmax."""

    dim: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 1
    head_dim: int = 64
    ffn: int = 768
    window: int = 256
    value_layers: Sequence[int] = ()
    pair_bits: int = 0
    scales: bool = False
    classes: int = 0
    tied: bool = True
    windows: Sequence[int] = ()

    def network(self, vocab: int, text: Path) -> Network:
        """A new one; classes are those of the folder ``text``."""
        starts: list[int] = []
        if self.classes:
            starts = json.loads((text / f"classes-{self.classes}.json").read_text(encoding="utf-8"))
        return self.network_of(vocab, starts)

    def network_of(self, vocab: int, starts: Sequence[int]) -> Network:
        """A new one with these first tokens of classes."""
        config = ModelConfig(
            vocab, self.dim, self.layers, self.heads, self.kv_heads, self.head_dim, self.ffn, self.window
        )
        values, windows = tuple(self.value_layers), tuple(self.windows)
        return Network(config, Extras(values, self.pair_bits, self.scales, starts, self.tied, windows))


@dataclass(frozen=True)
class Plan:
    """How to train. ``tokens`` 0: until told to finish; else the rate falls over the last ``decay`` of them."""

    tokens: int = 0
    decay: float = 0.6
    rows: int = 8
    few: int = 2  # rows that a process computes at a time
    length: int = 1024
    matrix_lr: float = 0.015
    embed_lr: float = 0.006
    table_lr: float = 0.006
    scalar_lr: float = 0.01
    weight_decay: float = 0.02
    row_beta: float = 0.95
    warmup: int = 500_000  # tokens
    power: float = 0.75  # of a category's tokens, for its share
    average: float = 0.05  # of the steps so far, over which weights are averaged
    seed: int = 1
    compile: bool = True
    evaluate: int = 5_000_000  # tokens between measurements
    held_out: int = 12  # rows of each category that are measured
    log_steps: int = 20
    checkpoint_seconds: float = 240.0


@dataclass
class Progress:
    """Where a run stands. ``finish_from``: the tokens at which the rate begins to fall; -1: not yet. ``begun``: those
    that the weights had seen when this run began.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    finish_from: int = -1
    finish_tokens: int = 0
    measured: int = 0
    begun: int = 0

    def rate(self, plan: Plan) -> float:
        """Learning-rate factor: warm up, hold, and fall linearly to zero at the end."""
        factor = min(1.0, (self.tokens - self.begun + 1) / plan.warmup)
        if self.finish_from >= 0:
            left = self.finish_from + self.finish_tokens - self.tokens
            factor = min(factor, max(0.0, left / self.finish_tokens))
        return factor

    @property
    def done(self) -> bool:
        """Whether the rate has come down to zero."""
        return self.finish_from >= 0 and self.tokens >= self.finish_from + self.finish_tokens


@dataclass(frozen=True)
class HeldOut:
    """Rows of each category, with -1 where nothing counts. ``sizes`` are bytes."""

    names: list[str]
    rows: list[Tensor]
    sizes: list[int]

    @classmethod
    def load(cls, path: Path, lengths: np.ndarray, length: int, most: int) -> HeldOut:
        """At most ``most`` rows of each category, spread evenly; each has the id before it in front."""
        file = TokenFile.load(path)
        rows, sizes = [], []
        for kind in range(len(file.categories)):
            parts: list[np.ndarray] = []
            for number in np.flatnonzero(file.kinds == kind):
                parts += [np.array([START]), file.ids[file.starts[number] : file.starts[number + 1]]]
            ids = np.concatenate(parts).astype(np.int64)
            starts = np.arange(0, len(ids) - 1, length)
            starts = starts[:: max(1, math.ceil(len(starts) / most))]
            table = np.full((len(starts), length + 1), IGNORED, np.int64)
            for row, start in zip(table, starts, strict=True):
                part = ids[start : start + length + 1]
                row[: len(part)] = part
            sizes.append(int(lengths[table[:, 1:][table[:, 1:] >= 0]].sum()))
            rows.append(torch.from_numpy(table))
        return cls(file.categories, rows, sizes)


class LongRun:
    """Trains a network on the tokens in the folder ``text``; ``folder`` is the run's own."""

    def __init__(
        self,
        text: Path,
        folder: Path,
        shape: Shape,
        plan: Plan,
        *,
        log: Callable[[str], None],
        workers: int = 0,
    ) -> None:
        self.text, self.workers = text, workers
        self.folder, self.shape, self.plan, self.log = folder, shape, plan, log
        self.tokenizer = BytesTokenizer((text / "tokenizer.json").read_text(encoding="utf-8"))
        self.lengths = np.array([len(token) for token in self.tokenizer.tokens], np.int64)
        file = TokenFile.load(text / "train.tokens")
        amounts = {name: file.tokens_of(kind) for kind, name in enumerate(file.categories)}
        self.mixture = Mixture(file, list(shares(amounts, plan.power).values()), plan.length, plan.seed)
        self.held_out = {
            name: HeldOut.load(text / f"{name}.tokens", self.lengths, plan.length, plan.held_out) for name in VALIDATION
        }
        torch.manual_seed(plan.seed)
        self.network = shape.network(len(self.tokenizer.tokens), text)
        self.average = {name: value.detach().clone() for name, value in self.network.named_parameters()}
        self.optimizers = self._optimizers()
        self.rates = [[group["lr"] for group in o.param_groups] for o in self.optimizers]
        self.progress = Progress()
        if plan.tokens:
            self.progress.finish_tokens = int(plan.tokens * plan.decay)
            self.progress.finish_from = plan.tokens - self.progress.finish_tokens
        self._resume()

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        plan, net = self.plan, self.network
        matrices = [p for p in net.layers.parameters() if p.ndim == 2]
        groups: dict[str, list[Tensor]] = {"embed": [], "table": [], "scalar": []}
        for name, p in net.named_parameters():
            if p.ndim < 2:
                groups["scalar"].append(p)
            elif name.startswith(("value_tables", "pairs")):
                groups["table"].append(p)
            elif not name.startswith("layers"):
                groups["embed"].append(p)
        rates = {"embed": plan.embed_lr, "table": plan.table_lr, "scalar": plan.scalar_lr}
        return [
            NorMuon(matrices, lr=plan.matrix_lr, decay=plan.weight_decay, row_beta=plan.row_beta),
            torch.optim.AdamW(
                [{"params": group, "lr": rates[name]} for name, group in groups.items() if group],
                betas=(0.9, 0.95),
                weight_decay=0.0,
            ),
        ]

    # Checkpoints.

    @property
    def checkpoints(self) -> tuple[Path, Path]:
        """The last one and the one before it."""
        return self.folder / "checkpoint.pt", self.folder / "checkpoint.old.pt"

    def _resume(self) -> None:
        for path in self.checkpoints:
            if not path.exists():
                continue
            try:
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as exc:
                self.log(f"{path} cannot be read ({exc}): taking the one before")
                continue
            self.restore(state)
            self.log(f"resumed at step {self.progress.step}, {self.progress.tokens / 1e6:.2f}M tokens")
            return
        if any(path.exists() for path in self.checkpoints):
            raise UsageError(f"no checkpoint in {self.folder} can be read")

    def state(self) -> dict[str, Any]:
        """All that a later run needs."""
        return {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizers": [o.state_dict() for o in self.optimizers],
            "mixture": self.mixture.state,
            "progress": asdict(self.progress),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """From :meth:`state`."""
        self.network.load_state_dict(state["network"])
        for name, value in state["average"].items():
            self.average[name].copy_(value)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.mixture.restore(state["mixture"])
        self.progress = Progress(**state["progress"])

    def save(self) -> None:
        """Write a checkpoint and keep the last; an interruption at any moment leaves one that can be read."""
        last, old = self.checkpoints
        with partial.whole_file(str(last)) as file:
            torch.save(self.state(), file)
            file.flush()
            os.fsync(file.fileno())
            if last.exists():
                last.replace(old)

    # Training.

    def step(self) -> float:
        """One optimiser step; returns bits per byte."""
        plan, p = self.plan, self.progress
        factor = p.rate(plan)
        for optimizer, rates in zip(self.optimizers, self.rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        batch = self.mixture.batch(plan.rows)
        loss = self.crew.train(torch.from_numpy(batch))
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        p.step += 1
        p.tokens += plan.rows * plan.length
        self._average()
        return loss / math.log(2) / int(self.lengths[batch[:, 1:]].sum())

    @torch.no_grad()
    def _average(self) -> None:
        share = 1 / max(1.0, self.plan.average * self.progress.step)
        weights = dict(self.network.named_parameters())
        torch._foreach_lerp_(list(self.average.values()), [weights[name] for name in self.average], share)

    def averaged(self) -> dict[str, Tensor]:
        """The averaged weights by name."""
        return dict(self.average)

    def evaluate(self) -> dict[str, float]:
        """Bits per byte of the averaged weights on each of the validation files, and by category in a file."""
        now = {name: value.detach().clone() for name, value in self.network.named_parameters()}
        self._put(self.average)
        result, table = {}, []
        bits = self.crew.bits()
        at = 0
        for name, held_out in self.held_out.items():
            whole = 0.0
            for category, rows, size in zip(held_out.names, held_out.rows, held_out.sizes, strict=True):
                amount = float(bits[at : at + len(rows)].sum())
                at += len(rows)
                whole += amount
                table.append([self.progress.tokens, name, category, size, f"{amount / size:.4f}"])
            result[name] = whole / sum(held_out.sizes)
        self._put(now)
        with (self.folder / "categories.csv").open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(table)
        return result

    @torch.no_grad()
    def _put(self, weights: dict[str, Tensor]) -> None:
        for name, p in self.network.named_parameters():
            p.copy_(weights[name])

    def run(self) -> None:
        """Train until the rate has come down to zero, or a signal asks to stop."""
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                raise UsageError(f"another process trains in {self.folder}") from exc
            self._stop = False
            before = {number: signal.signal(number, self._asked) for number in (signal.SIGTERM, signal.SIGINT)}
            self.crew = self._crew()
            try:
                self._train()
                self.save()
            finally:
                self.crew.close()
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _train(self) -> None:
        journal = Journal(self.folder / "log.csv", self.progress.tokens)
        saved = since = time.monotonic()
        losses: list[float] = []
        while not self.progress.done and not self._stop:
            begin = time.monotonic()
            losses.append(self.step())
            p, plan = self.progress, self.plan
            p.seconds += time.monotonic() - begin
            due = p.tokens - p.measured >= plan.evaluate or p.done
            if due or len(losses) >= plan.log_steps:
                speed = len(losses) * plan.rows * plan.length / (time.monotonic() - since)
                measured = {}
                if due:
                    p.measured = p.tokens
                    measured = self.evaluate()
                journal.write(p, p.rate(plan), sum(losses) / len(losses), speed, measured)
                losses, since = [], time.monotonic()
            if time.monotonic() - saved > plan.checkpoint_seconds:
                self.save()
                saved = time.monotonic()

    def _crew(self) -> Crew:
        held_out = torch.cat([rows for held in self.held_out.values() for rows in held.rows])
        make = Maker(self.shape, len(self.tokenizer.tokens), self.text)
        plan = self.plan
        crew = Crew(self.network, held_out, plan.rows, plan.few, plan.compile)
        crew.start(make, self.workers)
        return crew

    def _asked(self, number: int, frame: object) -> None:
        self._stop = True


@dataclass
class Journal:
    """The table of a run's course. Lines beyond the checkpoint that a run goes on from are dropped: they come again."""

    path: Path
    tokens: int
    _rows: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                self._rows = [row for row in csv.DictReader(file) if int(row["tokens"]) <= self.tokens]
        text = io.StringIO()
        writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        with partial.whole_file(str(self.path)) as file:
            file.write(text.getvalue().encode())

    def write(self, p: Progress, rate: float, train: float, speed: float, measured: dict[str, float]) -> None:
        """One line."""
        line = {
            "date": time.strftime("%Y-%m-%d %H:%M:%S"),
            "step": p.step,
            "tokens": p.tokens,
            "rate": f"{rate:.4f}",
            "train": f"{train:.4f}",
            "tokens_per_second": f"{speed:.0f}",
        }
        line |= {name: f"{bits:.4f}" for name, bits in measured.items()}
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, FIELDS, restval="", lineterminator="\n").writerow(line)
