"""``zllm model``: the language models at hand, and training new ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zllm.cli import options, output
from zllm.cli.info import lines
from zllm.errors import MissingDependencyError, UsageError

if TYPE_CHECKING:
    from zllm.models.store import Model

_INSTALL = "pip install 'zllm[train]'"


def parser() -> options.Parser:
    """The command's parser. ``train`` has one of its own."""
    result = options.Parser("model", "list: the models at hand. show: all about one. train --help: make a new one.")
    result.add_argument("action", choices=("list", "show", "train"), metavar="list|show|train")
    result.add_argument("name", nargs="?", metavar="NAME|FILE", help="of show (default: the built-in model)")
    result.add_argument("--json", action="store_true", help="as JSON")
    options.verbosity(result)
    return result


def train_parser() -> options.Parser:
    """The parser of ``zllm model train``. What is not given is left to the preset."""
    result = options.Parser("model train", "Trains a model on your text. An interrupted run goes on where it was.")
    result.add_argument("--data", type=Path, required=True, metavar="DIR", help="the text: every .txt file below DIR")
    result.add_argument("--output", type=Path, required=True, metavar="FILE.zlm", help="the model; its card beside it")
    result.add_argument("--work", type=Path, metavar="DIR", help="checkpoints (default: FILE.run)")
    result.add_argument("--preset", metavar="NAME", help="shape and rates: default, fast, or tiny to try it out")
    result.add_argument("--name", help="the model's name in archives (default: FILE's)")
    result.add_argument("--origin", help="where it comes from, for its description")
    result.add_argument("--tokens", type=options.positive, metavar="N", help="stop after so many tokens")
    result.add_argument("--minutes", type=float, metavar="M", help="stop after so many minutes of training")
    result.add_argument("--validation", type=Path, metavar="DIR", help="other text, to measure it on for its card")
    result.add_argument("--about", type=Path, metavar="FILE", help="what the card says of the data and its licence")
    result.add_argument("--seed", type=int)
    options.threads(result)
    options.verbosity(result)
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    if argv and argv[0] == "train":
        _train(argv[1:], console)
        return
    args = parser().parse_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    if args.action == "list":
        _list(as_json=args.json)
    elif args.action == "show":
        _show(args.name, as_json=args.json)


def facts(model: Model) -> dict[str, Any]:
    """What identifies a model, for people and for JSON. Hashes are hexadecimal, ``size`` is in bytes."""
    return {
        "name": model.name,
        "sha256": model.sha256.hex(),
        "tokenizer_sha256": model.tokenizer_sha256.hex(),
        "size": model.size,
        "origin": model.origin,
        "arithmetic": model.arithmetic,
        "file": str(model.path),
    }


def _list(*, as_json: bool) -> None:
    from zllm.models import store

    models = [facts(model) for model in store.installed()]
    if as_json:
        print(json.dumps({"models": models}, indent=2))
        return
    for model in models:
        name, origin = output.printable(model["name"]), output.printable(model["origin"])
        print(f"{name:16} {output.size(model['size']):>8}  {model['sha256'][:16]}  {origin}")


def _show(name: str | None, *, as_json: bool) -> None:
    from zllm.models import store

    model = store.resolve(name)
    known = facts(model)
    known["shape"] = model.config.as_dict()
    card = model.path.with_suffix(".md")
    if as_json:
        print(json.dumps(known, indent=2))
        return
    print("\n".join(lines(known)))
    if card.exists():
        print(f"\n{card.read_text(encoding='utf-8').strip()}")


def _train(argv: Sequence[str], console: output.Console) -> None:
    args = train_parser().parse_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    if not args.data.is_dir():
        raise UsageError(f"{args.data} is no folder: --data names the folder with the text")
    try:
        from zllm.models.training import command
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "numpy"):
            raise
        raise MissingDependencyError(error.name, _INSTALL, "training a model") from error
    given = {
        "preset": args.preset, "origin": args.origin, "tokens": args.tokens, "minutes": args.minutes, "seed": args.seed,
        "threads": options.thread_count(args), "validation": args.validation, "name": args.name or args.output.stem,
        "description": args.about.read_text(encoding="utf-8").strip() if args.about else None,
    }  # fmt: skip
    work = args.work or args.output.with_suffix(".run")
    wanted = {key: value for key, value in given.items() if value is not None}
    command.train(command.TrainOptions(args.data, args.output, work, **wanted), console.note)
