"""``zllm convert``: an archive of another program, or another zllm archive, to a zllm archive, and back."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, cast

import zllm
from zllm.archive.archive import Archive
from zllm.archive.options import Cluster, ReadOptions, WriteOptions
from zllm.cli import memory, options, output, passphrases, places, progress, statistics, streams
from zllm.cli.filter import Rejoined
from zllm.errors import OtherFormatError, UsageError
from zllm.integrations import tarstreams

SUMMARY = "tar, zip and 7z archives to zllm archives, and back"

_PIECE = 1 << 20
_FOR_ZLLM = ("embed_model", "streams", "parity", "encrypt", "recipients", "verify", "dask")
_OPTIONS = {"embed_model": "--embed-model", "recipients": "--recipient"}


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser(
        "convert",
        "Makes TARGET of SOURCE, one of which is a zllm archive, without unpacking to the disk in between; - is stdin\n"
        "or stdout. A tar stream is kept byte for byte. What SOURCE is, its content says; what TARGET is, its name.",
    )
    result.add_argument("source", metavar="SOURCE|-", help="a zllm, tar, tar.gz/bz2/xz/zst, zip or 7z archive")
    result.add_argument("target", metavar="TARGET|-", help="X.zllm, X.tar, X.tar.gz/bz2/xz/zst or X.zip")
    result.add_argument("--to", choices=tarstreams.FORMATS, help="the format of TARGET, whatever its name")
    result.add_argument("--force", "--overwrite", action="store_true", help="replace TARGET if it exists")
    options.coding(result)
    options.generation(result)
    options.limit(result)
    passphrases.writing(result, identities=True)
    options.helpers(result)
    options.statistics(result)
    options.verbosity(result, "sum up at the end")
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    command = parser()
    args = command.parse_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    kind = args.to or tarstreams.named(args.target)
    if kind is None:
        command.error(f"the name {args.target} does not tell a format: --to does ({', '.join(tarstreams.FORMATS)})")
    idle = _check(args, kind)
    started = time.monotonic()
    memory.give_back_large()
    with output.about(args.source), output.source(args.source) as file:
        source, found = _look(file, kind)
        if args.generation is not None and found != "zllm":
            raise UsageError(f"--generation has no effect: {output.shown(args.source)} is not a zllm archive")
        with (
            options.cluster(args) as cluster,
            output.target(args.target, force=args.force) as out,
            progress.Progress(console, "converting") as bar,
        ):
            job = _Job(args, console, bar, cluster)
            job.convert(source, found, out, kind)
    for text in idle:
        console.note(text)
    job.say()
    statistics.show(args.stats, console)
    console.facts.update(bytes=job.bytes)
    speed = output.size(job.bytes / max(time.monotonic() - started, 1e-3))
    console.detail(f"{output.printable(args.target)}: {found} to {kind}, {output.size(job.bytes)}, {speed}/s")


def _check(args: argparse.Namespace, kind: str) -> list[str]:
    """Refuse options that the target has no use for; what to say of those that do no harm."""
    if kind == "zllm":
        return options.check_coding(args)
    given = [name for name in _FOR_ZLLM if getattr(args, name) not in (None, False, 0.0, [])]
    if given:
        option = _OPTIONS.get(given[0], f"--{given[0]}")
        raise UsageError(f"{option} has no effect: {output.shown(args.target)} is not to be a zllm archive")
    return []


def _look(file: BinaryIO, kind: str) -> tuple[BinaryIO, str]:
    """The source from its first byte on, and what it is.

    Raises:
        OtherFormatError: nothing that can be converted.
        UsageError: nothing that is, into the other.
    """
    head = b""
    while len(head) < tarstreams.HEAD and (piece := file.read(tarstreams.HEAD - len(head))):
        head += piece
    found = tarstreams.recognised(head)
    if found is None:
        raise OtherFormatError(
            "it is empty" if not head else "an unknown format: zllm, tar, tar.gz, tar.bz2, tar.xz, tar.zst, zip and 7z"
            " archives can be converted, and files are compressed with zllm FILE"
        )  # fmt: skip
    if "zllm" not in (found, kind):
        raise UsageError(f"{found} to {kind}: one of the two has to be a zllm archive")
    whole = Rejoined(head, file)
    return whole.sought() or cast(BinaryIO, whole), found


class _Job:
    """One conversion."""

    def __init__(
        self, args: argparse.Namespace, console: output.Console, bar: progress.Progress, cluster: Cluster | None
    ) -> None:
        self.args = args
        self.console = console
        self.bytes = 0
        self._bar = bar
        self._cluster = cluster
        self._warnings: list[str] = []
        self._encrypted = False  # so is the source

    def say(self) -> None:
        """Warn of what was noticed."""
        for text in self._warnings:
            self.console.warn(text)
        if self._encrypted and not (self.args.encrypt or self.args.recipients):
            self.console.note("the source is encrypted, and the target is not: --encrypt and --recipient encrypt")

    def convert(self, source: BinaryIO, found: str, out: BinaryIO, kind: str) -> None:
        """Write what ``source``, of the format ``found``, has to ``out`` in the format ``kind``."""
        if found == "zip":
            self._from_zip(source, out)
        elif kind == "zip":
            self._to_zip(source, out)
        elif kind == "zllm":
            with streams.encoder(out, self._writing()) as sink:
                self._copy(self._checked(self._pieces(source, found), raw=found == "zllm"), sink.write)
            self._warnings += sink.warnings
        else:
            self._to_tar(self._checked(self._pieces(source, found), raw=False), out, kind)

    def _to_tar(self, pieces: Iterator[bytes], out: BinaryIO, kind: str) -> None:
        if kind == "tar":
            self._copy(pieces, out.write)
            return
        compressor = tarstreams.compressor(kind, self.args.level)
        self._copy(pieces, lambda piece: out.write(compressor.compress(piece)))
        out.write(compressor.flush())

    def _from_zip(self, source: BinaryIO, out: BinaryIO) -> None:
        from zllm.integrations import zips

        with zllm.open(fileobj=out, mode="w", encoding="utf-8", **vars(self._writing())) as archive:
            self.console.facts["members"] = zips.unpack(source, archive, self._warnings.append, self._done)
        self._warnings += archive.warnings

    def _to_zip(self, source: BinaryIO, out: BinaryIO) -> None:
        from zllm.integrations import zips

        special = self.args.target == "-" or places.is_special(self.args.target)
        opened = Archive(source, self._reading(), seekable=source.seekable())
        with zllm.open(fileobj=opened, encoding="utf-8") as archive, tarstreams.Valve(out, seekable=not special) as to:
            members = zips.pack(archive, to, self.args.level, self._warnings.append, self._done)
        self.console.facts["members"] = members
        self._warnings += opened.warnings

    def _pieces(self, source: BinaryIO, found: str) -> Iterator[bytes]:
        """The tar stream in the source; of a zllm archive, whatever stream it contains."""
        if found != "zllm":
            yield from tarstreams.pieces(source, found)
            return
        with streams.decoder(source, self._reading(), self._warnings.append) as stream:
            while piece := stream.read(_PIECE):
                yield piece

    def _checked(self, pieces: Iterator[bytes], *, raw: bool) -> Iterator[bytes]:
        """The same, which is a whole tar stream, or else an error comes."""
        check = tarstreams.TarCheck(raw=raw)
        for piece in pieces:
            check.feed(piece)
            yield piece
        check.finish()
        if not check.ended and not raw:
            self._warnings.append(f"{output.shown(self.args.source)}: the tar has no end: it may be cut off")

    def _copy(self, pieces: Iterator[bytes], write: Callable[[bytes], object]) -> None:
        for piece in pieces:
            write(piece)
            self._done(len(piece))

    def _done(self, count: int) -> None:
        self._bar(count)
        self.bytes += count

    def _reading(self) -> ReadOptions:
        """How to read the source. A passphrase that the target is to get is no demand that the source has one."""
        given = options.read_options(self.args)
        self._encrypted = bool(given.identities) or (isinstance(given.passphrase, str) and not self.args.encrypt)
        known = given.passphrase

        def ask() -> str | None:
            self._encrypted = True
            return known() if callable(known) else known

        demanded = isinstance(known, str) and not self.args.encrypt
        return given if demanded else dataclasses.replace(given, passphrase=ask)

    def _writing(self) -> WriteOptions:
        """How to code the target, which is encrypted if that was asked for, whatever the source is."""
        given = options.write_options(self.args, lambda _: None, self._cluster)
        return given if self.args.encrypt else dataclasses.replace(given, passphrase=None)
