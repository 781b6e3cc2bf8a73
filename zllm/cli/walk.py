"""Finds what is to be packed: names from the command line and from files, folders walked in a fixed order."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from zllm.cli import patterns
from zllm.cli.options import folder_of
from zllm.cli.output import Console, os_message


@dataclass(frozen=True)
class Found:
    """One thing to pack: where it is, what it is called in the archive, and its state when it was found."""

    path: str
    name: str
    stat: os.stat_result


@dataclass
class Rules:
    """What a walk leaves out. ``excluded`` are shell patterns; ``ours`` are (device, inode) of the archive itself."""

    excluded: list[str] = field(default_factory=list)
    recursive: bool = True
    one_file_system: bool = False
    dereference: bool = False
    ours: set[tuple[int, int]] = field(default_factory=set)

    def excludes(self, name: str) -> bool:
        """Whether a pattern says to leave ``name`` out."""
        return bool(self.excluded) and patterns.excluded(name, self.excluded)


def names_from(file_name: str, null: bool) -> list[str]:
    """The names in a file (``-``: stdin), one a line or, with ``null``, each ended by a NUL. Raises OSError."""
    if file_name == "-":
        data = sys.stdin.buffer.read()
    else:
        with open(file_name, "rb") as file:
            data = file.read()
    return [os.fsdecode(name) for name in data.split(b"\0" if null else b"\n") if name]


def member_name(path: str) -> str:
    """The name in the archive: relative, and nothing that leads out of the folder it is extracted to, as in tar."""
    parts = path.split("/")
    if ".." in parts:
        parts = parts[len(parts) - parts[::-1].index("..") :]
    return "/".join(parts).strip("/") or "."


class Walk:
    """Iterates over :class:`Found`. What cannot be read is reported, and the walk goes on."""

    def __init__(self, rules: Rules, console: Console) -> None:
        self.rules = rules
        self.console = console
        self.missing = 0  # operands that do not exist
        self.found = 0  # operands that do
        self._shortened = False

    def operands(self, operands: Iterable[str]) -> Iterator[Found]:
        """Everything below ``operands``, in their order; ``-C`` among them holds for those after it."""
        folder = ""
        for operand in operands:
            change = folder_of(operand)
            if change is not None:
                folder = os.path.join(folder, change)
                continue
            name = member_name(operand)
            if not self._shortened and operand.startswith(("/", "../")):
                self._shortened = True
                self.console.note(f"names are stored relative: {operand} as {name}")
            first = self._look(os.path.join(folder, operand), name)
            if first is None:
                self.missing += 1
                continue
            self.found += 1
            if not self.rules.excludes(name):
                yield from self._below(first, first.stat.st_dev)

    def _below(self, top: Found, device: int) -> Iterator[Found]:
        waiting = [top]
        while waiting:
            found = waiting.pop()
            if (found.stat.st_dev, found.stat.st_ino) in self.rules.ours:
                continue
            yield found
            if not stat.S_ISDIR(found.stat.st_mode) or not self.rules.recursive:
                continue
            if self.rules.one_file_system and found.stat.st_dev != device:
                continue
            waiting.extend(reversed(list(self._children(found))))

    def _children(self, folder: Found) -> Iterator[Found]:
        try:
            # By the bytes of the name: the same order in every locale.
            entries = sorted(os.listdir(folder.path), key=os.fsencode)
        except OSError as error:
            self.console.warn(f"{os_message(error)}: its contents are skipped")
            return
        for entry in entries:
            name = f"{folder.name}/{entry}"
            if self.rules.excludes(name):
                continue
            child = self._look(os.path.join(folder.path, entry), name)
            if child is not None:
                yield child

    def _look(self, path: str, name: str) -> Found | None:
        try:
            return Found(path, name, os.stat(path) if self.rules.dereference else os.lstat(path))
        except OSError as error:
            self.console.warn(f"{os_message(error)}: skipped")
            return None
