"""What a model's shape, vocabulary and training are worth: small models of many kinds, trained on equally much text.

python tools/ablate_model.py --text TEXT --validation VALIDATION --work DIR trains each row's model, codes a sample of
the validation text with it as archives have it, writes a row of bench/results/model_ablation.csv and prints all rows as
Markdown. Rows that are in the file are skipped; DIR keeps the networks, so that rows taken out are only measured again.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import resource
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from zllm.codecs.base import Codec, Run
from zllm.codecs.cm import CmCodec
from zllm.codecs.llm import LlmCodec
from zllm.models import store, tokenizer, zlm
from zllm.models.config import ModelConfig
from zllm.models.quantise import quantise_network
from zllm.models.training.corpus import Corpus
from zllm.models.training.loop import HeldOut, Job, Recipe, Trainer
from zllm.models.training.measure import Category, read_validation
from zllm.models.training.network import Network
from zllm.models.training.start import dequantise

RESULTS = Path(__file__).resolve().parents[1] / "bench" / "results" / "model_ablation.csv"
FIELDS = ("group", "variant", "weights", "text_mb", "tokens_per_byte", "model_bits", "bits", "time")
SAMPLE, DOCUMENT, TIMED = 64 << 10, 8 << 10, 16 << 10  # bytes of each category: coded, of a document, and for the clock
RUNS = 3
TOKENIZER_BYTES = 12 << 20
BASE = Recipe(matrix_lr=0.02, embed_lr=0.008, rows=4, compile=False, checkpoint_seconds=1e9, patience=0)

Frame = tuple[bytes, list[int]]


@dataclass(frozen=True)
class Variant:
    """A row. ``text``: times the usual amount; ``made``: a model that ships, or "cm", in place of one trained here.

    ``aware``: trained with weights and activations rounded as they will be. ``mixture``: a category's share of the text
    is its size to this power: 0 takes as much of each.
    """

    group: str
    name: str
    config: ModelConfig
    recipe: Recipe = field(default_factory=lambda: BASE)
    text: float = 1.0
    adamw: bool = False
    aware: bool = False
    mixture: float = 1.0
    split: str = tokenizer.SPLIT_PATTERN
    made: str = ""


def shape(dim: int, layers: int, ffn: int, heads: int = 0) -> ModelConfig:
    """A shape of ``heads`` query heads, by default as many as make them 64 wide, and one of keys and values."""
    heads = heads or dim // 64
    return ModelConfig(dim=dim, layers=layers, heads=heads, head_dim=dim // heads, ffn=ffn)


WIDE, NARROW = shape(192, 2, 512), shape(128, 2, 384)
PIECES = tokenizer.SPLIT_PATTERN
SPLITS = (
    ("digits one by one", " ?[0-9]{1,3}", " ?[0-9]"),
    ("indentation apart from the line end", r"(?:\r?\n)+[ \t]*", r"(?:\r?\n)+"),
)


def variants() -> Iterator[Variant]:
    """All rows in their order. ``192 x 2 otherwise``: that shape but for what is named."""
    for name in ("cm", "fast", "default"):
        yield Variant("ships", name, ModelConfig(), made=name)
    yield Variant("default", _name(ModelConfig()), ModelConfig())
    for wide in (WIDE, NARROW, shape(128, 3, 384), shape(160, 2, 448, 5), shape(192, 1, 512)):
        yield Variant("fast", _name(wide), wide)
    for wide, vocab in ((WIDE, 2048), (WIDE, 8192), (NARROW, 2048), (NARROW, 8192), (NARROW, 16384)):
        yield Variant("vocabulary", f"{_name(wide)}, {vocab}", replace(wide, vocab=vocab))
    for wide in (WIDE, NARROW):
        yield Variant("twice the text", _name(wide), wide, text=2)
    for factor in (0.5, 2):
        recipe = replace(BASE, matrix_lr=0.02 * factor, embed_lr=0.008 * factor)
        yield Variant("192 x 2 otherwise", f"rates times {factor}", WIDE, recipe)
    for rate in (0.003, 0.006):
        recipe = replace(BASE, matrix_lr=rate)
        yield Variant("192 x 2 otherwise", f"AdamW alone, rate {rate}", WIDE, recipe, adamw=True)
    yield Variant("192 x 2 otherwise", "seed 2", WIDE, replace(BASE, seed=2))
    for wide in (shape(256, 1, 768), shape(128, 5, 384), shape(192, 2, 256), shape(192, 2, 1024)):
        yield Variant("192 x 2 otherwise", _name(wide), wide)
    for window in (128, 512):
        yield Variant("192 x 2 otherwise", f"window {window}", replace(WIDE, window=window))
    for name, old, new in SPLITS:
        yield Variant("192 x 2 otherwise", name, WIDE, split=PIECES.replace(old, new))
    yield Variant("192 x 2 otherwise", "rounded in training", WIDE, aware=True)
    for power in (0.0, 0.5):
        yield Variant("192 x 2 otherwise", f"categories to the power {power:g}", WIDE, mixture=power)


def _name(config: ModelConfig) -> str:
    return f"{config.dim} x {config.layers}, ffn {config.ffn}"


def sample(category: Category) -> Frame:
    """Starts of documents from all over the category, as one solid frame."""
    documents = category.documents
    count = min(len(documents), SAMPLE // DOCUMENT)
    parts = [documents[i * len(documents) // count][: SAMPLE // count] for i in range(count)]
    return joined(parts)


def joined(parts: Sequence[bytes]) -> Frame:
    """One frame of many documents."""
    cuts = [sum(map(len, parts[:i])) for i in range(1, len(parts))]
    return b"".join(parts), cuts


def seconds(codec: Codec, frame: Frame) -> float:
    """User time of encoding a frame by one thread."""
    start = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    codec.encode_batch([frame], Run(1))
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime - start


def mixed(text: Path, power: float, target: int, work: Path) -> Path:
    """A folder of about ``target`` bytes of documents, each category's share its size to a power.

    Beside each file of text is a .tsv: offset, length and category of its documents. ``xhtml`` and ``lang2``, of which
    there is little and no validation text, keep their shares.
    """
    folder = work / f"mixture-{power:g}-{target}"
    if folder.exists():
        return folder
    found: dict[str, list[tuple[Path, int, int]]] = {}
    for path in sorted(text.glob("*.tsv")):
        for line in path.read_text(encoding="utf-8").splitlines():
            offset, length, category = line.split("\t")[:3]
            found.setdefault(category, []).append((path.with_suffix(".txt"), int(offset), int(length)))
    sizes = {category: sum(length for *_, length in documents) for category, documents in found.items()}
    rare = {category: size / sum(sizes.values()) for category, size in sizes.items() if category in ("xhtml", "lang2")}
    powers = {category: size**power for category, size in sizes.items() if category not in rare}
    shares = rare | {c: (1 - sum(rare.values())) * p / sum(powers.values()) for c, p in powers.items()}
    taken = [document for c, share in shares.items() for document in _some(found[c], share * target)]
    random.Random(1).shuffle(taken)
    folder.mkdir()
    (folder / "text.txt").write_bytes(b"\0".join(_read(*document) for document in taken))
    return folder


def _some(documents: list[tuple[Path, int, int]], size: float) -> Iterator[tuple[Path, int, int]]:
    """Documents here and there, about ``size`` bytes of them."""
    order = random.Random(1).sample(documents, len(documents))
    for document in order:
        if size <= 0:
            return
        size -= document[2]
        yield document


def _read(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


class Rounded(nn.Module):
    """Values as int8 has them, by one scale a row; gradients pass as if nothing were rounded (Bengio et al. 2013)."""

    def forward(self, x: Tensor) -> Tensor:
        """x [..., n] -> the same shape."""
        scale = x.detach().abs().amax(-1, keepdim=True).clamp_min(1e-9) / 127
        return x + ((x / scale).round() * scale - x).detach()


def round_in_training(network: Network) -> None:
    """Round all matrices and what they multiply."""
    for module in [m for m in network.layers.modules() if isinstance(m, nn.Linear)]:
        parametrize.register_parametrization(module, "weight", Rounded())
        module.register_forward_pre_hook(lambda module, x: (Rounded()(x[0]),))


def words_of(variant: Variant, corpus: Corpus, work: Path) -> str:
    """The tokenizer of the variant's vocabulary and pieces, trained once."""
    suffix = "" if variant.split == PIECES else "-" + _slug(variant.name)
    path = work / f"tokenizer-{variant.config.vocab}{suffix}.json"
    if not path.exists():
        tokenizer.SPLIT_PATTERN = variant.split
        path.write_text(tokenizer.train_bpe(corpus.sample(TOKENIZER_BYTES), variant.config.vocab), encoding="utf-8")
        tokenizer.SPLIT_PATTERN = PIECES
    return path.read_text(encoding="utf-8")


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


def train(variant: Variant, args: argparse.Namespace) -> tuple[Network, tokenizer.BytesTokenizer]:
    """The variant's network and tokenizer, trained now or before."""
    corpus, data = Corpus(args.text, variant.recipe.seed), args.text
    words = tokenizer.BytesTokenizer(words_of(variant, corpus, args.work))
    if variant.mixture != 1:
        data = mixed(args.text, variant.mixture, 4 * args.bytes, args.work)
    path: Path = args.work / f"{_slug(variant.group)}-{_slug(variant.name)}.pt"
    if path.exists():
        network = Network(variant.config)
        network.load_state_dict(torch.load(path, weights_only=True))
        return network, words
    folder: Path = args.work / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "tokenizer.json").write_text(words.json, encoding="utf-8")
    text = b"".join(corpus.sample(1 << 20))
    tokens = round(args.bytes * variant.text * len(words.encode(text)) / len(text))
    trainer = Trainer(Job(folder, data), variant.config, replace(variant.recipe, tokens=tokens), print)
    if variant.adamw:
        use_adamw(trainer)
    if variant.aware:
        round_in_training(trainer.network)
    trainer.run()
    trained = {
        name.replace("parametrizations.weight.original", "weight"): t
        for name, t in trainer.network.state_dict().items()
    }
    torch.save(trained, path)
    shutil.rmtree(folder)
    network = Network(variant.config)
    network.load_state_dict(trained)
    return network, words


def quantised(variant: Variant, args: argparse.Namespace) -> store.Model:
    """The variant's model, as an archive would use it."""
    if variant.made:
        return store.resolve(variant.made)
    network, words = train(variant, args)
    rows = torch.from_numpy(Corpus(args.text, variant.recipe.seed + 1).batch(words, 0, 8, variant.recipe.length))
    path: Path = args.work / "measured.zlm"
    zlm.write(path, *quantise_network(network, words, rows, variant.name, "tools/ablate_model.py"))
    return store.load(path)


def use_adamw(trainer: Trainer) -> None:
    """AdamW for the matrices, in the place of Muon."""
    matrices = trainer.optimizers[0].param_groups[0]["params"]
    rate = trainer.recipe.matrix_lr
    trainer.optimizers[0] = torch.optim.AdamW(matrices, lr=rate, betas=(0.9, 0.95), weight_decay=0.0)


def measure(variant: Variant, frames: Sequence[Frame], args: argparse.Namespace) -> dict[str, str]:
    """The variant's row; times are those of the default model's shape."""
    size = sum(len(data) for data, _ in frames)
    row = {"group": variant.group, "variant": variant.name}
    codec: Codec = CmCodec()
    if variant.made != "cm":
        model = quantised(variant, args)
        network, words = dequantise(model.file), model.tokenizer
        if not isinstance(words, tokenizer.BytesTokenizer):
            raise ValueError(f"{variant.name}: its tokenizer was not trained here")
        recipe = Recipe(rows=2, length=2048, held_out_tokens=10**9)
        held_out = HeldOut(words, b"\0".join(data for data, _ in frames), recipe)
        row["weights"] = str(sum(p.numel() for p in network.parameters()))
        row["text_mb"] = "" if variant.made else f"{args.bytes * variant.text / 1e6:g}"
        row["tokens_per_byte"] = f"{sum(len(words.encode(data)) for data, _ in frames) / size:.4f}"
        row["model_bits"] = f"{held_out.bits_per_byte(network):.4f}"
        codec = LlmCodec(model)
    coded = sum(map(len, codec.encode_batch(frames, Run(1))))
    row["bits"] = f"{8 * coded / size:.4f}"
    timed, default = joined([data[:TIMED] for data, _ in frames]), LlmCodec(store.resolve("default"))
    pairs = [(seconds(codec, timed), seconds(default, timed)) for _ in range(RUNS)]
    row["time"] = f"{min(a for a, _ in pairs) / min(b for _, b in pairs):.4f}"
    return row


def main(argv: Sequence[str] | None = None) -> None:
    """Make the rows that are missing, and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="folder of .txt files to train on")
    parser.add_argument("--validation", type=Path, required=True, help="folder of .txt and .tsv: text by category")
    parser.add_argument("--work", type=Path, required=True, help="folder for models and tokenizers")
    parser.add_argument("--bytes", type=int, default=3_000_000, help="of text that a model is trained on")
    parser.add_argument("--groups", nargs="*", help="only these groups of rows")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args(argv)
    os.environ["RAYON_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    frames = [sample(category) for category in read_validation(args.validation)]
    rows = list(csv.DictReader(args.output.open(newline=""))) if args.output.exists() else []
    done = {(row["group"], row["variant"]) for row in rows}
    order = {(variant.group, variant.name): i for i, variant in enumerate(variants())}
    for variant in variants():
        if (variant.group, variant.name) in done or (args.groups and variant.group not in args.groups):
            continue
        rows.append(measure(variant, frames, args))
        rows.sort(key=lambda row: order.get((row["group"], row["variant"]), len(order)))
        with args.output.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    print("| " + " | ".join(FIELDS) + " |\n" + "|---|---" + "|--:" * (len(FIELDS) - 2) + "|")
    for row in rows:
        print("| " + " | ".join(row.get(name, "") for name in FIELDS) + " |")


if __name__ == "__main__":
    main()
