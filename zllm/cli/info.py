"""``zllm info``: facts about an archive, or about this machine."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from typing import Any

from zllm.archive.archive import Archive
from zllm.cli import options, output, reading
from zllm.errors import DamagedError, KernelError, UsageError, ZllmError
from zllm.version import VERSION

SUMMARY = "facts about an archive or about this machine"


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser("info", "Facts about ARCHIVE: format, sizes, codecs, the models that it needs.")
    reading.arguments(result, decodes=False)
    result.add_argument("--json", action="store_true", help="as one JSON object")
    result.add_argument(
        "--requires", action="store_true",
        help="what unpacking it needs, what of that is here, and how to get the rest; code 4: something is missing",
    )  # fmt: skip
    result.add_argument("--note", metavar="NAME", help="write the content of a note to stdout, such as unzllm.tar.gz")
    result.add_argument("--machine", action="store_true", help="about this machine instead: kernels, threads")
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    command = parser()
    args = command.parse_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    if args.machine:
        if args.requires or args.operands or args.file is not None:
            command.error("--machine is about this machine: leave out the archive and --requires")
        facts = machine(options.thread_count(args))
    else:
        args.archive = options.take_archive(args, args.operands, command)
        if args.operands:
            command.error(f"one archive at a time: '{args.operands[0]}' is one name too many")
        with reading.opened(args, console) as archive:
            if args.note is not None:
                _show_note(archive, args.note)
                return
            if args.requires:
                from zllm.cli import requires

                facts = requires.facts(args.archive, archive, console)
            else:
                facts = archive_facts(args.archive, archive, console)
    if args.json:
        print(json.dumps(facts, indent=2))
    else:
        for line in lines(facts):
            print(line)


def lines(facts: dict[str, Any], indent: str = "") -> list[str]:
    """``facts`` for people: a line each; what is nested, and a list with a dash for each item, below its name."""
    result = []
    for key, value in facts.items():
        label = f"{indent}{output.printable(key.replace('_', ' '))}:"
        if isinstance(value, dict) and value:
            result += [label, *lines(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            result.append(label)
            for item in value:
                first, *rest = lines(item, indent + "    ")
                result += [f"{indent}  - {first.strip()}", *rest]
        else:
            result.append(f"{label} {output.printable(_text(value))}")
    return result


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return "-" if value is None or value in ("", {}) else str(value)


def archive_facts(name: str, archive: Archive, console: output.Console) -> dict[str, Any]:
    """What can be said of an archive without decoding it. Sizes in bytes; None is what a pipe does not tell."""
    codecs: dict[str, dict[str, Any]] = {}
    count = size = 0
    for member in reading.members(archive, name, console):
        row = codecs.setdefault("+".join(member.codecs), {"members": 0, "size": 0, "coded_size": 0})
        row["members"] += 1
        row["size"] += member.size if member.isreg() else 0
        row["coded_size"] += member.coded_size
        count, size = count + 1, size + (member.size if member.isreg() else 0)
    codecs.pop("", None)
    coded = os.stat(name).st_size if archive.layout is not None and name != "-" else None
    manifest = archive.manifest
    return {
        "archive": name,
        "format": manifest.get("format"),
        "created_by": manifest.get("created_by"),
        "level": manifest.get("level"),
        "encrypted": archive.encrypted,
        "complete": not any(isinstance(problem, DamagedError) for problem in archive.problems),
        "members": count,
        "size": size,
        "coded_size": coded,
        "bits_per_byte": round(8 * coded / size, 4) if coded and size else None,
        "sections": len(archive.layout.rows) if archive.layout is not None else None,
        **({"notes": found} if (found := _notes(archive)) else {}),
        "codecs": codecs,
        "models": [{**entry, "installed": _installed(entry)} for entry in manifest.get("models", [])],
    }


def _notes(archive: Archive) -> list[dict[str, Any]]:
    if archive.layout is None:
        return []
    from zllm.archive import carried

    found = carried.notes(archive.file, archive.layout)
    return [{"name": note.name, "type": note.media_type, "size": size} for note, size in found]


def _show_note(archive: Archive, name: str) -> None:
    if archive.layout is None:
        raise UsageError("notes are read from a file, not from a pipe")
    from zllm.archive import carried

    note = carried.read(archive.file, archive.layout, name)
    output.stdout(binary=not note.media_type.startswith("text/")).write(note.content)


def _installed(entry: dict[str, Any]) -> bool:
    from zllm.models import store

    try:
        model = store.find(bytes.fromhex(entry["sha256"]), size=int(entry["size"]))
        return bool(model.arithmetic == entry["arithmetic"])
    except (ZllmError, KeyError, TypeError, ValueError):
        return False


def machine(threads: int | None) -> dict[str, Any]:
    """What speed and exactness depend on here."""
    from zllm import _native as native
    from zllm.archive.options import thread_count

    usable = native.usable_kernels()
    chosen = os.environ.get("ZLLM_KERNEL") or usable[0]
    native.check_kernel(chosen)  # one that was demanded may not be there
    return {
        "zllm": VERSION,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {sys.byteorder}-endian",
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": thread_count(threads),
        "kernel": chosen,
        "kernels": {name: _kernel(name) for name in usable},
        "arithmetic": native.ARITHMETIC_VERSION,
    }


def _kernel(name: str) -> dict[str, Any]:
    """How fast a kernel multiplies and adds on one core, and whether it computes what the scalar code does."""
    from zllm import _native as native

    try:
        native.check_kernel(name)
        check = "same integers as the scalar code"
    except KernelError as error:
        check = str(error)
    # A few repeats: the shortest counts, and a slow kernel takes milliseconds for each.
    rate = native.kernel_rate(name, rows=256, cols=256, batch=32, repeats=4)
    return {
        "billion_multiply_adds_a_second": round(rate / 1e9, 1),
        "predictor": native.predictor_variant(name),
        "self_check": check,
    }
