"""``zllm model train``: makes a model of your own text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zllm.cli import options, output
from zllm.errors import MissingDependencyError, UsageError

_INSTALL = "pip install 'zllm[train]'"


def parser() -> options.Parser:
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
    args = parser().parse_args(argv)
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
