"""The model card."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from zllm.models.store import Model
from zllm.models.training.options import TrainOptions


@dataclass
class Facts:
    """What a card says. ``sizes``: (category, bytes, coded bytes); ``loss``: float and integer bits per token.

    ``held_out``: (model, bytes, coded bytes) of the held-out text.
    """

    model: Model
    options: TrainOptions
    run: dict[str, Any]
    sizes: list[tuple[str, int, int]] = field(default_factory=list)
    loss: tuple[float, float] | None = None
    held_out: list[tuple[str, int, int]] = field(default_factory=list)

    @property
    def loss_share(self) -> float:
        """How much quantisation adds, as a share of the float network's bits."""
        return self.loss[1] / self.loss[0] - 1 if self.loss else 0.0


def card(facts: Facts) -> str:
    """Markdown."""
    return "\n".join([*_head(facts), *_training(facts), *_quality(facts), *_held_out(facts), *_data(facts)]) + "\n"


def _head(facts: Facts) -> list[str]:
    m, c = facts.model, facts.model.config
    return [
        f"# Model card: {m.name}",
        "",
        "| | |",
        "|---|---|",
        f"| file | `{m.path.name}`, {m.size:,} bytes |",
        f"| SHA-256 | `{m.sha256.hex()}` |",
        f"| token table SHA-256 | `{m.tokenizer_sha256.hex()}` |",
        f"| known answer | `{m.known_answer.hex()}` |",
        f"| arithmetic version | {m.arithmetic} |",
        f"| shape | {c.layers} layers, width {c.dim}, {c.heads} query and {c.kv_heads} key/value heads of {c.head_dim},"
        f" feed-forward {c.ffn}, window {c.window} tokens |",
        f"| vocabulary | {c.vocab} byte sequences, among them all 256 single bytes |",
        "",
    ]


def _training(facts: Facts) -> list[str]:
    recipe, progress = facts.run["recipe"], facts.run["progress"]
    begin = f" --from {facts.options.start}" if facts.options.start else ""
    return [
        "## Training",
        "",
        f"{progress['tokens'] / 1e6:.1f} million tokens in {progress['step']} steps of {recipe['rows']} x"
        f" {recipe['length']} tokens, {progress['seconds'] / 3600:.2f} hours; Muon (rate {recipe['matrix_lr']}) for the"
        f" matrices, AdamW (rate {recipe['embed_lr']}) for the embedding, warmed up over {recipe['warmup']:.0%} and"
        f" falling linearly to zero over the last {recipe['decay']:.0%} of the budget; bfloat16 products; seed"
        f" {recipe['seed']}.",
        "",
        "```sh",
        f"zllm model train --preset {facts.options.preset}{begin} --data TEXT --output {facts.model.path.name}"
        f" --name {facts.model.name}",
        "```",
        "",
    ]


def _quality(facts: Facts) -> list[str]:
    if not facts.sizes:
        return []
    rows = [f"| {name} | {size:,} | {coded:,} | {8 * coded / size:.3f} |" for name, size, coded in facts.sizes]
    size, coded = sum(s for _, s, _ in facts.sizes), sum(c for *_, c in facts.sizes)
    rows.append(f"| all | {size:,} | {coded:,} | {8 * coded / size:.3f} |")
    out = [
        "## Quality",
        "",
        "Validation text, never trained on, coded as solid frames of 1 MiB, predictor included:",
        "",
        "| category | bytes | coded | bits per byte |",
        "|---|--:|--:|--:|",
        *rows,
        "",
    ]
    if facts.loss:
        out += [
            f"Quantisation to integers: {facts.loss[0]:.4f} bits per token in floating point, {facts.loss[1]:.4f} in"
            f" integers, {facts.loss_share:+.3%}.",
            "",
        ]
    return out


def _held_out(facts: Facts) -> list[str]:
    if not facts.held_out:
        return []
    rows = [f"| {name} | {coded:,} | {8 * coded / size:.3f} |" for name, size, coded in facts.held_out]
    return [
        f"Held-out text, {facts.held_out[0][1]:,} bytes that were not trained on, coded as archives have it:",
        "",
        "| model | coded | bits per byte |",
        "|---|--:|--:|",
        *rows,
        "",
    ]


def _data(facts: Facts) -> list[str]:
    return ["## Data and licence", "", facts.options.description, ""] if facts.options.description else []
