"""docs/adding-a-codec.md: the package that it shows is chosen by create, in programs of their own, and decodes."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugin.install import HERE, install
from plugin.zllm_deltas import Deltas

from zllm.errors import DamagedError

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def counters(count: int) -> bytes:
    rng = random.Random(1)
    steps = itertools.accumulate((rng.choice((-1, 0, 0, 1)) for _ in range(count - 1)), initial=20_000)
    return struct.pack(f"<{count}I", *itertools.accumulate(steps))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs zllm in a folder, with the package or without."""
    site = tmp_path / "site"
    site.mkdir()
    install(site)
    work = tmp_path / "work"
    work.mkdir()
    (work / "times").write_bytes(counters(70_000))
    (work / "noise").write_bytes(random.Random(2).randbytes(9000))

    def zllm(*words: str, installed: bool = True) -> subprocess.CompletedProcess[str]:
        path = [*([str(site)] if installed else []), *filter(None, [os.environ.get("PYTHONPATH")])]
        command = [sys.executable, "-m", "zllm", *words]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
        return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)

    return zllm


@pytest.mark.parametrize("level", ["4", "6", "9"])
def test_it_is_chosen_and_decodes(run: Run, tmp_path: Path, level: str) -> None:
    assert run("create", "--level", level, "a.zllm", "times", "noise").returncode == 0
    listed = json.loads(run("list", "--json", "a.zllm").stdout)["members"][0]
    assert listed["codecs"] == ["deltas"] and "smallest; " in listed["reason"]
    assert run("extract", "a.zllm", "-C", "out").returncode == 0
    assert (tmp_path / "work" / "out" / "times").read_bytes() == counters(70_000)
    assert run("create", "--level", level, "b.zllm", "times", "noise", installed=False).returncode == 0
    sizes = [(tmp_path / "work" / name).stat().st_size for name in ("a.zllm", "b.zllm")]
    assert sizes[0] < 0.95 * sizes[1]


def test_a_level_that_it_is_too_slow_for_does_without(run: Run) -> None:
    assert run("create", "--level", "3", "a.zllm", "times").returncode == 0
    assert json.loads(run("list", "--json", "a.zllm").stdout)["members"][0]["codecs"] != ["deltas"]


def test_who_does_not_have_it_is_told_what_is_missing(run: Run) -> None:
    run("create", "a.zllm", "times", "noise")
    result = run("extract", "a.zllm", "-C", "out", installed=False)
    assert result.returncode == 4
    assert "200" in result.stderr and "Traceback" not in result.stderr


@given(st.binary(max_size=99), st.integers(1, 9))
def test_it_gives_back_what_went_in(data: bytes, effort: int) -> None:
    codec = Deltas(effort)
    assert codec.decode(codec.encode(data), len(data)) == data


@pytest.mark.parametrize(("payload", "size"), [(b"", 4), (b"x", 4), (Deltas().encode(b"12345678"), 4), (b"", 0)])
def test_damage_is_an_error_of_its_own(payload: bytes, size: int) -> None:
    with pytest.raises(DamagedError):
        Deltas().decode(payload, size)


def test_it_makes_itself_again_from_its_settings() -> None:
    """As workers of a cluster do."""
    assert Deltas(**Deltas(3).settings()).encode(counters(500)) == Deltas(3).encode(counters(500))


@pytest.mark.parametrize(("language", "name"), [("python", "zllm_deltas.py"), ("toml", "pyproject.toml")])
def test_the_page_shows_the_files(checkout: Path, language: str, name: str) -> None:
    page = (checkout / "docs" / "adding-a-codec.md").read_text(encoding="utf-8")
    assert (HERE / name).read_text(encoding="utf-8") in re.findall(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)
