"""``zllm diff``: an archive beside what is on disk."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator, Sequence

from zllm.archive.archive import Archive
from zllm.archive.member import Member
from zllm.cli import changes, names, options, output, reading
from zllm.cli.operands import Folder, Name
from zllm.cli.packer import TYPES
from zllm.cli.patterns import Excluded
from zllm.cli.walk import Found, Rules, Walk
from zllm.errors import EXIT_WARNING, UsageError, ZllmError

SUMMARY = "compare an archive with files and folders"


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser(
        "diff",
        "Compares ARCHIVE with what is in DIR (default: here), and prints a line for each difference:\n"
        "missing: it is not on the disk; added: it is not in the archive, but in a folder that is;\n"
        "type, content, mode, link: it is something else, has other data or another mode, or leads elsewhere.\n"
        "Code 1: something differs.",
    )
    reading.arguments(result, members="the folder that it is compared with", rest="DIR", verbose="sum up at the end")
    result.add_argument("--exclude", action="append", default=[], metavar="PATTERN", help="leave out names that match")
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    command = parser()
    args = reading.parse(command, argv, console)
    if len(args.operands) > 1:
        command.error(f"one folder at a time: '{args.operands[1]}' is one name too many")
    folder = args.operands[0] if args.operands else "."
    if not os.path.isdir(folder):
        raise UsageError(f"{folder} is not a folder: name the one that the archive is compared with")
    with reading.opened(args, console) as archive:
        if archive.layout is None:
            raise UsageError("a pipe cannot be compared: save the archive to a file")
        comparison = Comparison(archive, folder, Excluded(args.exclude), args.archive, console)
        comparison.run()
    if comparison.differences:
        console.raise_status(EXIT_WARNING)
    console.facts.update(members=comparison.members, differences=comparison.differences)
    console.detail(
        f"{output.printable(args.archive)}: {output.count(comparison.members)}, {comparison.differences} differences"
    )


class Comparison:
    """Prints differences, in the order of the disk, then what is missing in that of the archive."""

    def __init__(self, archive: Archive, folder: str, excluded: Excluded, name: str, console: output.Console) -> None:
        self.members = self.differences = 0
        self._archive = archive
        self._folder = folder
        self._excluded = excluded
        self._name = name
        self._console = console

    def run(self) -> None:
        """Compare everything."""
        members = {one.name: one for one in reading.members(self._archive, self._name, self._console)}
        members = {name: one for name, one in members.items() if not self._excluded(name)}
        self.members = len(members)
        seen: set[str] = set()
        for found in self._on_disk(members):
            name = names.of_member(found.name)
            member = members.get(name)
            if member is None:
                self._say("added", name)
                continue
            seen.add(name)
            try:
                for what in self._differences(member, found):
                    self._say(what, name)
            except ZllmError as error:
                reading.report(error, name, self._console, self._name)
        for name in members:
            if name not in seen:
                self._say("missing", name)

    def _on_disk(self, members: dict[str, Member]) -> Iterator[Found]:
        """What the folder has of the members, and what is in folders that are members."""
        walk = Walk(Rules(excluded=self._excluded), self._console)
        tops = [name for name in members if not any(above in members for above in _above(name))]
        present = [Name(name) for name in tops if self._is_present(name)]
        yield from walk.operands([Folder(self._folder), *present])

    def _is_present(self, name: str) -> bool:
        """Whether there is something of that name below the folder."""
        if name.startswith("/") or ".." in name.split("/"):
            return False
        return os.path.lexists(os.path.join(os.fsencode(self._folder), names.to_bytes(name)))

    def _say(self, what: str, name: str) -> None:
        self.differences += 1
        print(f"{what}: {output.printable(name)}")

    def _differences(self, member: Member, found: Found) -> Iterator[str]:
        kind = TYPES.get(stat.S_IFMT(found.stat.st_mode))
        original = self._archive.original(member) if member.islnk() else member
        if original is None or kind != (tarfile.REGTYPE if original.isreg() else original.type):
            yield "type"
            return
        if original.isreg() and not self._same_content(original, found):
            yield "content"
        if original.issym():
            if changes.link_text(found) != original.linkname:
                yield "link"
        elif member.mode != stat.S_IMODE(found.stat.st_mode):
            yield "mode"

    def _same_content(self, member: Member, found: Found) -> bool:
        return member.size == found.stat.st_size and changes.same_content(self._archive, member, found)


def _above(name: str) -> Iterator[str]:
    """Names of the folders that a name is in."""
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name
