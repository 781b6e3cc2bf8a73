"""The program without a command: stdin to stdout, as ``tar -I zllm`` and ``--use-compress-program`` call it."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO, cast

from zllm.archive.readinto import ReadInto
from zllm.cli import memory, options, output, passphrases, progress, statistics, streams
from zllm.errors import EXIT_FAILURE, UsageError, ZllmError

SUMMARY = "stdin to stdout, or each FILE to FILE.zllm; what zllm does without a command"

_PIECE = 1 << 20


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser(
        "",
        "Compresses stdin to stdout; decompresses with -d, as unzllm, or when the input is a zllm archive.\n"
        "Of FILEs each becomes FILE.zllm, and with -d each FILE.zllm becomes FILE, unless -c or -o is given.\n"
        "A tar stream becomes an archive of its members; anything else becomes an archive of one.",
    )
    result.add_argument("inputs", nargs="*", metavar="FILE", help="read these instead of stdin, one after the other")
    direction = result.add_mutually_exclusive_group()
    direction.add_argument("-d", "--decompress", dest="decode", action="store_true", default=None, help="decompress")
    direction.add_argument("-z", "--compress", dest="decode", action="store_false", help="compress, even an archive")
    direction.add_argument(
        "-t", "--test", action="store_true", help="check archives, as zllm test does, and write nothing"
    )
    direction.add_argument("-l", "--list", action="store_true", help="print sizes of archives, and write nothing")
    place = result.add_mutually_exclusive_group()
    place.add_argument("-c", "--stdout", action="store_true", help="write to stdout, which is the default without FILE")
    place.add_argument("-o", "--output", metavar="FILE", help="write FILE instead")
    result.add_argument("-f", "--force", action="store_true", help="replace files that exist")
    after = result.add_mutually_exclusive_group()
    after.add_argument("-k", "--keep", dest="remove", action="store_false", default=False,
                       help="keep each FILE, which is the default")  # fmt: skip
    after.add_argument(
        "--rm", dest="remove", action="store_true",
        help="remove each FILE once the other is on the disk and, read back, decodes to it",
    )  # fmt: skip
    options.coding(result)
    passphrases.writing(result, identities=True)
    options.limit(result)
    options.helpers(result)
    options.statistics(result)
    options.verbosity(result)
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the filter; raises what the program turns into an exit code."""
    command = parser()
    args = command.parse_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    inputs = args.inputs or ["-"]
    if args.test or args.list:
        if args.output is not None or args.remove:
            command.error(f"{'-t' if args.test else '-l'} writes nothing: leave out {'-o' if args.output else '--rm'}")
        _list(inputs, args, console) if args.list else _each(inputs, console, lambda name: _test(name, args, console))
        return
    named = args.inputs and not args.stdout and args.output is None and not (args.decode and console.to_stdout)
    if args.remove and not named:
        command.error("--rm is for FILEs that become files of their own: leave it out, or -c and -o")
    if named:
        _each_to_its_own(inputs, args, console)
        return
    args.output = args.output or "-"
    coder = _Coder(args, console)
    idle: list[str] = []
    with contextlib.ExitStack() as files:
        # What is incomplete must not get the name of a whole file, so with -o the first error ends it.
        forgiving = console if args.output == "-" and len(inputs) > 1 else None
        if args.decode is None:
            inputs = coder.look(inputs, files, forgiving)
            if not inputs:
                return
        if not coder.decode:
            idle = options.check_coding(args)
            if len(inputs) > 1 and not args.stdout and args.output == "-":
                command.error("several files: -c makes an archive of each, zllm create ARCHIVE FILE... one of all")
        coder.out = files.enter_context(output.target(args.output, force=args.force, binary=not coder.decode))
        _each(inputs, forgiving, coder)
    for text in idle:
        console.note(text)
    statistics.show(args.stats, console)


def _each_to_its_own(names: list[str], args: argparse.Namespace, console: output.Console) -> None:
    """Each FILE to FILE.zllm, or back."""
    from zllm.cli.filewise import Filewise, is_nameless

    coder = _Coder(args, console)
    idle = [] if coder.decode else options.check_coding(args)
    if args.remove and not coder.decode and args.recipients and not (args.identities or args.passphrase):
        raise UsageError("--rm reads back what it wrote, which takes a key: add --identity, or leave it out")

    def code(name: str, file: BinaryIO, out: BinaryIO) -> None:
        coder.out = out
        coder.code(name, Rejoined(b"", file))

    one = Filewise(args, console, code, decode=coder.decode)

    def work(name: str) -> None:
        if is_nameless(name):
            with output.target("-", binary=not coder.decode) as coder.out:
                coder(name)
        else:
            one(name)

    _each(names, console if len(names) > 1 else None, work)
    for text in idle:
        console.note(text)
    statistics.show(args.stats, console)


def _list(names: list[str], args: argparse.Namespace, console: output.Console) -> None:
    """Sizes of archives, and of all together if there are several."""
    from zllm.cli import filewise

    found: list[tuple[int, int]] = []
    print(filewise.HEADER)
    _each(names, console, lambda name: found.append(filewise.row(name, args, console)))
    if len(found) > 1:
        coded, size = (sum(numbers) for numbers in zip(*found, strict=True))
        print(filewise.line(coded, size, output.count(len(found), "file")))


def _each(names: Iterable[str], console: output.Console | None, work: Callable[[str], None]) -> None:
    """Does ``work`` for each name. With a console, an error in one is reported there, and the next one's turn comes."""
    for name in names:
        try:
            work(name)
        except (ZllmError, OSError) as error:
            if console is None or isinstance(error, BrokenPipeError) or getattr(error, "errno", None) in output.FULL:
                raise
            console.error(output.message(error), error.exit_code if isinstance(error, ZllmError) else EXIT_FAILURE)


def _test(name: str, args: argparse.Namespace, console: output.Console) -> None:
    from zllm.cli import test

    given = [f"--device={args.device}", f"--executor={args.executor}", *["-v"] * args.verbose, *["-q"] * args.quiet]
    given += [f"--model={name}" for name in args.model or []]
    given += [f"--threads={args.threads}"] * (args.threads is not None)
    test.run([*given, *["--stats"] * (args.stats is not None), "--", name], console)


class _Coder:
    """Compresses or decompresses one input after the other, all to the same output and in the same direction."""

    out: BinaryIO

    def __init__(self, args: argparse.Namespace, console: output.Console) -> None:
        self.args = args
        self.console = console
        self.decode = bool(args.decode)
        self._held: tuple[BinaryIO, bytes] | None = None

    def look(self, names: list[str], files: contextlib.ExitStack, console: output.Console | None) -> list[str]:
        """Choose the direction by the first file that can be read; gives the names from that one on."""
        for number, name in enumerate(names):
            _each([name], console, lambda name: self._hold(name, files))
            if self._held is not None:
                self.decode = self._held[1] == streams.MAGIC
                return names[number:]
        return []

    def _hold(self, name: str, files: contextlib.ExitStack) -> None:
        file = files.enter_context(_source(name, self.args))
        self._held = file, _head(file)

    def __call__(self, name: str) -> None:
        """Code the file called ``name``."""
        if self._held is not None:
            file, head = self._held
            self._held = None
            self.code(name, Rejoined(head, file))
            return
        with _source(name, self.args) as file:
            head = _head(file)
            if self.args.decode is None and self.decode != (head == streams.MAGIC):
                kind = "not an archive, and the first is" if self.decode else "an archive, and the first is not"
                raise UsageError(f"{output.shown(name)}: {kind}: say -d or -z")
            self.code(name, Rejoined(head, file))

    def code(self, name: str, whole: Rejoined) -> None:
        """Code a stream to :attr:`out`; ``name``: what messages call it."""
        if self.decode:
            with output.about(name):
                _decode(whole.sought() or cast(BinaryIO, whole), self.out, self.args, self.console)
        else:
            _encode(cast(BinaryIO, whole), self.out, self.args, self.console)


def _decode(file: BinaryIO, out: BinaryIO, args: argparse.Namespace, console: output.Console) -> None:
    reading = options.read_options(args)
    with (
        progress.Progress(console, "decompressing") as bar,
        streams.decoder(file, reading, console.warn) as stream,
    ):
        while piece := stream.read(_PIECE):
            out.write(piece)
            bar(len(piece))


def _encode(file: BinaryIO, out: BinaryIO, args: argparse.Namespace, console: output.Console) -> None:
    memory.give_back_large()
    with (
        options.cluster(args) as cluster,
        progress.Progress(console, "compressing") as bar,
        streams.encoder(out, options.write_options(args, bar, cluster)) as sink,
    ):
        shutil.copyfileobj(file, sink, _PIECE)
    for warning in sink.warnings:
        console.warn(warning)


def _source(name: str, args: argparse.Namespace) -> contextlib.AbstractContextManager[BinaryIO]:
    """As :func:`output.source`, but what may be meant to be compressed is not blamed for being no archive."""
    if not args.decode and os.path.isdir(name):
        raise UsageError(f"{name} is a folder: zllm create ARCHIVE FOLDER packs it")
    return output.source(name)


def _head(file: BinaryIO) -> bytes:
    """The first bytes, as many as the magic has; a pipe may give them one by one."""
    head = b""
    while len(head) < len(streams.MAGIC) and (piece := file.read(len(streams.MAGIC) - len(head))):
        head += piece
    return head


class Rejoined(ReadInto, io.RawIOBase):
    """A stream whose first bytes were already read."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        """Always: that is all it does."""
        return True

    def sought(self) -> BinaryIO | None:
        """The stream itself, from its first byte on, if it can be sought and has not been read further."""
        if not self._rest.seekable():
            return None
        self._rest.seek(-len(self._head), os.SEEK_CUR)
        self._head = b""
        return self._rest

    def read(self, size: int = -1, /) -> bytes:
        """The next ``size`` bytes; fewer only at the end."""
        if size < 0:
            data, self._head = self._head + self._rest.read(), b""
            return data
        data, self._head = self._head[:size], self._head[size:]
        return data + self._rest.read(size - len(data)) if len(data) < size else data
