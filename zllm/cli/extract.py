"""``zllm extract``: unpacks an archive, or some of its members."""

from __future__ import annotations

import contextlib
import os
import tarfile
from collections.abc import Sequence
from typing import Any, cast

import zllm
from zllm.cli import options, output, progress, reading
from zllm.errors import ZllmError


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser("extract", "Unpacks ARCHIVE (- reads from stdin) into a folder.")
    reading.arguments(result, members="what to extract: names, folders, shell patterns (default: everything)")
    result.add_argument("-C", "--directory", default=".", metavar="DIR", help="where to; made if it does not exist")
    result.add_argument("--exclude", action="append", default=[], metavar="PATTERN", help="leave out what matches")
    result.add_argument("-k", "--keep-old-files", action="store_true", help="do not replace files that exist")
    result.add_argument(
        "--filter", choices=("data", "tar", "fully_trusted"), default="data",
        help="how far the archive is trusted, as in Python's tarfile; fully_trusted restores owners and special bits",
    )  # fmt: skip
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    args = reading.parse(parser(), argv, console)
    wanted = reading.Wanted(args.operands, args.exclude)
    with (
        progress.Progress(console, "unpacking") as bar,
        reading.opened(args, console, bar) as archive,
    ):
        if isinstance(archive, reading.OneStream):
            raise archive.error
        reading.expect(bar, archive, wanted)
        os.makedirs(args.directory, exist_ok=True)
        unpacker = Unpacker(archive, args.directory, args.filter, console)
        for member in reading.members(archive, console):
            if not wanted(member.name):
                continue
            if not (args.keep_old_files and _kept(member, args.directory, console)):
                unpacker.add(member)
        unpacker.finish()
    wanted.report_unseen(console, "extract")
    what = f"{output.count(unpacker.members)}, {output.size(unpacker.bytes)}"
    console.detail(f"{output.printable(args.archive)}: {what}, unpacked")


def _kept(member: tarfile.TarInfo, folder: str, console: output.Console) -> bool:
    if not os.path.lexists(os.path.join(folder, member.name)):
        return False
    if not member.isdir():
        console.warn(f"{member.name}: exists and was kept")
    return True


class Unpacker:
    """Extracts members one by one. What cannot be extracted is reported and leaves no file under its name."""

    def __init__(self, archive: zllm.ZllmFile, folder: str, trust: str, console: output.Console) -> None:
        self.archive = archive
        self.folder = folder
        self.trust = trust
        self.console = console
        self.members = 0
        self.bytes = 0
        self._folders: list[tarfile.TarInfo] = []

    def add(self, member: tarfile.TarInfo) -> None:
        """Extract one member. Raises OSError if nothing more can be written."""
        if self.console.verbose:
            self.console.print(output.printable(member.name))
        # A folder gets its mode and time when everything inside is in place.
        done = self._extract(member, attributes=not member.isdir())
        if done:
            self.members += 1
            self.bytes += member.size
            if member.isdir():
                self._folders.append(member)
            elif member.issym():
                self._set_link_time(member)

    def finish(self) -> None:
        """Give folders their modes and times, the innermost first."""
        for member in sorted(self._folders, key=lambda member: member.name, reverse=True):
            self._extract(member, attributes=True)

    def _set_link_time(self, member: tarfile.TarInfo) -> None:
        # tarfile leaves it out; tar and bsdtar do not.
        path = os.path.join(self.folder, member.name.lstrip("/"))
        with contextlib.suppress(OSError, NotImplementedError):
            os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)

    def _extract(self, member: tarfile.TarInfo, *, attributes: bool) -> bool:
        try:
            self.archive.extract(member, self.folder, set_attrs=attributes, filter=cast(Any, self.trust))
        except (ZllmError, tarfile.FilterError) as error:
            reading.report(error, member.name, self.console)
            return False
        except OSError as error:
            if error.errno in output.FULL:
                raise
            reading.report(error, member.name, self.console)
            return False
        return True
