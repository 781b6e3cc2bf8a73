"""A long run on packs of text: it may be stopped at any time, and goes on from its last checkpoint by the same command.

    python -m zllm.models.training.pretrain prepare --packs PACKS --text TEXT --vocab 16384
    python -m zllm.models.training.pretrain train --text TEXT --out RUN
    python -m zllm.models.training.pretrain finish --text TEXT --out RUN --tokens 50000000
    python -m zllm.models.training.pretrain export --text TEXT --out RUN WEIGHTS.safetensors
    python -m zllm.models.training.pretrain quantise WEIGHTS.safetensors MODEL.zlm --text TEXT

On another machine a run begins from exported weights: ``prepare --like WEIGHTS`` and ``train --start WEIGHTS``.

The learning rate is constant after a short warm-up, for as long as it takes, until ``finish`` lets it fall to zero.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zllm import partial
from zllm.models.tokenizer import SPLIT_FINE, BytesTokenizer, train_bpe
from zllm.models.training import classes, integers, packs, tokens, weights
from zllm.models.training.longrun import LongRun, Plan, Shape

TOKENIZER_BYTES, TOKENIZER_POWER = 64 << 20, 0.85
VALIDATION = ("val", "val-C")


def log(text: str) -> None:
    """To standard output, at once."""
    print(time.strftime("%Y-%m-%d %H:%M:%S"), text, flush=True)


def prepare(args: argparse.Namespace) -> None:
    """Tokenizer, tokens of all packs, and classes."""
    args.text.mkdir(parents=True, exist_ok=True)
    documents = packs.read_tables(args.packs, "train-*", args.without)[:: args.every]
    path = args.text / "tokenizer.json"
    if args.like:
        weights.unpack(args.like, args.text)
    if not path.exists():
        text = train_bpe(packs.sample(documents, TOKENIZER_BYTES, TOKENIZER_POWER), args.vocab, SPLIT_FINE)
        path.write_text(text, encoding="utf-8")
    tokenizer = BytesTokenizer(path.read_text(encoding="utf-8"))
    for name in VALIDATION:
        tokens.write(args.text / f"{name}.tokens", packs.read_tables(args.packs, name), tokenizer, log)
    tokens.write(args.text / "train.tokens", documents, tokenizer, log)
    if not args.like:
        _write_classes(args.text, tokenizer, args.classes)


def _write_classes(text: Path, tokenizer: BytesTokenizer, count: int) -> None:
    file = tokens.TokenFile.load(text / "train.tokens")
    counts = np.bincount(file.ids[:: max(1, len(file.ids) // 20_000_000)], minlength=len(tokenizer.tokens))
    starts = classes.choose(tokenizer.tokens, counts, count)
    largest = max(b - a for a, b in zip(starts, [*starts[1:], len(counts)], strict=True))
    log(f"{len(starts)} classes, the largest of {largest}: {classes.rows_a_token(starts, counts):.1f} rows a token")
    with partial.whole_file(str(text / f"classes-{count}.json")) as out:
        out.write(json.dumps(starts).encode())


def train(args: argparse.Namespace) -> None:
    """Begin a run, from the weights ``--start`` if they are given, or go on with it."""
    if args.threads:
        torch.set_num_threads(args.threads)
    saved = args.out / "run.json"
    if saved.exists():
        facts = json.loads(saved.read_text(encoding="utf-8"))
        shape, plan = Shape(**facts["shape"]), Plan(**facts["plan"])
    else:
        shape = Shape(**_given(Shape, args))
        plan = Plan(**_given(Plan, args))
        args.out.mkdir(parents=True, exist_ok=True)
        with partial.whole_file(str(saved)) as file:
            file.write(json.dumps({"shape": asdict(shape), "plan": asdict(plan)}, indent=1).encode())
    run = LongRun(args.text, args.out, shape, plan, log=log, workers=args.workers)
    if args.start and not run.progress.step:
        weights.begin(run, args.start)
    run.run()


def _given(kind: type[Shape] | type[Plan], args: argparse.Namespace) -> dict[str, Any]:
    return {field.name: getattr(args, field.name) for field in fields(kind)}


def _run(args: argparse.Namespace) -> LongRun:
    facts = json.loads((args.out / "run.json").read_text(encoding="utf-8"))
    return LongRun(args.text, args.out, Shape(**facts["shape"]), Plan(**facts["plan"]), log=log, workers=args.workers)


def export(args: argparse.Namespace) -> None:
    """The averaged weights as bfloat16."""
    log(f"{args.file}: {weights.write(args.file, _run(args)):,} weights")


def quantise(args: argparse.Namespace) -> None:
    """Exported weights as a model file; what that costs is said."""
    texts = [args.text / f"{name}.tokens" for name in VALIDATION] if args.text else []
    model = integers.make(args.weights, args.model, args.name, args.origin, nibbles=args.nibbles, texts=texts)
    log(f"{args.model}: {model.size:,} bytes, sha256 {model.sha256.hex()}")
    integers.loss(args.weights, model, texts, log)


def finish(args: argparse.Namespace) -> None:
    """Let the rate fall to zero over the next ``--tokens``; the state before is kept beside the checkpoint."""
    run = _run(args)
    if run.progress.finish_from >= 0:
        log("the rate is falling already: going on")
    else:
        torch.save(run.state(), args.out / "constant.pt")
        run.progress.finish_from, run.progress.finish_tokens = run.progress.tokens, args.tokens
        run.save()
    run.run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def command(name: str, call: object, out: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(name)
        sub.set_defaults(call=call)
        sub.add_argument("--text", type=Path, required=True, help="folder of tokens, made by prepare")
        if out:
            sub.add_argument("--out", type=Path, required=True, help="folder of the run")
            sub.add_argument("--threads", type=int, default=0, help="of the process that leads")
            sub.add_argument("--workers", type=int, default=0, help="processes that compute; 0: the leader alone")
        return sub

    sub = command("prepare", prepare, out=False)
    sub.add_argument("--packs", type=Path, required=True, help="folder of packs")
    sub.add_argument("--vocab", type=int, default=16384)
    sub.add_argument("--classes", type=int, default=128)
    sub.add_argument("--every", type=int, default=1, help="take every n-th document only")
    sub.add_argument("--like", type=Path, metavar="WEIGHTS", help="take tokenizer and classes from exported weights")
    sub.add_argument("--without", nargs="*", default=(), metavar="SOURCE", help="leave these sources out")
    sub = command("train", train)
    sub.add_argument("--start", type=Path, metavar="WEIGHTS", help="begin from exported weights, made by export")
    for kind in (Shape, Plan):
        for item in fields(kind):
            flag = "--" + item.name.replace("_", "-")
            if item.name in ("value_layers", "windows"):
                sub.add_argument(flag, type=int, nargs="*", default=())
            elif isinstance(item.default, bool):
                sub.add_argument(flag, action=argparse.BooleanOptionalAction, default=item.default)
            else:
                sub.add_argument(flag, type=type(item.default), default=item.default)
    sub = command("finish", finish)
    sub.set_defaults(tokens=0)
    sub.add_argument("--tokens", type=int, required=True)
    sub = command("export", export)
    sub.add_argument("file", type=Path)
    sub = commands.add_parser("quantise")
    sub.set_defaults(call=quantise)
    sub.add_argument("weights", type=Path, help="made by export")
    sub.add_argument("model", type=Path, help="model file to write")
    sub.add_argument("--text", type=Path, help="folder of tokens, to calibrate and measure on")
    sub.add_argument("--name", default="second", help="the model's name")
    sub.add_argument("--origin", default="", help="where it comes from, in words")
    sub.add_argument(
        "--nibbles", type=int, default=2, help="tables with 4 bits a number: 1 of values, 2 of pairs, 3 both, 0 none"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    args = _parser().parse_args(arguments)
    args.call(args)


if __name__ == "__main__":
    main()
