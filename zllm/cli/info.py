"""``zllm info``: facts about an archive, or about this machine."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from typing import Any

from zllm.cli import options, output, reading


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
        name = options.take_archive(args, args.operands, command)
        with reading.opened(name, args) as archive:
            facts = archive_facts(name, archive)
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


def machine(threads: int | None) -> dict[str, Any]:
    """What speed and exactness depend on here."""
    from zllm import _native as native
    from zllm.cli.main import version

    return {
        "zllm": version(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {sys.byteorder}-endian",
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": threads,
        "kernel": os.environ.get("ZLLM_KERNEL") or native.usable_kernels()[0],
        "kernels": native.usable_kernels(),
        "arithmetic": native.ARITHMETIC_VERSION,
    }
