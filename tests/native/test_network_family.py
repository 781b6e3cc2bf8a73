"""docs/adding-a-network-family.md: what it shows is built into a core of its own; its models code like any other."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

CC = shutil.which(os.environ.get("CC", "cc"))
PYTHON_H = Path(sysconfig.get_path("include"), "Python.h")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.M | re.S)


@pytest.fixture(scope="module")
def page(checkout: Path) -> str:
    return (checkout / "docs" / "adding-a-network-family.md").read_text(encoding="utf-8")


def test_the_page_shows_the_file(page: str, checkout: Path) -> None:
    assert blocks(page, "c")[0] == (checkout / "tests" / "native" / "fading.c").read_text(encoding="utf-8")


def _changed(page: str, copy: Path) -> None:
    """Do to a copy of the sources what the page says."""
    family, table = blocks(page, "c")
    (line,) = blocks(page, "text")
    (copy / "csrc" / "network" / "fading.c").write_text(family, encoding="utf-8")
    (copy / "csrc" / "network" / "families.c").write_text(table, encoding="utf-8")
    with (copy / "csrc" / "sources.txt").open("a", encoding="utf-8") as sources:
        sources.write(line)


def _compile(copy: Path) -> None:
    """The extension, by the compiler alone: setuptools need not be there."""
    build = runpy.run_path(str(copy / "zllm" / "_native" / "build.py"))
    code = copy / "_core.c"
    build["ffi"].emit_c_code(str(code))
    extra = shlex.split(os.environ.get("ZLLM_CI_CFLAGS", ""))
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", *extra, "-shared", "-fPIC", "-pthread", "-DZLLM_STATIC"]
    includes = [f"-I{PYTHON_H.parent}", "-Icsrc/include", "-Icsrc"]
    out = f"zllm/_native/_core{sysconfig.get_config_var('EXT_SUFFIX')}"
    sources = [str(code), *build["SOURCES"]]
    warnings = ["-Wno-unused-function", "-Wno-missing-field-initializers", "-Wno-cast-function-type"]  # cffi's own
    subprocess.run([str(CC), *flags, *warnings, *includes, *sources, "-o", out], cwd=copy, check=True)


def test_the_family_codes(page: str, checkout: Path, tmp_path: Path) -> None:
    if CC is None or not PYTHON_H.exists():
        pytest.skip("no C compiler, or no Python.h")
    copy = tmp_path / "copy"
    for folder in ("zllm", "csrc", "tools", "docs"):
        shutil.copytree(checkout / folder, copy / folder, ignore=shutil.ignore_patterns("*.so", "*.o", "*.zlm"))
    shutil.copy(checkout / "LICENSE", copy)
    _changed(page, copy)
    _compile(copy)
    env = {**os.environ, "PYTHONPATH": str(copy)}
    command = [sys.executable, str(checkout / "tests" / "native" / "fading_check.py"), str(tmp_path)]
    run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert (run.returncode, run.stdout) == (0, "ok\n"), run.stderr
