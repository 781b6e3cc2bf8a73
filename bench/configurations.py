"""The configurations of zllm that `ratio` measures: a table, and how each is run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.common import say
from bench.process import run_zllm
from bench.workloads import Case
from zllm.benchmark.hybrid import model_bytes
from zllm.benchmark.rivals import same
from zllm.benchmark.workload import Workload
from zllm.errors import ZllmError
from zllm.planner.levels import DEFAULT_LEVEL


@dataclass(frozen=True)
class Configuration:
    """Options of ``zllm create``, and variables that it and ``zllm extract`` find in their environment."""

    name: str
    options: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


DEFAULT = f"zllm -{DEFAULT_LEVEL}"
FAST = "zllm --model fast"
CM = "zllm --no-llm"
# To measure one more, add a line: one that this zllm does not know, or that warns, is left out with a note.
CONFIGURATIONS = (
    *(Configuration(f"zllm -{level}", (f"-{level}",)) for level in range(5, 10)),
    Configuration(CM, ("--no-llm",)),
    Configuration(FAST, ("--model", "fast")),
)
_PROBE = b"A few words, to see whether a configuration is there at all.\n" * 100


class CommandLine:
    """Whole archives by ``zllm create``, read by ``zllm extract``, each a process."""

    fixed = 0
    suffix = ".zllm"

    def __init__(self, configuration: Configuration, path: Path, threads: int) -> None:
        self.name = configuration.name
        self._configuration = configuration
        self._path = path
        self._threads = ("-j", str(threads))

    def encode(self, work: Workload, target: Path) -> None:
        """Archive the case's file or folder."""
        given = self._configuration
        what = ("-C", self._path.parent, self._path.name)
        run_zllm(
            "create", "-q", "--reproducible", *given.options, *self._threads, target, *what,
            environment=given.environment,
        )  # fmt: skip

    def decode(self, work: Workload, source: Path, folder: Path) -> bool:
        """Extract into ``folder`` and compare with the case's files."""
        run_zllm("extract", "-q", *self._threads, source, "-C", folder, environment=self._configuration.environment)
        return same_tree(folder, self._path)

    def model_bytes(self, coded: Path) -> int:
        """Size of the models that the archive names."""
        return model_bytes(coded)


def contenders(configurations: Iterable[Configuration], case: Case, threads: int) -> list[CommandLine]:
    """The configurations on one case."""
    return [CommandLine(configuration, case.path, threads) for configuration in configurations]


def available(configurations: Iterable[Configuration]) -> list[Configuration]:
    """Those that this zllm has; stderr says why others are left out."""
    found = []
    with tempfile.TemporaryDirectory(prefix="zllm-ratio-") as name:
        text = Path(name) / "probe.txt"
        text.write_bytes(_PROBE)
        work = Workload(text.name, text, 1, len(_PROBE), text)
        for number, configuration in enumerate(configurations):
            try:
                CommandLine(configuration, text, 1).encode(work, Path(name) / f"{number}.zllm")
                found.append(configuration)
            except ZllmError as error:
                say(f"{configuration.name}: left out: {error}")
    return found


def same_tree(folder: Path, path: Path) -> bool:
    """Whether ``folder`` holds ``path``, a file or folder, and nothing else."""
    pairs = {one.relative_to(path.parent): one for one in (path, *path.rglob("*"))}
    found = {one.relative_to(folder): one for one in folder.rglob("*")}
    if pairs.keys() != found.keys():
        return False
    return all(
        found[name].is_dir() if one.is_dir() else found[name].is_file() and same(found[name], one)
        for name, one in pairs.items()
    )
