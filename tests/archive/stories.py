"""Archives of all kinds, whole and damaged, from seeds; and what each reader says of one."""

from __future__ import annotations

import io
import os
import random
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

import zllm
from zllm.archive import builder, layout
from zllm.archive.options import WriteOptions
from zllm.archive.writer import Writer
from zllm.cli import main as program
from zllm.cli import signals
from zllm.format import ends

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
WORDS = [b"war ", b"peace ", b"the ", b"family ", b"happy\n", b"{'a': 1}\n", b"<p>", b"0123 "]


@dataclass
class Sample:
    """An archive of the bytes ``original``, in which nothing is damaged if ``whole``.

    ``contents``: what a member of that name may be, and nothing else; None if the tar was changed before it was packed.
    """

    data: bytes
    original: bytes
    whole: bool
    contents: dict[str, set[bytes]] | None = None
    what: str = ""


def content(rng: random.Random) -> bytes:
    kind = rng.randrange(5)
    size = rng.choice([0, 1, 100, 511, 512, 513, 3000, 9000, 30_000])
    if kind == 0:
        return rng.randbytes(size)
    if kind == 1:
        return bytes(size)
    return b"".join(rng.choices(WORDS, k=1 + size // 5))[:size]


def tar(rng: random.Random, contents: dict[str, set[bytes]], first: str) -> bytes:
    """A tar stream; the names in it begin with ``first``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=rng.choice(FORMATS)) as plain:
        for number in range(rng.choice([0, 1, 2, 5, 12])):
            name = f"{first}{number}" + rng.choice(["", ".txt", "-" + "long" * 18])
            info = tarfile.TarInfo(name)
            info.mtime = rng.randrange(1 << 31)
            kind = rng.random()
            if kind < 0.1:
                info.type = tarfile.DIRTYPE
                plain.addfile(info)
            elif kind < 0.2:
                info.type, info.linkname = tarfile.SYMTYPE, "elsewhere"
                plain.addfile(info)
            else:
                data = content(rng)
                info.size = len(data)
                plain.addfile(info, io.BytesIO(data))
                contents.setdefault(name, set()).add(data)
    return out.getvalue()


def stream(rng: random.Random, contents: dict[str, set[bytes]], first: str) -> tuple[bytes, str]:
    """Something to pack, and what it is."""
    kind = rng.randrange(12)
    if kind == 0:
        data = content(rng)[: rng.choice([0, 1, 6, 511, 512, 40_000])]
        contents.setdefault("-", set()).add(data)
        return data, "raw"
    data = tar(rng, contents, first)
    what = "tar"
    if kind == 1:
        data, what = data + tar(rng, contents, first + "second"), "two tars"
    elif kind == 2:
        data, what = data[: rng.randrange(512, len(data))], "cut tar"
    elif kind == 3:
        broken = bytearray(data)
        broken[rng.randrange(0, len(data), 512) + rng.randrange(512)] ^= 1 << rng.randrange(8)
        data, what = bytes(broken), "flipped tar"
    elif kind == 4:
        data, what = data + rng.randbytes(rng.choice([5, 600, 20_000])), "tar and garbage"
    elif kind == 5:
        at = rng.randrange(0, len(data), 512)
        data, what = data[:at] + data[at + 512 :], "tar without a block"
    return data, what


def packed(data: bytes, section: int, **options: object) -> bytes:
    out = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "SECTION", section)
        sink = Writer(out, WriteOptions(threads=1, **options))
        sink.write(data)
        sink.close()
    return out.getvalue()


def archive(rng: random.Random, contents: dict[str, set[bytes]], first: str) -> tuple[bytes, bytes, str]:
    data, what = stream(rng, contents, first)
    section = rng.choice([4 << 10, 16 << 10, 64 << 10, 32 << 20])
    level = rng.choice([1, 2, 2, 3, 5])
    return packed(data, section, level=level, llm=False), data, f"{what} ({len(data)}, sections {section}, -{level})"


def sample(seed: int) -> Sample:
    """The archive of a seed."""
    rng = random.Random(seed)
    contents: dict[str, set[bytes]] = {}
    data, whole, what = archive(rng, contents, "a")
    change = rng.choice([
        "none", "none", "flip", "flip", "flips", "burst", "cut", "joined", "joined", "joined and flipped", "zeros",
        "garbage",
        "zeros between", "garbage between", "swapped", "dropped", "repeated", "joined and cut", "overwritten", "nested",
    ])  # fmt: skip
    if change == "nested":  # an archive in an archive, as it is
        inner = packed(tar(rng, {}, "inner"), 4 << 10, level=2)
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as plain:
            info = tarfile.TarInfo("nested.zllm")
            info.size = len(inner)
            plain.addfile(info, io.BytesIO(inner))
        contents = {"nested.zllm": {inner}}
        whole = out.getvalue()
        data = packed(whole, 32 << 20, level=1)
        what, change = "nested", rng.choice(["none", "flip", "flips", "burst"])
    if "joined" in change or "between" in change:
        other, more, also = archive(rng, contents, "b")
        gap = bytes(rng.choice([1, 512, 5000])) if change == "zeros between" else b""
        gap = rng.randbytes(rng.choice([1, 600, 5000])) if change == "garbage between" else gap
        data, whole, what = data + gap + other, whole + more, f"{what} + {also}"
    changed = mutated(rng, data, change)
    plain_change = changed == data or change in ("zeros", "garbage", "zeros between")
    exact = not any(word in what for word in ("cut tar", "flipped", "without"))
    undamaged = plain_change and change != "garbage between"
    return Sample(changed, whole, undamaged, contents if exact else None, f"{what}: {change}")


def mutated(rng: random.Random, data: bytes, change: str) -> bytes:
    bad = bytearray(data)
    if change in ("flip", "joined and flipped"):
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
    elif change == "flips":
        for _ in range(rng.randrange(2, 6)):
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
    elif change == "burst":
        at, size = rng.randrange(len(bad)), rng.randrange(2, 60)
        bad[at : at + size] = rng.randbytes(len(bad[at : at + size]))
    elif change == "overwritten":
        at, size = rng.randrange(len(bad)), rng.randrange(2, 2000)
        bad[at : at + size] = bytes(len(bad[at : at + size]))
    elif change in ("cut", "joined and cut"):
        del bad[rng.randrange(len(bad)) :]
    elif change == "zeros":
        bad += bytes(rng.choice([1, 17, 512, 70_000]))
    elif change == "garbage":
        bad += rng.randbytes(rng.choice([1, 17, 512, 70_000]))
    elif change in ("swapped", "dropped", "repeated"):
        return rearranged(data, rng, change)
    return bytes(bad)


def rearranged(data: bytes, rng: random.Random, change: str) -> bytes:
    rows = layout.find(io.BytesIO(data)).rows
    places = [ends.HEADER_SIZE, *(row.end for row in rows)]
    sections = [data[start:end] for start, end in pairwise(places)]
    if len(sections) < 2:
        return data
    at = rng.randrange(len(sections) - 1)
    if change == "swapped":
        sections[at], sections[at + 1] = sections[at + 1], sections[at]
    elif change == "dropped":
        del sections[at]
    else:
        sections.insert(at, sections[at])
    return data[: places[0]] + b"".join(sections) + data[places[-1] :]


class Pipe(io.RawIOBase):
    """Gives what it likes, and cannot seek."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._file.readinto(buffer)


@contextmanager
def standard_streams(data: bytes | None) -> Iterator[tuple[io.BytesIO, io.StringIO]]:
    out, err = io.BytesIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        source = io.BufferedReader(Pipe(data if data is not None else b""))
        patch.setattr(sys, "stdin", io.TextIOWrapper(source))
        wrapper = io.TextIOWrapper(out, encoding="utf-8", errors="surrogateescape")
        patch.setattr(sys, "stdout", wrapper)
        patch.setattr(sys, "stderr", err)
        patch.setattr(signals, "install", lambda: None)
        yield out, err
        wrapper.flush()
        wrapper.detach()


def run(*words: str, data: bytes | None = None) -> tuple[int, bytes, str]:
    """Exit code, stdout and stderr of the program, in this process."""
    with standard_streams(data) as (out, err):
        code = program.main(words, "zllm")
        sys.stdout.flush()
    return code, out.getvalue(), err.getvalue()


@dataclass
class Told:
    """What a reader tells: exit code (of Python: of the first error), names, contents, messages."""

    code: int
    names: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    data: bytes = b""
    text: str = ""


def stories(sample: Sample, folder: Path) -> dict[str, Told]:
    """What each reader says, by its name."""
    path = folder / "a.zllm"
    path.write_bytes(sample.data)
    told = {}
    for where, name, data in (("file", str(path), None), ("pipe", "-", sample.data)):
        code, out, text = run("list", "--null", name, data=data)
        names = [os.fsdecode(part) for part in out.split(b"\0")[:-1]]
        told[f"list {where}"] = Told(code, names, text=text)
        code, out, text = run("test", name, data=data)
        told[f"test {where}"] = Told(code, data=out, text=text)
        target = folder / where
        code, out, text = run("extract", name, "-C", str(target), data=data)
        told[f"extract {where}"] = Told(code, files=written(target), text=text)
        code, out, text = run("cat", "--tar", name, data=data)
        told[f"cat {where}"] = Told(code, data=out, text=text)
        told[f"python {where}"] = python(sample.data, "r" if data is None else "r|")
    code, out, text = run("-d", data=sample.data)
    told["-d"] = Told(code, data=out, text=text)
    return told


def written(target: Path) -> dict[str, bytes]:
    paths = list(target.iterdir()) if target.exists() else []
    return {path.name: path.read_bytes() for path in paths if path.is_file() and not path.is_symlink()}


def python(data: bytes, mode: str) -> Told:
    file = io.BytesIO(data) if mode == "r" else Pipe(data)
    told = Told(0)
    try:
        with zllm.open(fileobj=file, mode=mode) as archive:
            try:
                for member in archive:
                    told.names.append(member.name)
                    if member.isreg():
                        told.files.update(read(archive, member, told))
            finally:
                if archive.problems or archive.warnings:
                    told.code = told.code or (archive.problems[0].exit_code if archive.problems else 1)
    except zllm.NotTarError as exc:
        told.names.append("-")
        try:
            told.files["-"] = exc.view.read()
        except zllm.ZllmError as wrong:
            told.code, told.text = wrong.exit_code, str(wrong)
        told.code = told.code or next((p.exit_code for p in exc.view.problems), 1 if exc.view.warnings else 0)
    except zllm.ZllmError as exc:
        told.code, told.text = told.code or exc.exit_code, str(exc)
    return told


def read(archive: zllm.ZllmFile, member: zllm.ZllmInfo, told: Told) -> dict[str, bytes]:
    try:
        return {member.name: archive.extractfile(member).read()}
    except zllm.ZllmError as exc:
        told.code = told.code or exc.exit_code
        return {}
