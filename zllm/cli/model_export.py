"""``zllm model export``: writes a model that is at hand to a file, for another machine or another person."""

from __future__ import annotations

import os
from collections.abc import Sequence

from zllm.cli import options, output
from zllm.errors import UsageError


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser("model export", "Writes a model to FILE.zlm, which zllm model import installs elsewhere.")
    result.add_argument("name", metavar="NAME", help="the model: its name, the start of its hash, or a file")
    result.add_argument("target", metavar="FILE.zlm|-", help="where to; - is stdout")
    result.add_argument("--force", action="store_true", help="replace the file if it exists")
    options.verbosity(result)
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    args = parser().parse_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    from zllm.models import store

    if args.target != "-" and not args.target.endswith(".zlm"):
        raise UsageError(f"{args.target}: name a file that ends in .zlm, which is the one format to export to")
    model = store.resolve(args.name)
    with output.target(args.target, force=args.force) as file:
        file.write(model.data)
    shown = output.printable(os.path.basename(args.target))
    console.detail(f"{shown}: {output.size(model.size)}, sha256 {model.sha256.hex()}")
