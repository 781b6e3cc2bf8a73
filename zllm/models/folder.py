"""The user's models on disk: ``$ZLLM_HOME/models``.

::

    models/SHA256.zlm     a model file, under the hash of its content; never changed once it has that name
    models/SHA256.md      its card, if it has one
    models/names/NAME     JSON: the hash that NAME stands for, and the known answer that the model gave when it came
    models/NAME.zlm       a file that a user copied here; used like the others
    models/.lock          held while names and files are added or removed

    models/.import-*/     where a model is being made; locked by the process that does it, as long as that lives

What only reads does without the folder where there is none, or where it cannot be read: the built-in models are in the
package. Readers take no lock. A file gets its name when it is whole and on the disk, and what is removed stays readable
for those who have it open, so half a file is never seen. Writers take turns, so that a name never stands for a file
that another process is just removing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zllm import partial
from zllm.errors import MissingModelError, UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_HEX = re.compile(r"[0-9a-f]+")
_DIGITS = 64
_UNFINISHED = re.compile(r"\.[0-9a-f]{64}\..*\.part")  # as zllm.partial calls them
_WORK = ".import-"
MIN_PREFIX = 8
"""Hexadecimal digits of a hash that are enough to ask for a model by it."""


@dataclass(frozen=True)
class Name:
    """What a name stands for. ``known_answer``: hexadecimal, empty if it is not known."""

    sha256: str
    known_answer: str = ""


def home() -> Path:
    """The user's folder: ``$ZLLM_HOME``, else ``zllm`` below the cache folder.

    Raises:
        UsageError: this user has no home folder, and none of the variables is set.
    """
    if os.environ.get("ZLLM_HOME"):
        return Path(os.environ["ZLLM_HOME"])
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):  # which the standard says is to be ignored
        user = os.environ.get("HOME") or os.path.expanduser("~")
        if user == "~" or not user:
            raise UsageError("this user has no home folder to keep models in: set ZLLM_HOME to a folder for them")
        cache = os.path.join(user, ".cache")
    return Path(cache) / "zllm"


def models() -> Path:
    """Where installed models are. Raises as :func:`home`."""
    return home() / "models"


def _entries(part: str = "") -> list[Path]:
    """What is in the folder, or in a part of it; nothing where it cannot be had."""
    try:
        return sorted((models() / part).iterdir())
    except (UsageError, OSError):
        return []


def problem() -> str:
    """Why the folder cannot be read; empty if it can, or if there is none."""
    try:
        os.scandir(models()).close()
    except (UsageError, FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as exc:
        return f"{models()}: {exc.strerror}"
    return ""


def path_of(sha256: str) -> Path:
    """The place of the model with that hash (hexadecimal), whether it is there or not. Raises as :func:`home`."""
    return models() / f"{sha256}.zlm"


def sha256_of(path: Path) -> str:
    """The hash that a file of the store has by its name; empty for a file with another name."""
    stem = path.stem
    if len(stem) != _DIGITS or not _HEX.fullmatch(stem):
        return ""
    try:
        return stem if path.parent == models() else ""
    except UsageError:
        return ""


def files() -> list[Path]:
    """Every model file in the folder."""
    return [path for path in _entries() if path.suffix == ".zlm" and not path.name.startswith(".")]


def check_name(name: str) -> None:
    """Refuse what would be taken for something else.

    Raises:
        UsageError: it cannot be a name in the store.
    """
    if not _NAME.fullmatch(name) or name.endswith(".zlm"):
        raise UsageError(
            f"{name!r} cannot be a model's name here: up to 100 letters, digits and . _ + -, with a letter or a digit"
            " first, and not .zlm at the end. Choose one with --name"
        )
    if len(name) >= MIN_PREFIX and _HEX.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a model's name here: it looks like a hash. Choose one with --name")


def read_name(name: str) -> Name | None:
    """What ``name`` stands for; None if there is no such name, or its file is damaged."""
    if not _NAME.fullmatch(name):
        return None
    try:
        facts = json.loads((models() / "names" / name).read_bytes())
        sha256 = facts["sha256"]
        if not isinstance(sha256, str) or len(sha256) != _DIGITS or not _HEX.fullmatch(sha256):
            return None
        return Name(sha256, str(facts.get("known_answer", "")))
    except (UsageError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def names() -> dict[str, Name | None]:
    """All names and what they stand for; None for one whose file is damaged."""
    found = [path.name for path in _entries("names") if _NAME.fullmatch(path.name)]
    known = {name: read_name(name) for name in found}
    # A file that has just been removed is not a damaged one.
    return {name: what for name, what in known.items() if what or os.path.lexists(models() / "names" / name)}


def by_prefix(prefix: str) -> Path | None:
    """The installed file whose hash starts with ``prefix``, if that is enough digits and there is one.

    Raises:
        UsageError: there are several.
    """
    prefix = prefix.lower()
    if len(prefix) < MIN_PREFIX or not _HEX.fullmatch(prefix):
        return None
    found = [path for path in files() if sha256_of(path).startswith(prefix)]
    if len(found) > 1:
        raise UsageError(f"several models have a hash that starts with {prefix}: give more digits")
    return found[0] if found else None


def put(data: bytes | memoryview, name: str, known_answer: str, *, replace: bool = False) -> str:
    """Install a model file, already found to be proper, under ``name``. Gives back its hash. Many may do this at once.

    Raises:
        UsageError: the name is not valid, or stands for another model and ``replace`` is false.
        OSError: it cannot be written.
    """
    check_name(name)
    sha256 = hashlib.sha256(data).hexdigest()
    target = path_of(sha256)
    with _lock():
        (models() / "names").mkdir(exist_ok=True)
        known = read_name(name)
        if known is not None and known.sha256 != sha256 and not replace:
            raise UsageError(
                f"the name {name!r} stands for another model (sha256 {known.sha256[:16]}...): choose another one with"
                " --name, or pass --force to give it to this one"
            )
        _sweep()
        if not _is_whole(target, sha256):
            with partial.whole_file(str(target)) as file:
                file.write(data)
            partial.sync_folder(models())
        text = json.dumps({"sha256": sha256, "known_answer": known_answer})
        with partial.whole_file(str(models() / "names" / name)) as file:
            file.write(text.encode() + b"\n")
        partial.sync_folder(models() / "names")
    return sha256


def remove_name(name: str) -> tuple[str, bool]:
    """Remove a name, and its file if no other name stands for that. Gives back the hash, and whether the file went.

    Raises:
        MissingModelError: there is no such name.
        OSError: it cannot be removed.
    """
    with _lock():
        target = models() / "names" / name
        known = read_name(name)
        if known is None and not (_NAME.fullmatch(name) and target.exists()):
            raise MissingModelError(name, "", 0)
        target.unlink()
        sha256 = known.sha256 if known else ""
        shared = any(other and other.sha256 == sha256 for other in names().values())
        if not sha256 or shared:
            return sha256, False
        _remove(path_of(sha256))
        return sha256, True


def remove_file(path: Path) -> list[str]:
    """Remove a file and the names that stand for it, which are given back.

    Raises:
        OSError: it cannot be removed.
    """
    with _lock():
        sha256 = sha256_of(path)
        gone = [name for name, what in names().items() if what and what.sha256 == sha256]
        for name in gone:
            (models() / "names" / name).unlink(missing_ok=True)
        _remove(path)
        return gone


def _remove(path: Path) -> None:
    """A model, and the card beside it, if it has one."""
    path.unlink(missing_ok=True)
    path.with_suffix(".md").unlink(missing_ok=True)


def _sweep() -> None:
    """Remove what processes left that died while they wrote. Under the lock: no other process is writing now."""
    for path in (*models().glob(".*.part"), *(models() / "names").glob(".*.part")):
        if path.parent.name == "names" or _UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)
    for path in models().glob(f"{_WORK}*"):
        with (
            contextlib.suppress(OSError),
            _held(path, fcntl.LOCK_EX | fcntl.LOCK_NB),
        ):  # it is not in use
            _remove_all(path)


def _remove_all(path: Path) -> None:
    import shutil  # reading an archive comes by here, and needs none of what this loads

    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _held(path: Path, how: int) -> Iterator[None]:
    """A folder's lock. Raises :class:`OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A folder for a model that is being made, on the file system that it will be installed on. It is removed with all
    that is in it when the block ends; if the process is killed, when the next one makes or installs a model.

    Raises:
        UsageError: the user's folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        with _lock():
            _sweep()
            place = models() / f"{_WORK}{os.urandom(8).hex()}"
            place.mkdir(mode=0o700)
            stack.callback(_remove_all, place)
            with contextlib.suppress(OSError):  # a file system without locks
                stack.enter_context(_held(place, fcntl.LOCK_EX))
        yield place


def _is_whole(path: Path, sha256: str) -> bool:
    """Whether the file is there and undamaged. Models are added rarely, so reading one again costs little."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except FileNotFoundError:
        return False
    return digest.hexdigest() == sha256


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """One writer at a time, of all processes of this user. The system lets go of it when a process dies.

    Raises:
        UsageError: the user's folder cannot be written.
    """
    try:
        models().mkdir(parents=True, exist_ok=True)
        file = (models() / ".lock").open("ab")
    except OSError as exc:
        raise UsageError(
            f"no model can be stored in {models()}: {exc.strerror}: set ZLLM_HOME to a folder that can be written"
        ) from exc
    with file:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
