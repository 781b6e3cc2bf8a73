"""The program: finds the command, runs it, and turns every outcome into an exit code and at most one line."""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from zllm.cli import output, signals, standard, suggestions
from zllm.errors import EXIT_FAILURE, UsageError, ZllmError
from zllm.version import VERSION

# A command is a module zllm.cli.NAME (list: list_) with SUMMARY, a line for the help, and run(argv, console); it is
# imported when it is called. In the help these come first, others after them.
_FIRST = (
    "create", "extract", "list", "test", "cat", "info", "append", "update", "delete", "compact", "diff", "model",
    "bench", "filter",
)  # fmt: skip
_LOG_JSON = "--log-json"
_TAR_LETTERS = {"c": "create", "x": "extract", "t": "list"}

_USAGE = """usage: zllm COMMAND ...            zllm COMMAND --help shows its options
       zllm < in > out             compress; decompress, if the input is a zllm archive (tar -I zllm)
       zllm -d < in > out          decompress, as unzllm does
       zllm FILE...                each to FILE.zllm; zllm -d FILE.zllm..., -t, -l, --rm as zstd has them

commands:
{commands}

tar's letters work too: zllm -cvf ARCHIVE PATH..., zllm -xf ARCHIVE, zllm -tvf ARCHIVE
ZLLM_LEVEL=N and ZLLM_THREADS=N set level and number of threads, ZLLM_DEBUG=1 shows where an error came from.
{epilog}
"""


def main(argv: Sequence[str] | None = None, program: str | None = None, *, last: bool = False) -> int:
    """Runs the program ``zllm`` with ``argv`` (default: the process's) and returns its exit code.

    Signals are handled as on the command line, afterwards as before, unless this is the ``last`` thing that the
    process does.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    name = program or ("unzllm" if os.path.basename(sys.argv[0]).startswith("unzllm") else "zllm")
    words, as_json = _without_log_json(words)
    console = _json_console() if as_json else output.Console()
    undo: Callable[[], None] | None = None
    try:
        undo = signals.install()
        with contextlib.suppress(SystemExit):  # argparse after --help
            _dispatch(words, name, console)
        if sys.stdout is not None:
            sys.stdout.flush()
        console.finished(console.status)
    except BaseException as error:  # the one place where all errors end
        _explain(error, console)
        console.finished(console.status)
    finally:
        if undo is not None and not last:
            undo()
    return console.status


def run_zllm() -> int:
    """``main`` as the last thing that a process does."""
    standard.prepare()
    return _last(main(last=True))


def run_unzllm() -> int:
    """The same as the program ``unzllm``: ``zllm -d``."""
    standard.prepare()
    return _last(main(program="unzllm", last=True))


def _last(status: int) -> int:
    # Or else the interpreter looks through all that was imported for garbage: a tenth of what listing an archive takes.
    gc.freeze()
    return status


def _without_log_json(words: list[str]) -> tuple[list[str], bool]:
    """The command line without the option, which every command has, and whether it was there."""
    end = words.index("--") if "--" in words else len(words)
    rest = [word for word in words[:end] if word != _LOG_JSON]
    return rest + words[end:], len(rest) < end


def _json_console() -> output.Console:
    from zllm.cli.jsonlog import JsonConsole

    return JsonConsole()


def _dispatch(words: list[str], program: str, console: output.Console) -> None:
    if words[:1] == ["help"] and len(words) > 1:
        words = [*words[1:], "--help"]
    if words and words[0] in ("-h", "--help", "help"):
        from zllm.cli import options

        print(_USAGE.format(commands="\n".join(f"  {k:9}{v}" for k, v in commands().items()), epilog=options.EPILOG))
    elif words and words[0] in ("-V", "--version", "version"):
        print(f"zllm {VERSION}")
    else:
        console.to_stdout = program == "unzllm"
        command, rest = choose(words, program)
        command_module(command).run(rest, console)


def command_module(name: str) -> Any:
    """The module of the command, or None if there is no such command."""
    for module in (name, f"{name}_"):
        if name.isidentifier() and name[-1] != "_" and importlib.util.find_spec(f"zllm.cli.{module}") is not None:
            found = importlib.import_module(f"zllm.cli.{module}")
            if hasattr(found, "SUMMARY"):
                return found
    return None


def commands() -> dict[str, str]:
    """What each command does, in a line, in the order of the help. Imports all of them."""
    import pkgutil

    import zllm.cli

    names = {info.name.removesuffix("_") for info in pkgutil.iter_modules(zllm.cli.__path__)}
    found = {name: module.SUMMARY for name in sorted(names) if (module := command_module(name)) is not None}
    return {name: found[name] for name in sorted(found, key=lambda name: (*_FIRST, name).index(name))}


def choose(words: list[str], program: str = "zllm") -> tuple[str, list[str]]:
    """The command that ``words`` ask for, and its arguments.

    Raises:
        UsageError: the first word is not a command.
    """
    if program == "unzllm":
        return "filter", ["-d", *words]
    if not words:
        return "filter", []
    first = words[0]
    if command_module(first) is not None:
        return first, words[1:]
    # A cluster of tar's letters; f, which ends it, tells it from the filter's -c (to stdout, as gzip and zstd have it).
    if match := re.fullmatch(r"-?([vpk]*)([cxt])([vpk]*)f", first):
        command, others = _TAR_LETTERS[match[2]], match[1] + match[3]
        if command != "extract":
            others = others.replace("p", "")  # nothing to do: modes are packed and shown in any case
        if command == "extract" or "k" not in others:
            return command, [f"-{letter}" for letter in others] + ["-f", *words[1:]]
    if slip := suggestions.tar_letters(first):
        raise UsageError(slip)
    if first.startswith("-") or suggestions.is_file(first):
        return "filter", words
    raise UsageError(suggestions.unknown_command(first, commands()))


def _explain(error: BaseException, console: output.Console) -> None:
    """Says what went wrong and sets the exit code; ends the process if a signal did it."""
    if os.environ.get("ZLLM_DEBUG", "") not in ("", "0"):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, (KeyboardInterrupt, BrokenPipeError)):
        number = signal.SIGPIPE if isinstance(error, BrokenPipeError) else getattr(error, "signum", signal.SIGINT)
        console.finished(128 + number)
        signals.die(number)
    if isinstance(error, SystemExit):
        raise error
    console.error(output.message(error), error.exit_code if isinstance(error, ZllmError) else EXIT_FAILURE)
    _drop_stdout()


def _drop_stdout() -> None:
    # What could not be written would be tried again, noisily, when the interpreter ends.
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
