"""``zllm model verify``: checks models: hashes, structure, and the numbers that they compute."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from zllm.cli import options, output
from zllm.errors import EXIT_DAMAGED, EXIT_FAILURE, ModelError


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser(
        "model verify",
        "Reads models and checks hash, structure, known answer and tokenizer. Exit code 3: one of them is damaged.",
    )
    result.add_argument(
        "names", nargs="*", metavar="NAME|FILE", help="the models to check (default: all built-in and installed ones)"
    )
    result.add_argument("--json", action="store_true", help="as JSON")
    options.verbosity(result)
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    args = parser().parse_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    rows = []
    for label, path in _wanted(args.names):
        row = _verify(label, path, console)
        rows.append(row)
        if not args.json:
            print(f"{output.printable(row['name']):16} {row['state']}")
    if not args.names:
        rows += _dangling(console)
    if args.json:
        print(json.dumps({"models": rows}, indent=2))


def _wanted(names: Sequence[str]) -> Iterator[tuple[str, Path]]:
    from zllm.models import store

    if names:
        yield from ((name, store.locate(name)) for name in names)
    else:
        yield from ((", ".join(entry.names) or entry.path.stem[:16], entry.path) for entry in store.installed())


def _verify(label: str, path: Path, console: output.Console) -> dict[str, Any]:
    from zllm.models import verify

    state, why = "whole", ""
    try:
        why = "; ".join(verify.verify(path, verify.known_answers(path)))
        if why:
            console.warn(f"{label}: {why}")
    except verify.OtherArithmeticError as error:
        state, why = "of another version", str(error)
        console.error(f"{_named(label, why)}: train or import it again", EXIT_FAILURE)
    except OSError as error:
        state, why = "unreadable", output.message(error)
        console.error(_named(label, why), EXIT_FAILURE)
    except ModelError as error:
        state, why = "damaged", output.message(error)
        console.error(_named(label, why), EXIT_DAMAGED)
    return {"name": label, "file": str(path), "state": state, "why": why or None}


def _named(label: str, why: str) -> str:
    return why if why.startswith(label) else f"{label}: {why}"


def _dangling(console: output.Console) -> list[dict[str, Any]]:
    """Names that stand for no file."""
    from zllm.models import folder

    rows = []
    for name, what in folder.names().items():
        if what is None or not folder.path_of(what.sha256).exists():
            why = "the name's file is damaged" if what is None else f"its model (sha256 {what.sha256}) is not here"
            console.error(f"{name}: {why}: zllm model remove {name}", EXIT_DAMAGED)
            rows.append({"name": name, "file": None, "state": "damaged", "why": why})
    return rows
