"""``zllm model remove``: removes installed models."""

from __future__ import annotations

from collections.abc import Sequence

from zllm.cli import options, output
from zllm.errors import EXIT_MISSING, MissingModelError, UsageError


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser(
        "model remove",
        "Removes installed models. By NAME: the name, and the file if it has no other name.\n"
        "By the first 8 or more digits of a HASH: the file with all of its names.",
    )
    result.add_argument("names", nargs="+", metavar="NAME|HASH", help="the models to remove")
    options.verbosity(result)
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    args = parser().parse_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    for name in args.names:
        try:
            console.detail(_remove(name))
        except MissingModelError:
            console.error(f"{name}: no such model is installed. zllm model list shows what is here", EXIT_MISSING)


def _remove(name: str) -> str:
    from zllm.models import folder, store

    if name in store.BUILT_IN:
        raise UsageError(f"{name!r} is built in and cannot be removed")
    if name in folder.names():
        sha256, gone = folder.remove_name(name)
        shown = output.printable(name)
        return f"{shown}: removed" if gone else f"{shown}: removed; its file stays (sha256 {sha256[:16]}...)"
    path = folder.by_prefix(name)
    if path is None:
        path = next((entry.path for entry in store.installed() if name in entry.names), None)
    if path is None or path.parent != folder.models():
        raise MissingModelError(name, "", 0)
    names = folder.remove_file(path)
    return f"{output.printable(', '.join(names) or path.name)}: removed"
