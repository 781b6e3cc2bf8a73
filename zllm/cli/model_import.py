"""``zllm model import FOLDER|REPOSITORY``: makes a model of a Hugging Face checkpoint, and installs it."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from zllm.cli import options, output, places, progress
from zllm.errors import MissingDependencyError, UsageError

if TYPE_CHECKING:
    from zllm.models.importing.command import Report

_INSTALL = "pip install 'zllm[hf]'"
_NEEDED = ("torch", "numpy", "transformers", "safetensors", "huggingface_hub")
_PROMISE = 0.005  # of the float network's bits; more is a warning


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser(
        "model import",
        "Makes a model of a checkpoint (Llama, Qwen2, Qwen3, GPT-2 or GPT-NeoX): a folder in Hugging Face layout or a\n"
        "repository of the hub, of which only safetensors are read, or a GGUF file, as llama.cpp has them. A .zlm\n"
        "file is installed as it is, and so are the models in an archive.",
    )
    result.add_argument(
        "source", metavar="FOLDER|ORG/NAME|FILE.gguf|FILE.zlm|ARCHIVE.zllm",
        help="a checkpoint, a model file (- reads one from stdin), or an archive made with --embed-model",
    )  # fmt: skip
    result.add_argument("--revision", metavar="R", help="branch, tag or commit of the hub's repository")
    result.add_argument("--name", help="install the model under this name (default: the source's)")
    result.add_argument("--output", type=Path, metavar="FILE.zlm", help="write this file instead of installing")
    result.add_argument("--calibration", type=Path, metavar="FILE", help="text to choose scales by (default: built in)")
    result.add_argument(
        "--window", type=options.positive, metavar="N",
        help="attention window in tokens (default: 2048, or what the model was trained with if that is less)",
    )  # fmt: skip
    result.add_argument("--force", action="store_true", help="replace the file, or another model of that name")
    options.threads(result)
    options.verbosity(result)
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    args = parser().parse_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    if _is_file(args.source):
        _add(args, argv, console)
        return
    if os.path.isfile(args.source) and not args.source.lower().endswith(".gguf"):
        raise UsageError(f"{args.source} is neither a folder nor a file that ends in .gguf, .zlm or .zllm")
    from zllm.models import store

    name = args.name or default_name(args.source)
    if args.output is None:
        store.check_free(name, replace=args.force)
    elif args.output.exists() and not args.output.is_file():
        raise UsageError(f"{args.output} is not a file: name one that ends in .zlm")
    elif os.path.lexists(args.output) and not args.force:
        raise UsageError(f"{args.output} already exists: pass --force to replace it")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "" if progress.wanted(console) else "1")
    try:
        import torch

        from zllm.models.importing import command
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        raise MissingDependencyError(error.name, _INSTALL, "importing a model") from error
    torch.set_num_threads(options.thread_count(args) or torch.get_num_threads())
    with _target(args.output) as path:
        given = args.revision, args.calibration, args.window, args.force
        wanted = command.ImportOptions(args.source, path, name, *given)
        report = command.import_model(wanted, _bars(console))
        if args.output is None:
            report.path = store.add(path, name, replace=args.force).path
    for line in lines(report, name):
        console.note(line)
    if report.loss > _PROMISE:
        console.warn(f"{name}: integers cost {report.loss:.2%} more bits than floating point on this sample")


def _add(args: argparse.Namespace, argv: Sequence[str], console: output.Console) -> None:
    from zllm.cli import model_add

    if args.revision or args.output or args.calibration or args.window:
        raise UsageError(f"{args.source} is not a checkpoint: models in it are installed as they are, by --name alone")
    model_add.run(argv, console)


def _is_file(source: str) -> bool:
    """Whether it is a model file or an archive, or a pipe that one comes from."""
    if source == "-" or places.is_special(source):
        return True
    return source.endswith((".zlm", ".zllm")) and not os.path.isdir(source)


def default_name(source: str) -> str:
    """The last part of a folder's or a repository's name, with what a name cannot have replaced."""
    last = os.path.basename(os.path.abspath(source)) if os.path.isdir(source) else source.rpartition("/")[2]
    last = last.removesuffix(".gguf")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip(".-") or "imported"


def lines(report: Report, name: str) -> list[str]:
    """What the import found, for people."""
    size = output.size(report.size)
    if report.exact:
        return [f"{name}: {size}, the same integers that were exported", f"written to {report.path}"]
    return [
        f"{name}: {size}; {report.wide} of {report.inputs} matrix inputs have 15 bits, the others 8",
        f"float {report.float_bits:.4f}, integer {report.integer_bits:.4f} bits per byte: {report.loss:+.2%} on "
        f"{report.tokens} tokens that nothing was chosen by",
        f"about {output.size(int(report.speed))}/s with one thread on this machine",
        f"written to {report.path}",
    ]


@contextmanager
def _target(path: Path | None) -> Iterator[Path]:
    """The file to write: the one that was asked for, or one that the store takes over."""
    if path is not None:
        yield path
        return
    from zllm.models import folder

    with folder.workplace() as place:
        yield place / "model.zlm"


def _bars(console: output.Console) -> Callable[[str, int], progress.Progress]:
    def bar(label: str, total: int) -> progress.Progress:
        return progress.Progress(console, label, total, unit="B" if label == "hashing" else "")

    return bar
