"""zllm itself as a contender, through its public API."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

from zllm.benchmark.workload import Workload
from zllm.planner.levels import DEFAULT_LEVEL

_READ = 1 << 20


class Hybrid:
    """One archive of all members, as ``zllm create`` makes it; decoding reads every member in order."""

    fixed = 0
    suffix = ".zllm"

    def __init__(
        self,
        level: int = DEFAULT_LEVEL,
        model: str | Sequence[str] | None = None,
        llm: bool = True,
        threads: int | None = None,
        name: str | None = None,
    ) -> None:
        self.level = level
        self.model = model
        self.llm = llm
        self.threads = threads
        self.name = name or f"zllm -{level}" + ("" if llm else " --no-llm")
        self.notes: list[str] = []

    def encode(self, work: Workload, target: Path) -> None:
        """Archive the workload's members."""
        import zllm

        with (
            tarfile.open(work.tar) as tar,
            zllm.open(target, "w", level=self.level, model=self.model, llm=self.llm, threads=self.threads) as out,
        ):
            for info in tar:
                out.addfile(info, tar.extractfile(info))
        self.notes.extend(warning for warning in out.warnings if warning not in self.notes)

    def decode(self, work: Workload, source: Path, folder: Path) -> bool:
        """Read all members and compare them with the workload's."""
        import zllm

        count = 0
        with tarfile.open(work.tar) as tar, zllm.open(source, "r", threads=self.threads) as archive:
            for expected, info in zip(tar, archive, strict=True):
                count += 1
                if info.name != expected.name or info.size != expected.size:
                    return False
                want, got = tar.extractfile(expected), archive.extractfile(info)
                if want is None or got is None:
                    return False
                while block := want.read(_READ):
                    if got.read(len(block)) != block:
                        return False
        return count == work.files

    def model_bytes(self, coded: Path) -> int:
        """Size of the models that the archive names."""
        return model_bytes(coded)


def model_bytes(archive: Path) -> int:
    """Size of the models that an archive needs and does not hold."""
    import zllm

    with zllm.open(archive) as opened:
        models = opened.manifest.get("models", [])
    return sum(entry["size"] for entry in models if not entry["embedded"])
