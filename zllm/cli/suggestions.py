"""What people may have meant: slips that are common among users of tar, zstd, gzip and 7-Zip."""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Iterable, Sequence

# Words of other programs, and what they are here.
_VERBS = {
    "a": "create", "add": "create", "archive": "create", "c": "create", "compress": "create", "new": "create",
    "pack": "create", "zip": "create",
    "d": "extract", "decompress": "extract", "e": "extract", "get": "extract", "restore": "extract",
    "unpack": "extract", "untar": "extract", "unzip": "extract", "x": "extract",
    "contents": "list", "l": "list", "ls": "list", "t": "test",
    "check": "test", "integrity": "test", "verify": "test",
    "compare": "diff", "r": "append", "u": "update", "refresh": "update", "remove": "delete", "rm": "delete",
    "vacuum": "compact", "prune": "compact", "benchmark": "bench", "models": "model", "print": "cat", "stat": "info",
}  # fmt: skip
_LEVELS = "levels are 1 to 9"
# Options of other programs, and what to do here.
_OPTIONS = {
    "--append": "zllm append ARCHIVE PATH...",
    "--best": "-9 is the strongest level",
    "--bzip2": "zllm chooses codecs by itself",
    "--concatenate": "cat joins archives: cat a.zllm b.zllm > c.zllm",
    "--compare": "zllm diff ARCHIVE DIR",
    "--create": "zllm create ARCHIVE PATH...",
    "--decode": "--decompress, or -d",
    "--delete": "zllm delete ARCHIVE MEMBER...",
    "--diff": "zllm diff ARCHIVE DIR",
    "--extract": "zllm extract ARCHIVE",
    "--fast": "-1 is the fastest level",
    "--get": "zllm extract ARCHIVE",
    "--gzip": "zllm chooses codecs by itself",
    "--list": "zllm list ARCHIVE",
    "--lzma": "zllm chooses codecs by itself",
    "--absolute-names": "names are always stored, and members extracted, relative to a folder",
    "--keep-old-files": "an option of extract",
    "--overwrite": "files that exist are replaced unless -k is given",
    "--preserve-permissions": "an option of extract",
    "--same-owner": "an option of extract",
    "--selinux": "labels are not stored: the system that unpacks gives every file its own",
    "--sparse": "holes are found without it",
    "--strip-components": "members are extracted under their whole names",
    "--to-stdout": "zllm cat ARCHIVE MEMBER writes to stdout",
    "--ultra": "-9 is the strongest level",
    "--uncompress": "--decompress, or -d",
    "--update": "zllm update ARCHIVE PATH...",
    "--xz": "zllm chooses codecs by itself",
    "--zstd": "zllm chooses codecs by itself",
    "-J": "zllm chooses codecs by itself",
    "-P": "names are always stored, and members extracted, relative to a folder",
    "-S": "holes are found without it",
    "-O": "zllm cat ARCHIVE MEMBER writes to stdout",
    "-T": "-j N sets the number of threads",
    "-a": "zllm chooses codecs by itself",
    "-k": "input files are always kept",
    "-l": "zllm list ARCHIVE",
    "-p": "modes are kept without it",
    "-r": "zllm append ARCHIVE PATH...",
    "-x": "zllm extract ARCHIVE",
    "-z": "zllm chooses codecs by itself",
}  # fmt: skip


def unknown_option(name: str, known: Iterable[str]) -> str:
    """What to say of an option that a command does not have."""
    has = list(known)
    if re.match("-T(?![0-9])|--files-from$", name) and "--file" in has:  # a command that takes members
        return f"unknown option {name}: name the members: xargs -d '\\n' zllm extract ARCHIVE < FILE"
    if re.match("-[0-9]", name) and "-1" in has:
        return f"{name} is not a level: {_LEVELS}"
    hint = _OPTIONS.get(name) or _close(name, has) or _OPTIONS.get(name[:2], "")
    return f"unknown option {name}" + (f": {hint}" if hint else "")


def _close(name: str, known: Sequence[str]) -> str:
    if not name.startswith("--"):
        return f"did you mean -{name}?" if f"-{name}" in known and len(name) > 2 else ""
    longer = [option for option in known if len(name) > 4 and option.startswith(name)]
    close = longer if len(longer) == 1 else difflib.get_close_matches(name[:80], known, 1, 0.75)
    return f"did you mean {close[0]}?" if close else ""


def level(text: str) -> str:
    """What to say of a level that there is not."""
    return f"'{text}' is not a level: {_LEVELS}"


def tar_letters(word: str) -> str | None:
    """What to say of a cluster of tar's letters that has some which mean nothing here; None for any other word."""
    match = re.fullmatch(r"-?([A-Za-z]*f)", word)
    verbs = [letter for letter in (match[1] if match else "") if letter in "cxt"]
    if match is None or len(verbs) != 1 or not set(match[1]) <= set("cxtvfzjJaIpkhZm"):
        return None
    more = "".join(letter for letter in "vpk" if letter in match[1] and (letter == "v" or verbs == ["x"]))
    clean = f"zllm -{verbs[0]}{more}f ARCHIVE{' PATH...' if verbs[0] == 'c' else ''}"
    codec = set(match[1]) & set("zjJaIZ")
    known = "of tar's letters only c, x, t, v and f work here, and with x also p and k"
    why = "zllm chooses codecs by itself" if codec else known
    return f"{word}: {why}: {clean}"


def unknown_command(word: str, commands: Iterable[str]) -> str:
    """The message about a first word that is not a command."""
    if os.path.lexists(word) and word.lower() not in _VERBS:
        return f"unknown command '{word}': it is {_existing(word)}. zllm --help lists the commands"
    if "/" in word or re.search(r"\w\.\w+$", word):
        return f"{word}: neither a file nor a command. zllm --help lists the commands"
    return f"{unknown_word(word, commands, 'command')} zllm --help lists the commands"


def unknown_word(word: str, known: Iterable[str], what: str) -> str:
    """What to say of a command or an action that there is not: a sentence, or two."""
    names = list(known)
    meant = _VERBS.get(word.lower(), "")
    close = [meant] if meant in names else difflib.get_close_matches(word.lower()[:80], names, 1, 0.6)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"unknown {what} '{word}'.{hint}"


def _existing(path: str) -> str:
    if os.path.isdir(path):
        return "a folder; zllm create ARCHIVE FOLDER packs it"
    if is_archive(path):
        return "an archive; zllm list ARCHIVE shows what is in it, zllm extract ARCHIVE unpacks it"
    return "a file; zllm create ARCHIVE FILE packs it"


def is_file(path: str) -> bool:
    """Whether ``path`` is a file, and not likely to be meant as another program's command."""
    return path.lower() not in _VERBS and os.path.isfile(path)


def is_archive(path: str) -> bool:
    """Whether ``path`` is a file that begins as archives do."""
    from zllm.format.ends import FILE_MAGIC

    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return file.read(len(FILE_MAGIC)) == FILE_MAGIC
    except OSError:
        return False


def swapped(archive: str, operands: Sequence[str]) -> str | None:
    """What to say if the archive to be made seems to come last instead of first; None if all is well."""
    last = operands[-1] if operands else ""
    if archive == "-" or not os.path.exists(archive):
        return None
    folder = os.path.isdir(archive)
    if _named_as_archive(last) and (folder or not _named_as_archive(archive)) and not os.path.exists(last):
        return f"{archive} exists and {last} does not: the archive comes first: zllm create ARCHIVE PATH..."
    if folder:
        return f"{archive} is a folder: name the archive first: zllm create ARCHIVE PATH..."
    return None


def _named_as_archive(name: str) -> bool:
    return name.lower().endswith(".zllm")


def missing_member(operand: str, command: str, meant: str = "") -> str:
    """What to say of an operand that no member answers to. ``meant``: a member whose name differs in ``/`` and ``.``"""
    text = f"{operand}: no such member"
    if meant:
        return f"{text}. Did you mean {meant}?"
    if command == "extract" and os.path.isdir(operand):
        return f"{text}. To extract into that folder: -C {operand}"
    if is_archive(operand):
        each = "zllm -t FILE... tests several archives" if command == "test" else "one archive at a time"
        return f"{text}, but an archive: {each}"
    return f"{text}. zllm list shows what there is"
