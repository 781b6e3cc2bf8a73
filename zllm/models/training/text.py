"""The text of a run: every text file below a folder, some of it held out to measure the model on.

Both parts are written into the run's own folder once, so that a run which goes on later has the same held-out text,
whatever has happened to the files meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from zllm import partial
from zllm.errors import UsageError

MAX_HELD_OUT = 400_000
"""Bytes of held-out text, at most: enough to tell 1% apart, and measured twenty times a run."""

_LONG = 64 << 10  # documents of more than twice this are cut into parts, so that a single file can be held out in part
_HEAD = 64 << 10
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]")  # not tab, line ends, form feed and escape


@dataclass(frozen=True)
class Split:
    """Bytes and documents (or parts of long ones) on either side. ``share`` is what was asked for."""

    share: float
    files: int
    train_bytes: int
    held_out_bytes: int
    train_documents: int
    held_out_documents: int


def prepare(data: Path, work: Path, share: float, log: Callable[[str], None]) -> Split:
    """Write ``work/text/train.txt`` and ``work/held-out/held-out.txt``, documents joined by one 0x00 byte each.

    The documents with the smallest hashes are held out, until they have ``share`` of the bytes: which ones depends on
    nothing but what they say, and copies of one document are all on the same side.

    Raises:
        UsageError: there is no text, or ``share`` is not between 0 and 0.49.
    """
    if not 0 <= share < 0.5:
        raise UsageError(f"{share:.0%} of the text cannot be held out: choose 0 to 49%")
    done = work / "text.json"
    if done.exists():
        return Split(**json.loads(done.read_text(encoding="utf-8")))
    sizes: dict[bytes, int] = {}
    for document in _documents(data):
        digest = _digest(document)
        sizes[digest] = sizes.get(digest, 0) + len(document)
    if not sizes:
        raise UsageError(f"no training text under {data}: there is no text file in it")
    files = sum(1 for _ in _files(data))
    split = Split(share, files, *_write(data, work, _choose(sizes, share)))
    with partial.whole_file(str(done)) as file:
        file.write(json.dumps(asdict(split)).encode())
    log(
        f"{split.files} text files: {split.train_bytes:,} bytes in {split.train_documents} documents to train on,"
        f" {split.held_out_bytes:,} bytes in {split.held_out_documents} held out"
    )
    return split


def forget(work: Path) -> None:
    """Let the next :func:`prepare` look at the text again, which may be more by then."""
    (work / "text.json").unlink(missing_ok=True)


def _digest(document: bytes) -> bytes:
    return hashlib.sha256(document).digest()[:16]


def _choose(sizes: dict[bytes, int], share: float) -> set[bytes]:
    wanted = min(MAX_HELD_OUT, share * sum(sizes.values()))
    chosen: set[bytes] = set()
    total = 0
    for digest in sorted(sizes):
        if total >= wanted or len(chosen) == len(sizes) - 1:
            break
        # One that is much too long is for training; there are others, or it is alone.
        if total + sizes[digest] <= max(2 * wanted, _LONG):
            chosen.add(digest)
            total += sizes[digest]
    return chosen


def _write(data: Path, work: Path, held_out: set[bytes]) -> tuple[int, int, int, int]:
    train, held = work / "text" / "train.txt", work / "held-out" / "held-out.txt"
    for path in (train, held):
        path.parent.mkdir(parents=True, exist_ok=True)
    size, count = [0, 0], [0, 0]
    with partial.whole_file(str(train)) as train_file, partial.whole_file(str(held)) as held_file:
        for document in _documents(data):
            side = int(_digest(document) in held_out)
            file = (train_file, held_file)[side]
            file.write(b"\0" + document if count[side] else document)
            size[side] += len(document)
            count[side] += 1
    return size[0], size[1], count[0], count[1]


def _files(data: Path) -> Iterator[Path]:
    """Text files, in order; without hidden ones, tables that describe the .txt beside them, and what runs made."""
    for path in sorted(data.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(data).parts)
        table = path.suffix == ".tsv" and path.with_suffix(".txt").exists()
        ours = any((parent / "text.json").exists() for parent in path.parents if data in parent.parents)
        if hidden or table or ours or path.is_symlink() or not path.is_file() or not path.stat().st_size:
            continue
        with path.open("rb") as file:
            head = file.read(_HEAD)
        controls = len(_CONTROL.findall(head.replace(b"\0", b"") if path.suffix == ".txt" else head))
        if controls * 1000 <= len(head) and (path.suffix == ".txt" or b"\0" not in head):
            yield path


def _documents(data: Path) -> Iterator[bytes]:
    """Documents, long ones in parts. A .txt file may hold many, joined by 0x00 bytes."""
    for path in _files(data):
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            start = 0
            while start < len(text):
                end = text.find(b"\0", start) if path.suffix == ".txt" else len(text)
                end = end if end >= 0 else len(text)
                yield from _parts(text, start, end)
                start = end + 1


def _parts(text: mmap.mmap, start: int, end: int) -> Iterator[bytes]:
    """Cut at line ends where there are any near."""
    while end - start > 2 * _LONG:
        line = text.find(b"\n", start + _LONG, min(end, start + 2 * _LONG))
        cut = line + 1 if line >= 0 else start + _LONG
        yield text[start:cut]
        start = cut
    if end > start:
        yield text[start:end]
