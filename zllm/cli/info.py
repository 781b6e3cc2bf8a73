"""``zllm info``: facts about an archive, or about this machine."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from typing import Any

from zllm.cli import options, output, reading
from zllm.errors import ZllmError


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser("info", "Facts about ARCHIVE: format, sizes, codecs, the models that it needs.")
    reading.arguments(result)
    result.add_argument("--json", action="store_true", help="as one JSON object")
    result.add_argument("--machine", action="store_true", help="about this machine instead: kernels, threads")
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    command = parser()
    args = command.parse_intermixed_args(argv)
    if args.machine:
        facts = machine(options.thread_count(args))
    else:
        args.archive = options.take_archive(args, args.operands, command)
        with reading.opened(args, console) as archive:
            facts = archive_facts(args.archive, archive, console)
    if args.json:
        print(json.dumps(facts, indent=2))
    else:
        for line in lines(facts):
            print(line)


def lines(facts: dict[str, Any], indent: str = "") -> list[str]:
    """``facts`` for people: a line each, what is nested below its name."""
    result = []
    for key, value in facts.items():
        label = f"{indent}{key.replace('_', ' ')}:"
        if isinstance(value, dict):
            result += [label, *lines(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for item in value:
                result += [label, *lines(item, indent + "  ")]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            result.append(f"{label} {output.printable(str(text))}" if text not in (None, "") else f"{label} -")
    return result


def archive_facts(name: str, archive: reading.Archive, console: output.Console) -> dict[str, Any]:
    """What can be said of an archive without decoding it. Sizes in bytes; None is what a pipe does not tell."""
    codecs: dict[str, dict[str, Any]] = {}
    count = size = 0
    for member in reading.members(archive, console):
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
        "complete": archive.problem is None,
        "members": count,
        "size": size,
        "coded_size": coded,
        "bits_per_byte": round(8 * coded / size, 4) if coded and size else None,
        "sections": len(archive.layout.rows) if archive.layout is not None else None,
        "codecs": codecs,
        "models": [{**entry, "installed": _installed(entry)} for entry in manifest.get("models", [])],
    }


def _installed(entry: dict[str, Any]) -> bool:
    from zllm.models import store

    try:
        return bool(store.find(bytes.fromhex(entry["sha256"])).arithmetic == entry["arithmetic"])
    except (ZllmError, KeyError, TypeError, ValueError):
        return False


def machine(threads: int | None) -> dict[str, Any]:
    """What speed and exactness depend on here."""
    from zllm import _native as native
    from zllm.archive.options import thread_count
    from zllm.cli.main import version

    return {
        "zllm": version(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {sys.byteorder}-endian",
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": thread_count(threads),
        "kernel": os.environ.get("ZLLM_KERNEL") or native.usable_kernels()[0],
        "kernels": native.usable_kernels(),
        "arithmetic": native.ARITHMETIC_VERSION,
    }
