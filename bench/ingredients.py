"""What each ingredient of the adaptive predictor saves on top of the model: rows of `ratio`.

For each row but the last the checkout's package is copied and its C core compiled without the others, which takes a C
compiler. The default model's codec runs alone (`bench.llm_process`), in frames and streams of the default level: an
archive would take other codecs where these lose. So these rows are no archives: instead of headers and index there are
4 bytes, and 8 for each frame. Long repeats are taken out before the model in all of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.common import ROOT, say
from bench.process import run
from bench.workloads import Case
from zllm.benchmark.rivals import same
from zllm.benchmark.workload import Workload
from zllm.errors import ZllmError
from zllm.models import store


@dataclass(frozen=True)
class Ingredients:
    """A row's name and what the C core is compiled with; nothing: it is the one that runs here."""

    name: str
    defines: tuple[str, ...]


# The maps are those after the mixer; those of the model's own probability are inputs of it, like the counters.
INGREDIENTS = (
    Ingredients("LM alone", ("ZLLM_MODEL_ALONE",)),
    Ingredients("LM + counters", ("ZLLM_WITHOUT_MATCH", "ZLLM_WITHOUT_MAPS")),
    Ingredients("LM + counters + match", ("ZLLM_WITHOUT_MAPS",)),
    Ingredients("LM + counters + match + SSE", ()),
)
_BUILT = shutil.ignore_patterns("*.so", "*.pyd", "*.o", "_core.c", "__pycache__")


@dataclass(frozen=True)
class Variant:
    """A core that is there: variables of the environment with which processes find it."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)


class Alone:
    """The default model's codec of a variant on files, each way a process; it is compared like any compressor."""

    fixed = 0
    suffix = ".frames"

    def __init__(self, variant: Variant, threads: int) -> None:
        self.name = variant.name
        self._environment = variant.environment
        self._model = store.resolve()
        self._threads = threads

    def encode(self, work: Workload, target: Path) -> None:
        """Code the workload's file."""
        self._run("encode", work.source, target)

    def decode(self, work: Workload, source: Path, folder: Path) -> bool:
        """Decode into ``folder`` and compare."""
        self._run("decode", source, folder / "out")
        return same(folder / "out", work.source)

    def model_bytes(self, coded: Path) -> int:
        """Size of the default model."""
        return self._model.path.stat().st_size

    def _run(self, way: str, source: Path, target: Path) -> None:
        command = [sys.executable, "-m", "bench.llm_process", way, str(self._model.path), str(self._threads)]
        run([*command, str(source), str(target)], environment=self._environment)


def contenders(variants: Iterable[Variant], case: Case, threads: int) -> list[Alone]:
    """The variants on one case; none on a folder, of which the codec would get a tar with its headers."""
    return [Alone(variant, threads) for variant in variants] if case.path.is_file() else []


def built(wanted: Iterable[Ingredients], folder: Path) -> Iterator[Variant]:
    """Each row's core, below ``folder``; stderr says why others are left out."""
    for number, row in enumerate(wanted):
        if not row.defines:
            yield Variant(row.name)
            continue
        try:
            where = _build(row, folder / str(number))
        except ZllmError as error:
            say(f"{row.name}: left out: {error}")
            continue
        folders = (str(where), str(ROOT), os.environ.get("PYTHONPATH", ""))
        yield Variant(row.name, {"PYTHONPATH": os.pathsep.join(filter(None, folders))})


def _build(row: Ingredients, folder: Path) -> Path:
    """The checkout's package with another core.

    Raises:
        ZllmError: it does not compile here; the message is the last line.
    """
    say(f"{row.name}: compiling")
    for part in ("zllm", "csrc"):
        shutil.copytree(ROOT / part, folder / part, ignore=_BUILT)
    flags = " ".join(f"-D{name}" for name in row.defines)
    done = subprocess.run(
        [sys.executable, str(folder / "zllm" / "_native" / "build.py")],
        cwd=folder, env={**os.environ, "ZLLM_CI_CFLAGS": flags}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise ZllmError(f"the C core does not compile: {lines[-1] if lines else 'no message'}")
    return folder
