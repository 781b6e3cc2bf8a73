"""Options that several commands share, each defined once."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from zllm.cli import passphrases, suggestions, words
from zllm.errors import UsageError
from zllm.format.limits import DEFAULT, Limits
from zllm.stats import Stats

if TYPE_CHECKING:
    from zllm.archive.options import Cluster, Options, ReadOptions, WriteOptions

EPILOG = "exit codes: 0 done, 1 with warnings, 2 usage or failure, 3 damaged archive, 4 model, codec or key missing"


MAX_THREADS = 1024
_SEVERAL = ("identities", "recipients")
_VARIABLE = "ZLLM_LEVEL="


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors go the way of all errors: one line, exit code 2."""

    def __init__(self, command: str, description: str, **kwargs: Any) -> None:
        program = f"zllm {command}".rstrip()
        super().__init__(
            prog=program, description=description, allow_abbrev=False, epilog=EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs,
        )  # fmt: skip

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """The arguments in ``args``; options and operands may come in any order, and after ``--`` come operands only.

        Raises:
            UsageError: there is no such option, or one operand too many or too few.
        """
        read = words.Reader(self._option_string_actions, self.error)(args or [])
        for action in self._actions:
            if action.nargs != 0:
                action.type = words.unmarking(action.type)
        found, extra = self.parse_known_args(read, namespace)
        if extra:
            self.error(f"one name too many: '{words.plain(extra[0])}'")
        return found

    parse_intermixed_args = parse_args  # type: ignore[assignment]

    def error(self, message: str) -> NoReturn:
        """Raises UsageError instead of printing the usage and leaving."""
        text = message.removeprefix("argument ").replace("the following arguments are required: ", "missing: ")
        text = text.replace("not allowed with argument", "not allowed with")
        end = "" if text.endswith((".", "?")) else "."
        raise UsageError(f"{text}{end} {self.prog} --help lists the options")


def verbosity(parser: argparse.ArgumentParser, verbose: str = "say more") -> None:
    """``-v``, whose help is ``verbose``, and ``-q``."""
    parser.add_argument("-v", "--verbose", action="count", default=0, help=verbose)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar, no notes")
    parser.add_argument(  # taken by the program before the command sees it
        "--log-json", action="store_true", help="messages, progress and the outcome as JSON lines on stderr"
    )


def threads(parser: argparse.ArgumentParser) -> None:
    """``-j``."""
    parser.add_argument(
        "-j", "--threads", type=_thread_number, metavar="N",
        help="worker threads (default: $ZLLM_THREADS, else one per processor); never changes a byte of the result",
    )  # fmt: skip


def limit(parser: argparse.ArgumentParser) -> None:
    """``--limit``: ``args.limits`` is a :class:`zllm.Limits`."""
    parser.add_argument(
        "--limit", dest="limits", action=_Limit, type=str, default=DEFAULT, metavar="NAME=SIZE",
        help="refuse an archive with more of NAME, e.g. output-bytes=10G, members=1000 (docs/cli.md lists them)",
    )  # fmt: skip


def generation(parser: argparse.ArgumentParser) -> None:
    """``--generation``."""
    parser.add_argument(
        "--generation", type=_number, metavar="N",
        help="the archive as it was when generation N, counted from 0, was its last (list --generations shows them)",
    )  # fmt: skip


class _Limit(argparse.Action):
    """Sets one of the limits."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        name, equals, text = values.partition("=")
        fields = {field.name.replace("_", "-"): field.name for field in dataclasses.fields(Limits)}
        match = re.fullmatch("([0-9]{1,18})([kMGT]?)", text)
        if name not in fields:
            raise argparse.ArgumentError(self, f"unknown limit '{name}': choose one of {', '.join(sorted(fields))}")
        if not equals:
            raise argparse.ArgumentError(self, f"the size is missing: {name}=SIZE")
        if match is None:
            raise argparse.ArgumentError(
                self, f"'{text}' is not a size, such as 5000 or 10G (k, M, G, T: powers of 1024)"
            )
        size = int(match[1]) << 10 * " kMGT".index(match[2] or " ")
        setattr(namespace, self.dest, dataclasses.replace(getattr(namespace, self.dest), **{fields[name]: size}))


def device(parser: argparse.ArgumentParser) -> None:
    """``--device`` and ``--executor``."""
    parser.add_argument(
        "--device", default="auto", metavar="cpu|cuda[:N]|auto",
        help="what computes the model (default: auto: a CUDA device for a large model, if there is one, else the "
        "processor); never changes a byte",
    )  # fmt: skip
    parser.add_argument(
        "--executor", default="auto", metavar="native|torch|auto",
        help="what program computes it (default: auto: the C core on a processor, torch on a CUDA device)",
    )  # fmt: skip


def statistics(parser: argparse.ArgumentParser) -> None:
    """``--stats``: ``args.stats`` is a collector, or None."""
    parser.add_argument(
        "--stats", action="store_const", const=Stats(), help="print on stderr where time, bytes and memory went"
    )


def model(parser: argparse.ArgumentParser, purpose: str) -> None:
    """``--model``, once or several times."""
    parser.add_argument("--model", action="append", metavar="NAME|FILE", help=purpose)


def levels(parser: argparse.ArgumentParser, default: int | None = 6, said: str = "6") -> None:
    """Level and model: what decides how data is coded. ``said``: what the help calls the default level."""
    from zllm.planner.levels import LEVELS

    group = parser.add_argument_group("levels", "\n".join(f"{n}  {LEVELS[n].description}" for n in sorted(LEVELS)))
    if default is not None and os.environ.get("ZLLM_LEVEL"):
        group.add_argument("--level", type=_level, default=f"{_VARIABLE}{os.environ['ZLLM_LEVEL']}", metavar="1-9",
                           help="default: $ZLLM_LEVEL")  # fmt: skip
    else:
        group.add_argument("--level", type=_level, default=default, metavar="1-9", help=f"default: {said}")
    for number in sorted(LEVELS):
        group.add_argument(f"-{number}", dest="level", action="store_const", const=number, help=argparse.SUPPRESS)
    model(group, "language model for text (default: the built-in one); given several times, each text gets the best")  # type: ignore[arg-type]
    group.add_argument("--no-llm", dest="llm", action="store_false", help="no language model, at any level")


def coding(parser: argparse.ArgumentParser, *, added: bool = False) -> None:
    """Options of everything that writes an archive: level, model, threads, device. ``added``: to one that is there,
    whose level is the default.
    """
    if added:
        levels(parser, None, "that of the archive")
    else:
        levels(parser)
    parser.add_argument(
        "--embed-model", action="store_true",
        help="put the model into the archive, if it is used: then nothing else is needed to unpack it",
    )  # fmt: skip
    parser.add_argument(
        "--streams", type=positive, metavar="N",
        help="cut text that a model codes into at most N streams (to 256): fewer see more, more decode faster",
    )  # fmt: skip
    parity(parser)
    verify(parser)
    threads(parser)
    device(parser)


def parity(parser: argparse.ArgumentParser) -> None:
    """``--parity``."""
    parser.add_argument(
        "--parity", type=_share, default=0.0, metavar="N%",
        help="add parity of N%% of the archive's size, with which as much damage can be mended (default: none)",
    )  # fmt: skip


def _share(text: str) -> float:
    """A share, as per cent."""
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a share from 0% to 100%")
    return share


def verify(parser: argparse.ArgumentParser) -> None:
    """``--verify`` and ``--no-verify``."""
    parser.add_argument(
        "--verify", action="store_true", default=None,
        help="decode all that was coded before it is written, and compare (default: what zstd and lz4 code, of "
        "each 32 MiB the first frame and another one of the rest)",
    )  # fmt: skip
    parser.add_argument("--no-verify", dest="verify", action="store_false", help="decode nothing of it")


def check_coding(args: argparse.Namespace) -> list[str]:
    """Refuses what contradicts itself among the options of :func:`levels` and :func:`coding`.

    Gives back what to say, when all is done, of options that were harmless but had no effect.

    Raises:
        UsageError: a model is asked for, and nothing that would use one.
    """
    from zllm.planner.levels import LEVELS

    no_model = "with --no-llm" if not args.llm else ""
    if not no_model and not LEVELS[args.level].llm:
        no_model = f"at level {args.level}: models are used from level 6 on"
    if not no_model:
        return []
    embed = getattr(args, "embed_model", False)
    for option, given in (
        ("--model", args.model is not None),
        ("--streams", getattr(args, "streams", None) is not None),
        ("--embed-model", embed),
    ):
        if given:
            raise UsageError(f"{option} has no effect {no_model}")
    idle = [option for option in ("device", "executor") if getattr(args, option, "auto") != "auto"]
    return [f"--{option} has no effect {no_model}" for option in idle]


def helpers(parser: argparse.ArgumentParser) -> None:
    """``--dask``."""
    parser.add_argument(
        "--dask", metavar="ADDRESS", help="have the workers of this dask scheduler code, e.g. tcp://host:8786"
    )


@contextlib.contextmanager
def cluster(args: argparse.Namespace) -> Iterator[Cluster | None]:
    """What ``--dask`` names, until the block ends."""
    if args.dask is None:
        yield None
        return
    import logging

    from zllm.integrations.dask_ import Cluster

    if os.environ.get("ZLLM_DEBUG", "") in ("", "0"):
        logging.disable()  # what goes wrong is said once, by the error that ends the program
    with Cluster(args.dask) as cluster:
        yield cluster


def archive_name(parser: argparse.ArgumentParser) -> None:
    """The archive, as the first operand or by tar's ``-f``."""
    parser.add_argument("-f", "--file", metavar="ARCHIVE", help="the archive, instead of the first operand")


def take_archive(args: argparse.Namespace, operands: list[str], parser: argparse.ArgumentParser) -> str:
    """The archive's name; takes it off ``operands`` unless ``-f`` gave it."""
    if args.file is not None:
        return str(args.file)
    if not operands:
        parser.error("name the archive (- for a pipe)")
    return operands.pop(0)


def positive(text: str) -> int:
    """An argparse type: an integer of at least 1."""
    if not re.fullmatch("[0-9]{1,18}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive whole number")
    return int(text)


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not the number of a generation")
    return int(text)


def _level(text: str) -> int:
    name = _VARIABLE if text.startswith(_VARIABLE) else ""
    text = text[len(name) :]
    if not re.fullmatch("[1-9]", text):
        raise argparse.ArgumentTypeError(name + suggestions.level(text))
    return int(text)


def _thread_number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= MAX_THREADS:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to {MAX_THREADS}")
    return int(text)


def thread_count(args: argparse.Namespace) -> int | None:
    """``-j``, else ``$ZLLM_THREADS``, else None: one per processor.

    Raises:
        UsageError: the variable is not a number of threads.
    """
    if args.threads is not None:
        return int(args.threads)
    text = os.environ.get("ZLLM_THREADS", "")
    if not text:
        return None
    try:
        return _thread_number(text)
    except argparse.ArgumentTypeError:
        raise UsageError(f"ZLLM_THREADS={text}: not a number from 1 to {MAX_THREADS}") from None


def read_options(args: argparse.Namespace, progress: Callable[[int], None] | None = None) -> ReadOptions:
    """What the options of commands that read ask for: those that are called as fields of :class:`ReadOptions`."""
    from zllm.archive.options import ReadOptions

    return ReadOptions(**_fields(args, ReadOptions), progress=progress)


def write_options(
    args: argparse.Namespace, progress: Callable[[int], None], cluster: Cluster | None = None
) -> WriteOptions:
    """What the options of :func:`coding` ask for: those that are called as fields of :class:`WriteOptions`."""
    from zllm.archive.options import WriteOptions

    return WriteOptions(**_fields(args, WriteOptions), progress=progress, cluster=cluster)


def coding_like(args: argparse.Namespace, manifest: dict[str, Any]) -> WriteOptions:
    """How to code a little of what is in an archive again: as its manifest says, without a model."""
    from zllm.archive.options import WriteOptions

    level = manifest.get("level")
    level = level if isinstance(level, int) and 1 <= level <= 9 else 6
    return WriteOptions(level=level, llm=False, threads=thread_count(args))


def _fields(args: argparse.Namespace, kind: type[Options]) -> dict[str, Any]:
    from zllm.archive.options import ReadOptions, names

    given = {name: value for name, value in vars(args).items() if name in names(kind)}
    given = {name: tuple(value) if name in _SEVERAL else value for name, value in given.items()}
    passphrase = passphrases.chosen(args, new=kind is not ReadOptions)
    return {**given, "threads": thread_count(args), "passphrase": passphrase}
