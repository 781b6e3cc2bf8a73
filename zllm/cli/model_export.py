"""``zllm model export``: writes a model that is at hand to a file, for another machine or another person."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zllm.cli import options, output, places
from zllm.errors import MissingDependencyError, UsageError

if TYPE_CHECKING:
    from zllm.models.store import Model


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser(
        "model export",
        "Writes a model to FILE.zlm, or to a folder in Hugging Face layout; zllm model import reads both.",
    )
    result.add_argument("name", metavar="NAME", help="the model: its name, the start of its hash, or a file")
    result.add_argument("target", metavar="FILE.zlm|DIR|-", help="the file or folder to write; - is stdout")
    result.add_argument("--force", action="store_true", help="replace the file if it exists")
    options.verbosity(result)
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    args = parser().parse_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    from zllm.models import store

    model = store.resolve(args.name)
    if not args.target:
        raise UsageError("the name of the target is empty: name a file or a folder")
    if args.target != "-" and not args.target.endswith(".zlm") and not places.is_special(args.target):
        _folder(model, args.target, force=args.force)
        console.detail(f"{output.printable(args.target)}: written in Hugging Face layout")
        return
    with output.target(args.target, force=args.force) as file:
        file.write(model.data)
    shown = output.printable(os.path.basename(args.target))
    console.detail(f"{shown}: {output.size(model.size)}, sha256 {model.sha256.hex()}")


def _folder(model: Model, target: str, *, force: bool) -> None:
    """In Hugging Face layout."""
    if os.path.exists(target) and (not os.path.isdir(target) or (os.listdir(target) and not force)):
        raise UsageError(f"{target} already exists: name a new folder, or pass --force")
    try:
        from zllm.models.exporting import export
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "numpy", "safetensors"):
            raise
        raise MissingDependencyError(error.name, "pip install 'zllm[hf]'", "exporting a folder") from error
    export(model, Path(target))
