"""``zllm model import FILE.zlm`` (and ``add``): installs a model file, or the models that an archive carries."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from zllm.cli import options, output, places
from zllm.errors import UsageError


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser(
        "model import",
        "Installs a .zlm file: --model NAME then means it, and archives that need it find it by its hash.\n"
        "From an archive (.zllm) made with --embed-model it installs the models in it.",
    )
    result.add_argument("source", metavar="FILE.zlm", help="the model file, or an archive; - reads a model from stdin")
    result.add_argument("--name", help="its name here (default: the one in the file)")
    result.add_argument("--force", action="store_true", help="give it the name even if another model has it")
    options.verbosity(result)
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    args = parser().parse_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    from zllm.models import store

    for source in _sources(args):
        entry = store.add(source, args.name, replace=args.force)
        console.detail(f"{output.printable(entry.name)}: installed, {output.size(entry.size)}, sha256 {entry.sha256}")


def _sources(args: argparse.Namespace) -> Iterator[Path | bytes | memoryview]:
    path = Path(args.source)
    if args.source == "-" or places.is_special(args.source):
        with output.source(args.source) as file:
            data = _received(file, args.source)
        yield data
    elif path.is_dir():
        raise UsageError(f"{args.source} is a folder, not a model file: give it to zllm model import")
    elif path.suffix == ".zllm":
        yield from _embedded(path)
    else:
        yield path


def _received(file: BinaryIO, name: str) -> bytes:
    from zllm.models import zlm

    with output.about(name):
        return zlm.receive(file)


def _embedded(path: Path) -> Iterator[bytes | memoryview]:
    """The models in an archive."""
    from zllm.archive import layout
    from zllm.archive.embedded import in_file

    with path.open("rb") as file:
        places = [place for copies in layout.find(file).models.values() for place in copies]
        for place in places:
            yield in_file(file, place).fetch()[1]
    if not places:
        raise UsageError(f"{path}: there is no model in this archive: it was not made with --embed-model")
