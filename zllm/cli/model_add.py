"""``zllm model import FILE.zlm`` (and ``add``): installs a model file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zllm.cli import options, output
from zllm.errors import UsageError


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser(
        "model import",
        "Installs a .zlm file: --model NAME then means it, and archives that need it find it by its hash.",
    )
    result.add_argument("source", metavar="FILE.zlm", help="the model file; - reads it from stdin")
    result.add_argument("--name", help="its name here (default: the one in the file)")
    result.add_argument("--force", action="store_true", help="give it the name even if another model has it")
    options.verbosity(result)
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    args = parser().parse_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    from zllm.models import store, zlm

    if args.source == "-":
        entry = store.add(output.stdin().read(zlm.MAX_FILE + 1), args.name, replace=args.force)
    else:
        path = Path(args.source)
        if path.is_dir():
            raise UsageError(f"{args.source} is a folder: this version imports .zlm files only")
        entry = store.add(path, args.name, replace=args.force)
    console.detail(f"{output.printable(entry.name)}: installed, {output.size(entry.size)}, sha256 {entry.sha256}")
