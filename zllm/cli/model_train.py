"""``zllm model train``: makes a model of your own text."""

from __future__ import annotations

import argparse
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from zllm.cli import options, output
from zllm.errors import MissingDependencyError, UsageError

_INSTALL = "pip install 'zllm[train]'"


def parser() -> options.Parser:
    """The command's parser. What is not given is left to the preset."""
    result = options.Parser(
        "model train", "Trains a model on your text. An interrupted run continues where it stopped."
    )
    result.add_argument("--data", type=Path, required=True, metavar="DIR", help="the text: every text file below DIR")
    result.add_argument("--from", dest="start", metavar="MODEL", help="start from this model, or from a run's folder")
    result.add_argument("--name", help="install the model under this name (with --output: its name in archives)")
    result.add_argument("--output", type=Path, metavar="FILE.zlm", help="write model and card here instead")
    result.add_argument("--force", action="store_true", help="replace the file, or another model of that name")
    result.add_argument("--work", type=Path, metavar="DIR", help="checkpoints (default: FILE.run, or one for NAME)")
    result.add_argument("--preset", metavar="NAME", help="shape and rates: default, fast, or tiny to try it out")
    result.add_argument("--origin", help="where the model comes from, for its description and archives")
    result.add_argument("--tokens", type=options.positive, metavar="N", help="stop after so many tokens")
    result.add_argument("--minutes", type=_minutes, metavar="M", help="stop after so many minutes of training")
    result.add_argument(
        "--held-out",
        type=_percent,
        metavar="PERCENT",
        help="share of the text to measure on instead of training on it (default 5)",
    )
    result.add_argument(
        "--patience", type=int, metavar="N",
        help="stop after N of 20 measurements without a new best (default 4); 0: never, and keep the last weights",
    )  # fmt: skip
    result.add_argument("--validation", type=Path, metavar="DIR", help="other text to measure on, for the card")
    result.add_argument("--about", type=Path, metavar="FILE", help="text for the card about the data and its licence")
    result.add_argument("--seed", type=int, help="another number, another run from the same text")
    options.threads(result)
    options.verbosity(result)
    return result


def _minutes(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of minutes")
    return value


def _percent(text: str) -> float:
    value = float(text)
    if not 0 <= value < 50:
        raise argparse.ArgumentTypeError(f"'{text}' is not from 0 to 49")
    return value / 100


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    args = parser().parse_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    if not args.data.is_dir():
        raise UsageError(f"{args.data} is not a folder: --data names the folder with the text")
    if args.output is None and args.name is None:
        raise UsageError("say where the model goes: --name NAME installs it, --output FILE.zlm writes a file")
    target, work = _places(args)
    try:
        from zllm.models.training import command
        from zllm.models.training.options import TrainOptions
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "numpy"):
            raise
        raise MissingDependencyError(error.name, _INSTALL, "training a model") from error
    given = {
        "preset": args.preset, "origin": args.origin, "tokens": args.tokens, "minutes": args.minutes, "seed": args.seed,
        "threads": options.thread_count(args), "validation": args.validation, "name": args.name or target.stem,
        "description": _text(args.about) if args.about else None, "start": args.start,
        "held_out": args.held_out, "patience": args.patience,
    }  # fmt: skip
    wanted = {key: value for key, value in given.items() if value is not None}
    command.train(TrainOptions(args.data, target, work, **wanted), console.note)
    if args.output is None:
        _install(target, args, console)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8") from None


def _places(args: argparse.Namespace) -> tuple[Path, Path]:
    """The file to write and the run's folder. A name that is taken is refused now, not after hours of work."""
    from zllm.models import folder, store

    if args.output is not None:
        work = args.work or args.output.with_suffix(".run")
        # Whoever goes on with a run has its folder, and its files are replaced.
        for path in (args.output, args.output.with_suffix(".md")):
            if os.path.lexists(path) and not work.is_dir() and not args.force:
                raise UsageError(f"{path} already exists, and is not of a run in {work}: pass --force to replace it")
        return args.output, work
    store.check_free(args.name, replace=args.force)
    work = args.work or folder.home() / "training" / args.name
    return work / f"{args.name}.zlm", work


def _install(made: Path, args: argparse.Namespace, console: output.Console) -> None:
    from zllm.models import store

    entry = store.add(made, args.name, replace=args.force)
    shutil.copyfile(made.with_suffix(".md"), entry.path.with_suffix(".md"))
    console.note(f"installed: use it with --model {args.name}. Its run is in {made.parent}, which may be removed")
