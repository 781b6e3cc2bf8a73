"""The training loop: resumable, with checkpoints, held-out bits per byte, and an estimate of the time left."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zllm import partial
from zllm.models.config import ModelConfig
from zllm.models.tokenizer import BytesTokenizer, train_bpe
from zllm.models.training.corpus import Corpus
from zllm.models.training.network import Network
from zllm.models.training.start import Start

_IGNORED = -1
TOKENIZER_SAMPLE_BYTES = 48 << 20
MATRIX_DECAY = 0.02  # times the rate, a step: torch's default of 0.1 was not tried


@dataclass
class Recipe:
    """How to train. ``tokens`` or ``minutes`` (of training time, pauses not counted), whichever comes first."""

    tokens: int = 40_000_000
    minutes: float = math.inf
    rows: int = 8
    length: int = 1024
    matrix_lr: float = 0.02
    embed_lr: float = 0.004
    scalar_lr: float = 0.01
    warmup: float = 0.01
    decay: float = 0.6  # the learning rate falls linearly to zero over this last share
    seed: int = 1
    compile: bool = True
    checkpoint_seconds: float = 300.0
    evaluations: int = 20  # of the held-out text, spread evenly over the budget
    held_out_tokens: int = 1 << 20  # measured each time, at most
    patience: int = 4  # evaluations without a new best after which training stops; 0: never


@dataclass
class Progress:
    """Where a run stands; saved with every checkpoint."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    measured_tokens: int = 0  # when the held-out text was measured last
    measured_seconds: float = 0.0
    best: float | None = None  # held-out bits per byte
    since_best: int = 0  # evaluations

    def share(self, recipe: Recipe) -> float:
        """How much of the budget is used, 0 to 1."""
        return min(1.0, _used(self.tokens, self.seconds, recipe))

    def is_due(self, recipe: Recipe) -> bool:
        """Whether it is time to measure the held-out text again."""
        since = _used(self.tokens - self.measured_tokens, self.seconds - self.measured_seconds, recipe)
        return since * recipe.evaluations >= 1 or self.share(recipe) >= 1.0


def _used(tokens: int, seconds: float, recipe: Recipe) -> float:
    return max(tokens / recipe.tokens, seconds / (60 * recipe.minutes))


def schedule(share: float, recipe: Recipe) -> float:
    """Learning-rate factor: warm up, hold, fall linearly to zero."""
    return max(0.0, min(1.0, (share + 1e-4) / recipe.warmup, (1.0 - share) / recipe.decay))


def load_tokenizer(folder: Path, corpus: Corpus, vocab: int, log: Callable[[str], None]) -> BytesTokenizer:
    """The run's tokenizer: the one in ``folder``, or a new one trained on a sample of the corpus."""
    path = folder / "tokenizer.json"
    if not path.exists():
        start = time.monotonic()
        text = train_bpe(corpus.sample(min(TOKENIZER_SAMPLE_BYTES, corpus.size)), vocab)
        path.write_text(text, encoding="utf-8")
        log(f"tokenizer trained in {time.monotonic() - start:.0f} s")
    return BytesTokenizer(path.read_text(encoding="utf-8"))


class HeldOut:
    """Text that is not trained on, as rows of ids, each with the last id of the row before in front.

    Of a text of more than ``recipe.held_out_tokens``, rows here and there.
    """

    def __init__(self, tokenizer: BytesTokenizer, text: bytes, recipe: Recipe) -> None:
        length, self.rows = recipe.length, recipe.rows
        coded = [tokenizer.encode(b"\0")[0], *tokenizer.encode(text)]
        ends = range(0, len(coded) - 1, length)
        ends = ends[:: max(1, math.ceil(len(ends) * length / max(length, recipe.held_out_tokens)))]
        rows = [coded[at : at + length + 1] for at in ends]
        self.size = sum(len(tokenizer.tokens[token]) for row in rows for token in row[1:])
        # A last row that is not full is filled up with what does not count.
        self.ids = torch.tensor([row + [_IGNORED] * (length + 1 - len(row)) for row in rows])

    @torch.no_grad()
    def bits_per_byte(self, network: Network) -> float:
        """Of the network alone, without the predictor that the codec mixes in."""
        device = network.embed.weight.device
        bits = 0.0
        for part in torch.split(self.ids, self.rows):
            with torch.autocast(device.type, dtype=torch.bfloat16):
                logits = network(part[:, :-1].clamp_min(0).to(device))
            targets = part[:, 1:].to(device).flatten()
            losses = F.cross_entropy(logits.float().flatten(0, 1), targets, reduction="none", ignore_index=_IGNORED)
            bits += float(losses.double().sum()) / math.log(2)
        return bits / self.size


@dataclass(frozen=True)
class Job:
    """Folders of a run: its own, and that of the text; ``held_out`` is a file, None to measure nothing."""

    folder: Path
    data: Path
    held_out: Path | None = None


class Trainer:
    """Trains a :class:`Network`; everything it needs to go on is in ``folder``."""

    def __init__(
        self, job: Job, config: ModelConfig, recipe: Recipe, log: Callable[[str], None], start: Start | None = None
    ) -> None:
        folder = job.folder
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.recipe, self.log, self.start = folder, recipe, log, start
        torch.manual_seed(recipe.seed)
        self.corpus = Corpus(job.data, recipe.seed)
        if start is not None:
            (folder / "tokenizer.json").write_text(start.tokenizer.json, encoding="utf-8")
        self.tokenizer = load_tokenizer(folder, self.corpus, config.vocab, log)
        self.config = ModelConfig(**{**config.as_dict(), "vocab": len(self.tokenizer.tokens)})
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = Network(self.config).to(self.device)
        if start is not None:
            self.network.load_state_dict(start.network.state_dict())
        text = job.held_out.read_bytes() if job.held_out is not None else b""
        self.held_out = HeldOut(self.tokenizer, text, recipe) if text else None
        matrices = [p for p in self.network.layers.parameters() if p.ndim == 2]
        scalars = [p for p in self.network.layers.parameters() if p.ndim < 2]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=recipe.matrix_lr, weight_decay=MATRIX_DECAY),
            torch.optim.AdamW(
                [
                    {"params": [self.network.embed.weight], "lr": recipe.embed_lr},
                    {"params": scalars, "lr": recipe.scalar_lr},
                ],
                betas=(0.9, 0.95),
                weight_decay=0.0,
            ),
        ]
        self.base_rates = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.progress = Progress()
        self._resume()
        self.loss = torch.compile(self._loss) if recipe.compile else self._loss

    @property
    def best(self) -> Path:
        """The weights that did best on the held-out text."""
        return self.folder / "best.pt"

    @property
    def checkpoint(self) -> Path:
        """Everything that a later run needs to go on."""
        return self.folder / "checkpoint.pt"

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            return
        state: dict[str, Any] = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.progress = Progress(**state["progress"])
        self.log(f"resumed at step {self.progress.step}, {self.progress.tokens / 1e6:.1f}M tokens")

    def save(self) -> None:
        """Write the checkpoint; an interruption leaves the old one."""
        state = {
            "network": self.network.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "progress": asdict(self.progress),
        }
        with partial.whole_file(str(self.checkpoint)) as file:
            torch.save(state, file)
        facts = {"config": self.config.as_dict(), "recipe": asdict(self.recipe), "progress": asdict(self.progress)}
        (self.folder / "run.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")

    def _loss(self, ids: Tensor) -> Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            logits = self.network(ids[:, :-1])
        return F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())

    def step(self) -> float:
        """One optimiser step; returns the loss in bits per token."""
        r, p = self.recipe, self.progress
        factor = schedule(p.share(r), r)
        for optimizer, rates in zip(self.optimizers, self.base_rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        batch = self.corpus.batch(self.tokenizer, p.step * r.rows, r.rows, r.length + 1)
        loss = self.loss(torch.from_numpy(batch).to(self.device))
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        p.step += 1
        p.tokens += r.rows * r.length
        return float(loss.detach()) / math.log(2)

    def evaluate(self) -> None:
        """Measure the held-out text, and keep the weights if they are the best so far."""
        p = self.progress
        if self.held_out is None:
            return
        bits = self.held_out.bits_per_byte(self.network)
        known = "" if p.best is None else f", best so far {p.best:.4f}"
        self.log(f"held-out text: {bits:.4f} bits per byte by the model alone{known}")
        p.measured_tokens, p.measured_seconds = p.tokens, p.seconds
        p.since_best += 1
        if p.best is None or bits < p.best:
            p.best, p.since_best = bits, 0
            with partial.whole_file(str(self.best)) as file:
                torch.save(self.network.state_dict(), file)

    def stopped(self) -> bool:
        """Whether the held-out text has not become any smaller for so long that more training would only do harm."""
        return bool(self.recipe.patience) and self.progress.since_best >= self.recipe.patience

    def run(self) -> None:
        """Train to the end of the budget, or until the held-out text has stopped becoming smaller."""
        r, p = self.recipe, self.progress
        if self.start is not None and not p.step:  # of a new network there is nothing to measure yet
            self.evaluate()
        self._train()
        if p.share(r) < 1.0:
            self.log(f"stopped early: no new best in {p.since_best} evaluations")
        self.save()

    def _train(self) -> None:
        r, p = self.recipe, self.progress
        last_saved = last_logged = time.monotonic()
        smooth = None
        while p.share(r) < 1.0 and not self.stopped():
            start = time.monotonic()
            bits = self.step()
            smooth = bits if smooth is None else 0.95 * smooth + 0.05 * bits
            now = time.monotonic()
            p.seconds += now - start
            if now - last_logged > 10 or p.share(r) >= 1.0:
                last_logged = now
                left = p.seconds * (1 / max(p.share(r), 1e-6) - 1)
                self.log(
                    f"step {p.step}  {p.tokens / 1e6:.2f}M tokens  {smooth:.4f} bits/token"
                    f"  {p.tokens / p.seconds:.0f} tokens/s  {p.share(r):.1%}  {left / 60:.0f} min left"
                )
            if p.is_due(r):
                self.evaluate()
            if now - last_saved > r.checkpoint_seconds:
                self.save()
                last_saved = now
