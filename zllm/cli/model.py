"""``zllm model``: what models there are; and the commands of its own that each other action is."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zllm.cli import options, output, suggestions
from zllm.cli.info import lines

if TYPE_CHECKING:
    from zllm.models.store import Entry, Model

SUMMARY = "list, import, train, check language models"

# Actions with options of their own: zllm.cli.MODULE has parser() and run(argv, console).
ACTIONS = {
    "import": "model_import",
    "add": "model_add",
    "train": "model_train",
    "export": "model_export",
    "remove": "model_remove",
    "verify": "model_verify",
}
_HELP = """list                 the models that are built in or installed
show [NAME|FILE]     all about one
import SOURCE        install a model file, the models in an archive, or a Hugging Face checkpoint
add FILE             the same for a model file or an archive
train                make one from your own text
export NAME FILE     write a model to a file
remove NAME...       remove installed models
verify [NAME...]     check hash, structure, known answer and tokenizer of all, or of some
Each has --help. A NAME may also be the start of a hash."""


def parser() -> options.Parser:
    """The parser of ``list`` and ``show``."""
    result = options.Parser("model", _HELP)
    result.add_argument("action", metavar="|".join(("list", "show", *ACTIONS)))
    result.add_argument("name", nargs="?", metavar="NAME|FILE", help="the model to show (default: the built-in one)")
    result.add_argument("--json", action="store_true", help="as JSON")
    options.verbosity(result)
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    if argv and argv[0] in ACTIONS:
        importlib.import_module(f"zllm.cli.{ACTIONS[argv[0]]}").run(argv[1:], console)
        return
    command = parser()
    args = command.parse_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    if args.action == "list":
        if args.name is not None:
            command.error("list shows all models: zllm model show NAME is about one")
        _list(as_json=args.json)
    elif args.action == "show":
        _show(args.name, as_json=args.json)
    elif args.action in ACTIONS:
        command.error(f"{args.action} comes first: zllm model {args.action} ...")
    else:
        command.error(suggestions.unknown_word(args.action, ("list", "show", *ACTIONS), "action"))


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


def entry_facts(entry: Entry) -> dict[str, Any]:
    """What can be said of a model without reading it. ``sha256`` is None for a file that was copied into the folder."""
    return {
        "name": entry.name,
        "names": list(entry.names),
        "sha256": entry.sha256 or None,
        "size": entry.size,
        "origin": entry.description.get("origin"),
        "arithmetic": entry.description.get("arithmetic"),
        "built_in": entry.builtin,
        "file": str(entry.path),
        "problem": entry.problem or None,
    }


def _list(*, as_json: bool) -> None:
    from zllm.models import store

    models = [entry_facts(entry) for entry in store.installed()]
    if as_json:
        print(json.dumps({"models": models}, indent=2))
        return
    for model in models:
        name = output.printable(", ".join(model["names"]) or "-")
        what = output.printable(model["problem"] or model["origin"])
        print(f"{name:16} {output.size(model['size']):>8}  {(model['sha256'] or '-')[:16]:16}  {what}")


def _show(name: str | None, *, as_json: bool) -> None:
    from zllm._native.modelfile import FAMILY
    from zllm.models import store

    model = store.resolve(name)
    known = facts(model)
    known["family"] = model.description["config"].get("family", FAMILY)
    known["shape"] = model.file.shape
    card = model.path.with_suffix(".md")
    if as_json:
        print(json.dumps(known, indent=2))
        return
    print("\n".join(lines(known)))
    if card.exists():
        print()
        for line in card.read_text(encoding="utf-8", errors="surrogateescape").strip().split("\n"):
            print(line if line.isprintable() else output.printable(line))
