"""The program without a command: stdin to stdout, as ``tar -I zllm`` and ``--use-compress-program`` call it."""

from __future__ import annotations

import argparse
import io
import shutil
from collections.abc import Sequence
from typing import BinaryIO, cast

from zllm.cli import options, output, progress, statistics, streams

_PIECE = 1 << 20


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser(
        "",
        "Compresses stdin to stdout; decompresses it with -d, when called as unzllm, or when it is a zllm archive.\n"
        "A tar stream becomes an archive of its members; anything else becomes an archive of one.",
    )
    result.add_argument("input", nargs="?", default="-", metavar="FILE", help="read this instead of stdin")
    direction = result.add_mutually_exclusive_group()
    direction.add_argument("-d", "--decompress", dest="decode", action="store_true", default=None, help="decompress")
    direction.add_argument("-z", "--compress", dest="decode", action="store_false", help="compress, even an archive")
    result.add_argument("-c", "--stdout", action="store_true", help="write to stdout, which is the default")
    result.add_argument("-o", "--output", default="-", metavar="FILE", help="write this instead of stdout")
    result.add_argument("-f", "--force", action="store_true", help="replace the file of -o if it exists")
    options.coding(result)
    options.helpers(result)
    options.statistics(result)
    options.verbosity(result)
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the filter; raises what the program turns into an exit code."""
    args = parser().parse_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    with output.source(args.input) as file:
        head = _head(file)
        decode = head == streams.MAGIC if args.decode is None else args.decode
        whole = cast(BinaryIO, Rejoined(head, file))
        with output.target(args.output, force=args.force, binary=not decode) as out:
            (_decode if decode else _encode)(whole, out, args, console)
    statistics.show(args.stats, console)


def _decode(file: BinaryIO, out: BinaryIO, args: argparse.Namespace, console: output.Console) -> None:
    decoders = options.decoders(args)
    with (
        progress.Progress(console, "decompressing") as bar,
        streams.decoder(file, decoders, console.warn) as stream,
    ):
        while piece := stream.read(_PIECE):
            out.write(piece)
            bar(len(piece))


def _encode(file: BinaryIO, out: BinaryIO, args: argparse.Namespace, console: output.Console) -> None:
    with (
        options.cluster(args) as cluster,
        progress.Progress(console, "compressing") as bar,
        streams.encoder(out, options.write_options(args, bar, cluster)) as sink,
    ):
        shutil.copyfileobj(file, sink, _PIECE)
    for warning in sink.warnings:
        console.warn(warning)


def _head(file: BinaryIO) -> bytes:
    """The first bytes, as many as the magic has; a pipe may give them one by one."""
    head = b""
    while len(head) < len(streams.MAGIC) and (piece := file.read(len(streams.MAGIC) - len(head))):
        head += piece
    return head


class Rejoined(io.RawIOBase):
    """A stream whose first bytes were already read."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        """Always: that is all it does."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """The next ``size`` bytes; fewer only at the end."""
        if size < 0:
            data, self._head = self._head + self._rest.read(), b""
            return data
        data, self._head = self._head[:size], self._head[size:]
        return data + self._rest.read(size - len(data)) if len(data) < size else data

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Fill ``buffer``; fewer bytes only at the end."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
