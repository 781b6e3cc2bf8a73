"""``zllm extract``: unpacks an archive, or some of its members."""

from __future__ import annotations

import argparse
import contextlib
import copy
import os
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import zllm
from zllm.cli import options, output, progress, reading
from zllm.errors import DamagedError, UsageError
from zllm.extraction import filters
from zllm.extraction.attributes import Policy, current_umask
from zllm.extraction.errors import DeviceError
from zllm.extraction.extractor import Extractor
from zllm.format import extended

if TYPE_CHECKING:
    from zllm.archive.sections import FrameCache

SUMMARY = "unpack an archive, or some members of it"

_FILTERS: dict[str | None, filters.Filter] = {  # links on disk are replaced, not followed
    None: filters.fully_trusted_filter,
    "data": partial(filters.data_filter, places=False),
    "tar": partial(filters.tar_filter, places=False),
    "fully_trusted": filters.fully_trusted_filter,
}
_REFUSED = (
    (DeviceError, "devices", "pass --devices, as root"),
    (filters.SpecialFileError, "pipes or devices", "leave out --filter data (devices need --devices)"),
    (filters.AbsoluteLinkError, "links to absolute names", "leave out --filter data"),
    (filters.LinkOutsideDestinationError, "links that lead out of the folder", "leave out --filter data"),
)
"""What an option restores: how members of the kind are called, and the option."""


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser(
        "extract",
        "Unpacks ARCHIVE (- reads from stdin) into a folder. Links, pipes, modes and times come back as they were;\n"
        "for root, owners too. Nothing is written outside of the folder, nor through a link.",
    )
    reading.arguments(
        result, members="what to extract: names, folders, shell patterns (default: everything)",
        verbose="name each member, and sum up at the end",
    )  # fmt: skip
    result.add_argument(
        "-C", "--directory", default=".", metavar="DIR", help="extract into DIR; made if it does not exist"
    )
    result.add_argument(
        "--exclude", action="append", default=[], metavar="PATTERN", help="leave out members that match"
    )
    result.add_argument("-k", "--keep-old-files", action="store_true", help="do not replace files that exist")
    result.add_argument(
        "--keep-damaged", action="store_true",
        help="extract what is left of a damaged file NAME as NAME.damaged, zeros where nothing is",
    )  # fmt: skip
    _add_attributes(result)
    return result


def _add_attributes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is restored")
    group.add_argument(
        "-p", "--preserve-permissions", "--same-permissions", dest="permissions", action="store_true", default=None,
        help="modes as they were, special bits too, whatever the umask (default for root)",
    )  # fmt: skip
    group.add_argument(
        "--no-same-permissions",
        dest="permissions",
        action="store_false",
        help="modes subject to the umask (default for others)",
    )
    group.add_argument(
        "--same-owner", dest="owners", action="store_true", default=None, help="owners as they were (default for root)"
    )
    group.add_argument(
        "--no-same-owner",
        dest="owners",
        action="store_false",
        help="everything belongs to the user who extracts (default for others)",
    )
    group.add_argument("--numeric-owner", action="store_true", help="owners by number, not by name")
    group.add_argument(
        "--xattrs", action="store_true", help="extended attributes, capabilities among them (packed by create --xattrs)"
    )
    group.add_argument(
        "--acls", action="store_true", help="access control lists (packed by create --acls); modes as by -p"
    )
    group.add_argument("--devices", action="store_true", help="device nodes, too: only root can make them")
    group.add_argument(
        "--filter", choices=("data", "tar", "fully_trusted"),
        help="as in Python's tarfile. data: no owners, pipes or devices, no links that lead out of DIR; tar: nothing "
        "writable for others; fully_trusted: the same as -p --same-owner --devices",
    )  # fmt: skip


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    args = reading.parse(parser(), argv, console)
    policy = _policy(args)
    wanted = reading.Wanted(args.operands, args.exclude)
    with (
        progress.Progress(console, "unpacking") as bar,
        reading.opened(args, console, bar) as archive,
    ):
        tar = zllm.open(fileobj=archive, encoding="utf-8")
        reading.expect(bar, archive, wanted)
        unpacker = Unpacker(tar, args.directory, policy, console, trust=args.filter, wanted=wanted)
        unpacker.lenient = archive.view.cache if args.keep_damaged else None
        with unpacker:
            if not args.operands:
                unpacker.open()
            for member in reading.all_of(tar, archive, args.archive, console):
                if wanted(member.name):
                    unpacker.add(member)
            unpacker.finish()
    wanted.report_unseen(console, "extract")
    console.facts.update(members=unpacker.members, bytes=unpacker.bytes)
    what = f"{output.count(unpacker.members)}, {output.size(unpacker.bytes)}"
    console.detail(f"{output.printable(args.archive)}: {what}, unpacked")


def _policy(args: argparse.Namespace) -> Policy:
    """What the options ask for; as with GNU tar, root restores modes and owners unless told otherwise.

    Raises:
        UsageError: they contradict each other.
    """
    trusted, root = args.filter == "fully_trusted", os.geteuid() == 0
    if args.filter == "data" and (args.owners or args.devices):
        option = "--same-owner" if args.owners else "--devices"
        raise UsageError(f"--filter data and {option} contradict each other: leave out one of them")
    if args.acls and (args.filter in ("data", "tar") or args.permissions is False):  # they say who may do what
        option = f"--filter {args.filter}" if args.permissions is not False else "--no-same-permissions"
        raise UsageError(f"{option} and --acls contradict each other: leave out one of them")
    permissions = (trusted or root or args.acls) if args.permissions is None else args.permissions
    return Policy(
        umask=0 if permissions else current_umask(),
        special_bits=permissions,
        owners=(root if args.owners is None else args.owners) and args.filter != "data",
        numeric_owner=args.numeric_owner,
        devices=args.devices or trusted,
        xattrs=_attribute_filter(args),
        acls=args.acls,
        keep=args.keep_old_files,
        now=time.time_ns(),
    )


def _attribute_filter(args: argparse.Namespace) -> Callable[[str], bool] | None:
    """Which extended attributes are restored. Those outside of ``user.`` give rights, or mean something to a system."""
    if not args.xattrs:
        return None
    return (lambda name: name.startswith("user.")) if args.filter in ("data", "tar") else (lambda _: True)


class Unpacker:
    """Extracts members one by one. What cannot be extracted is reported and leaves no file under its name."""

    def __init__(
        self,
        archive: zllm.ZllmFile,
        folder: str,
        policy: Policy,
        console: output.Console,
        *,
        trust: str | None = None,
        wanted: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._archive = archive
        self._filter = _FILTERS[trust]
        self._folder = folder
        self._console = console
        self._report = _Report(console)
        self.members = 0
        self.bytes = 0
        self.lenient: FrameCache | None = None
        """Of the archive, if damaged files are to be kept."""
        self._wanted = wanted
        self._policy = policy
        self._extractor: Extractor | None = None
        self._attributes_noted = policy.xattrs is not None or policy.acls

    def __enter__(self) -> Unpacker:
        return self

    def __exit__(self, *_: object) -> None:
        if self._extractor is not None:
            self._extractor.close()

    def open(self) -> Extractor:
        """Make the folder, if it does not exist; the first member does so: without one there is none.

        Raises:
            UsageError: something else has its name.
        """
        if self._extractor is None:
            try:
                os.makedirs(self._folder, exist_ok=True)
            except FileExistsError:
                raise UsageError(f"{self._folder} is not a folder: -C names the folder to extract into") from None
            self._extractor = Extractor(
                self._folder, self._policy, self, self._report, encoding=self._archive.encoding or "utf-8",
                skipped=lambda name: not self._wanted(name), again=self._filtered,
            )  # fmt: skip
        return self._extractor

    def add(self, member: tarfile.TarInfo) -> None:
        """Extract one member. Raises OSError if nothing more can be written."""
        if self._console.verbose:
            self._console.print(output.printable(member.name))
        if not self._attributes_noted and extended.has_any(member.pax_headers):
            self._attributes_noted = True
            self._console.note(
                f"{output.printable(member.name)}: extended attributes and access control lists are not restored: "
                "pass --xattrs and --acls"
            )
        try:
            filtered = self._filtered(member)
        except (filters.FilterError, OSError) as error:
            self._report.failed(member, error)
            return
        if filtered is None:
            return
        self._report.damaged = False
        if self.open().add(filtered):
            self.members += 1
            self.bytes += member.size
        elif self.lenient is not None and self._report.damaged and filtered.isreg():
            self._keep(filtered, self.lenient)

    def _keep(self, member: tarfile.TarInfo, cache: FrameCache) -> None:
        """Extract what is left of a damaged file, under a name that nothing has."""
        kept = copy.copy(member)
        number = 0
        kept.name = f"{member.name}.damaged"
        while os.path.lexists(os.path.join(self._folder, kept.name.lstrip("/"))):
            number += 1
            kept.name = f"{member.name}.damaged.{number}"
        cache.lenient = True
        try:
            if self.open().add(kept):
                self._console.note(f"{member.name}: what is left of it is in {kept.name}")
        finally:
            cache.lenient = False

    def finish(self) -> None:
        """Place links, give folders their modes and times, and say what was refused."""
        if self._extractor is not None:
            self._extractor.finish()
        self._report.summary()

    def _filtered(self, member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return self._filter(member, self._folder)

    # What the extractor asks of the archive

    def pieces(self, member: tarfile.TarInfo) -> Iterable[tuple[int, bytes]]:
        """See :meth:`zllm.ZllmFile.pieces`."""
        if self.lenient is not None and self.lenient.lenient:
            return self._left(member)
        return self._archive.pieces(member)

    def _left(self, member: tarfile.TarInfo) -> Iterator[tuple[int, bytes]]:
        """As :meth:`pieces`, up to where nothing is left."""
        with contextlib.suppress(DamagedError):
            yield from self._archive.pieces(member)

    def original(self, link: tarfile.TarInfo) -> tarfile.TarInfo | None:
        """See :meth:`zllm.ZllmFile.original`."""
        found = self._archive.original(link)
        return None if found is None else self._filtered(found)


class _Report:
    """Says what went wrong: each member by its name, but what is refused or fails alike only once, with a count."""

    def __init__(self, console: output.Console) -> None:
        self._console = console
        self.damaged = False
        """The member that failed last is damaged."""
        self._refused: dict[tuple[str, str], _Count] = {}
        self._unset: dict[tuple[str, str], _Count] = {}

    def failed(self, member: tarfile.TarInfo, error: Exception) -> None:
        """Raises the error if nothing more can be written."""
        self.damaged = isinstance(error, DamagedError)
        if isinstance(error, OSError):
            error.filename = member.name
            if error.errno in output.FULL:
                raise error
        for kind, what, option in _REFUSED:
            if isinstance(error, kind):
                self._refused.setdefault((what, option), _Count(member.name)).members += 1
                return
        reading.report(error, member.name, self._console)

    def unset(self, member: str, what: str, error: Exception) -> None:
        """Counted; said by :meth:`summary`."""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        self._unset.setdefault((what, reason), _Count(member)).members += 1

    def kept(self, member: tarfile.TarInfo) -> None:
        """A warning."""
        self._console.warn(f"{member.name}: exists and was kept")

    def note(self, text: str) -> None:
        """A note."""
        self._console.note(text)

    def warn(self, text: str) -> None:
        """A warning."""
        self._console.warn(text)

    def summary(self) -> None:
        """Say what was counted."""
        for (what, option), count in self._refused.items():
            self._console.error(f"{count}: {what} are not extracted: to restore them, {option}")
        for (what, reason), count in self._unset.items():
            self._console.warn(f"{count}: {what} could not be set: {reason}")


@dataclass
class _Count:
    """How many members, and the first of them."""

    first: str
    members: int = 0

    def __str__(self) -> str:
        return self.first if self.members == 1 else f"{self.members} members ({self.first}, ...)"
