"""The filter with FILEs and no other place to write to: each gets a file of its own, as zstd has it."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, cast

from zllm.archive.archive import Archive
from zllm.cli import options, output, places, streams
from zllm.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from zllm.cli.output import Console

SUFFIX = ".zllm"
_PIECE = 1 << 20

Code = Callable[[str, BinaryIO, BinaryIO], None]
"""Codes a file that has that name to another one."""


class Filewise:
    """Codes one FILE after the other. ``code``: what does it, in the direction that ``decode`` says."""

    def __init__(self, args: argparse.Namespace, console: Console, code: Code, *, decode: bool) -> None:
        self._args = args
        self._console = console
        self._code = code
        self._decode = decode

    def __call__(self, name: str) -> None:
        """Code the file called ``name`` to one beside it; remove it then, if that is asked for.

        Raises:
            UsageError: it is a folder, its name does not say what the other's is, or that exists.
        """
        if os.path.isdir(name):
            what = "a folder, not an archive" if self._decode else "a folder: zllm create ARCHIVE FOLDER packs it"
            raise UsageError(f"{name} is {what}")
        final = self._final(name)
        with output.source(name) as file:
            before = os.fstat(file.fileno())
            whole = _Hashed(file) if self._args.remove and not self._decode else None
            warned = self._console.warned
            if os.path.exists(final) and os.path.samestat(os.stat(final), before) and os.path.islink(final):
                raise UsageError(f"{final} is a link to {name}, which would be replaced: remove the link")
            with output.target(final, force=self._args.force, like=before) as out:
                self._code(name, cast(BinaryIO, whole or file), out)
                out.flush()
                with contextlib.suppress(OSError):
                    os.utime(out.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))
        self._console.detail(f"{output.shown(name)}: {before.st_size} bytes to {os.stat(final).st_size} in {final}")
        if self._decode and not final.endswith(".tar") and _is_tar(final):
            self._console.note(f"{final} is a tar stream: zllm extract {name} unpacks what is in it")
        if whole is not None and self._decoded(final) != whole.hash.digest():
            os.unlink(final)
            raise VerificationError(f"{final} did not decode to {name}, so it is removed, and {name} is kept")
        if self._args.remove:
            self._remove(name, before, warned=self._console.warned > warned)

    def _final(self, name: str) -> str:
        """What the other file is called."""
        if not self._decode:
            if self._args.decode is None and _is_archive(name):
                raise UsageError(
                    f"{name} is an archive already: -d decompresses it, zllm extract unpacks what is in it, and -z "
                    "compresses it again"
                )
            return name + SUFFIX
        base = os.path.basename(name)
        if not base.endswith(SUFFIX) or base == SUFFIX:
            raise UsageError(f"{name} does not end with {SUFFIX}: -o or -c says where to write")
        final = name.removesuffix(SUFFIX)
        if os.path.isdir(final):
            raise UsageError(f"{final} is a folder: zllm extract {name} unpacks what is in it; -o names another file")
        return final

    def _remove(self, name: str, before: os.stat_result, *, warned: bool) -> None:
        """Remove a file that was coded, unless there was a warning, or somebody changed it meanwhile."""
        now = os.lstat(name)
        if stat.S_ISLNK(now.st_mode):
            self._console.warn(f"{name} is a link: it is kept")
        elif (now.st_ino, now.st_dev, now.st_size, now.st_mtime_ns) != (
            before.st_ino, before.st_dev, before.st_size, before.st_mtime_ns,
        ):  # fmt: skip
            self._console.warn(f"{name} changed while it was read: it is kept")
        elif warned:
            self._console.note(f"{name} is kept because of the warning")
        else:
            os.unlink(name)

    def _decoded(self, final: str) -> bytes:
        """The SHA-256 of what a file on the disk decodes to."""
        found = hashlib.sha256()
        with (
            output.about(final), output.source(final) as file,
            streams.decoder(file, options.read_options(self._args), self._console.warn) as stream,
        ):  # fmt: skip
            while piece := stream.read(_PIECE):
                found.update(piece)
        return found.digest()


def is_nameless(name: str) -> bool:
    """Whether it is stdin, a pipe or a device: nothing beside which a file could be, so it is written to stdout."""
    if name == "-" or places.descriptor(name) is not None:
        return True
    try:
        mode = os.stat(name).st_mode
    except OSError:  # which is said when it is opened
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


class _Hashed:
    """A file that is read once, and the SHA-256 of what came."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.hash = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        """The next ``size`` bytes."""
        data = self._file.read(size)
        self.hash.update(data)
        return data

    def seekable(self) -> bool:
        """What has been hashed would be again."""
        return False


def _is_archive(name: str) -> bool:
    from zllm.cli import suggestions

    return suggestions.is_archive(name)


def _is_tar(name: str) -> bool:
    with open(name, "rb") as file:
        file.seek(257)
        return file.read(5) == b"ustar"


HEADER = f"{'compressed':>15} {'uncompressed':>15} {'ratio':>7}  name"


def row(name: str, args: argparse.Namespace, console: Console) -> tuple[int, int]:
    """Print sizes of an archive before and after; both, in bytes.

    Raises:
        UsageError: it is a pipe.
        ZllmError, OSError: it cannot be read.
    """
    with output.about(name), output.source(name) as file:
        if not file.seekable():
            raise UsageError(f"{output.shown(name)}: -l is for files, not for pipes")
        archive = Archive(file, options.read_options(args))
        size, coded = archive.view.end, file.seek(0, os.SEEK_END)
        members = sum(1 for _ in archive)
        what = "" if archive.raw else f"  ({output.count(members)})"
        for text in archive.warnings:
            console.warn(output.prefixed(name, text))
        print(line(coded, size, output.printable(name) + what))
        if archive.problems:
            raise archive.problems[0]
    return coded, size


def line(coded: int, size: int, name: str) -> str:
    """A line of ``-l``."""
    ratio = f"{size / coded:.3f}" if coded else "-"
    return f"{coded:>15} {size:>15} {ratio:>7}  {name}"
