"""Other compressors. Each codes one file, usually a tar archive, and back; those not installed are left out."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import zstandard

from zllm.benchmark.workload import Workload
from zllm.errors import UsageError, ZllmError

# The size of an empty zpaq archive with one block. Counted, it would flatter any compressor on small inputs.
ZPAQ_FIXED = 1016
_COPY = 1 << 20


class RivalError(ZllmError):
    """Another compressor failed; its row is left out."""


class Contender(Protocol):
    """Anything that can be compared.

    ``fixed``: bytes of every archive that have nothing to do with the data. ``suffix``: what its files end in.
    """

    name: str
    fixed: int
    suffix: str

    def encode(self, work: Workload, target: Path) -> None:
        """Code the workload into the file ``target``."""

    def decode(self, work: Workload, source: Path, folder: Path) -> bool:
        """Decode ``source``, using ``folder`` for output; whether the result is what was encoded."""

    def model_bytes(self, coded: Path) -> int:
        """Size of the models that decoding ``coded`` needs."""


class Rival:
    """A compressor of single files."""

    name: str
    fixed = 0
    suffix = ".out"

    def encode(self, work: Workload, target: Path) -> None:
        """Code the workload into the file ``target``."""
        self.pack(work.source, target)

    def decode(self, work: Workload, source: Path, folder: Path) -> bool:
        """Decode ``source`` into ``folder`` and compare it with what went in."""
        return same(self.unpack(source, folder), work.source)

    def model_bytes(self, coded: Path) -> int:
        """0: other compressors have no models."""
        return 0

    def pack(self, source: Path, target: Path) -> None:
        """Compress one file."""
        raise NotImplementedError

    def unpack(self, source: Path, folder: Path) -> Path:
        """Decompress into ``folder``; the path of the result."""
        raise NotImplementedError


class Zstd(Rival):
    """zstd as its command line tool writes it (checksum and content size), through the library."""

    def __init__(self, level: int) -> None:
        self.level = level
        self.name = f"zstd -{level}"

    def pack(self, source: Path, target: Path) -> None:
        """Compress one file."""
        compressor = zstandard.ZstdCompressor(level=self.level, write_checksum=True)
        with source.open("rb") as file, target.open("wb") as out:
            compressor.copy_stream(file, out, size=source.stat().st_size, read_size=_COPY)

    def unpack(self, source: Path, folder: Path) -> Path:
        """Decompress into ``folder``."""
        with source.open("rb") as file, (folder / "out").open("wb") as out:
            zstandard.ZstdDecompressor().copy_stream(file, out, read_size=_COPY, write_size=_COPY)
        return folder / "out"


class Xz(Rival):
    """``xz -9e``, through the library."""

    name = "xz -9e"

    def pack(self, source: Path, target: Path) -> None:
        """Compress one file."""
        with source.open("rb") as file, lzma.open(target, "wb", preset=9 | lzma.PRESET_EXTREME) as out:
            shutil.copyfileobj(file, out, _COPY)

    def unpack(self, source: Path, folder: Path) -> Path:
        """Decompress into ``folder``."""
        with lzma.open(source) as file, (folder / "out").open("wb") as out:
            shutil.copyfileobj(file, out, _COPY)
        return folder / "out"


class Brotli(Rival):
    """``brotli -q 11`` with its largest standard window, by its command line tool."""

    name = "brotli -q 11"
    tool = "brotli"

    def pack(self, source: Path, target: Path) -> None:
        """Compress one file."""
        _call(self.tool, "-q", "11", "-w", "24", "-f", "-o", target, source)

    def unpack(self, source: Path, folder: Path) -> Path:
        """Decompress into ``folder``."""
        _call(self.tool, "-d", "-f", "-o", folder / "out", source)
        return folder / "out"


class SevenZipPpmd(Rival):
    """7-Zip's PPMd of order 8: the classic for text."""

    name = "7z PPMd"
    tool = "7z"
    suffix = ".7z"  # the tool adds it to names without one

    def pack(self, source: Path, target: Path) -> None:
        """Compress one file."""
        _call(self.tool, "a", "-t7z", "-m0=PPMd:o=8:mem=256m", "-mx=9", "-bd", "-y", target.resolve(), source.resolve())

    def unpack(self, source: Path, folder: Path) -> Path:
        """Decompress into ``folder``."""
        _call(self.tool, "e", "-bd", "-y", f"-o{folder}", source.resolve())
        return next(folder.iterdir())


class Zpaq(Rival):
    """``zpaq -m5``: the strongest archiver that people use, a third to a half of a MB a second both ways."""

    name = "zpaq -m5"
    tool = "zpaq"
    suffix = ".zpaq"
    fixed = ZPAQ_FIXED

    def pack(self, source: Path, target: Path) -> None:
        """Compress one file."""
        _call(self.tool, "a", target.resolve(), source.name, "-m5", cwd=source.parent)

    def unpack(self, source: Path, folder: Path) -> Path:
        """Decompress into ``folder``."""
        _call(self.tool, "x", source.resolve(), cwd=folder)
        return next(folder.iterdir())


class Lpaq1(Rival):
    """``lpaq1 9``: context mixing in its smallest form, at zpaq -m5's ratio on text. Takes 1.5 GB of memory."""

    name = "lpaq1 9"
    tool = "lpaq1"

    def pack(self, source: Path, target: Path) -> None:
        """Compress one file."""
        _call(self.tool, "9", source, target)

    def unpack(self, source: Path, folder: Path) -> Path:
        """Decompress into ``folder``."""
        _call(self.tool, "d", source, folder / "out")
        return folder / "out"


def installed(names: Sequence[str] | None = None) -> tuple[list[Rival], list[str]]:
    """The compressors that can run here, cheapest first, and a note for each that cannot.

    Args:
        names: only these; all by default.
    """
    rivals: list[Rival] = [Zstd(3), Zstd(19), Xz(), Brotli(), SevenZipPpmd(), Lpaq1(), Zpaq()]
    known = {rival.name for rival in rivals}
    unknown = set(names or ()) - known
    if unknown:
        raise UsageError(f"unknown compressor: {', '.join(sorted(unknown))} (known: {', '.join(sorted(known))})")
    chosen = [rival for rival in rivals if names is None or rival.name in names]
    missing = [rival for rival in chosen if shutil.which(getattr(rival, "tool", "")) is None and hasattr(rival, "tool")]
    notes = [f"{rival.name}: {getattr(rival, 'tool', '')} is not installed, left out" for rival in missing]
    return [rival for rival in chosen if rival not in missing], notes


def same(one: Path, other: Path) -> bool:
    """Whether two files have the same bytes."""
    with one.open("rb") as left, other.open("rb") as right:
        while True:
            block = left.read(_COPY)
            if block != right.read(_COPY):
                return False
            if not block:
                return True


def _call(tool: str, *arguments: str | Path, cwd: Path | None = None) -> None:
    done = subprocess.run(
        [tool, *map(str, arguments)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        output = done.stdout.decode(errors="replace").strip().splitlines()
        raise RivalError(f"{tool} failed with exit code {done.returncode}: {output[-1] if output else 'no message'}")
