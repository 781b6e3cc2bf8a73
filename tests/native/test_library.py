"""csrc as a library: it builds without a warning, programs that know of zllm.h alone use it, its names are its own."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from library.conftest import skip_without

from zllm._native import _core
from zllm.version import VERSION

TOOLS = ("make", "cc", "c++", "ar", "nm")


def nm(path: Path, *options: str) -> set[str]:
    """Names that a library defines for others."""
    out = subprocess.run(["nm", "--defined-only", *options, path], capture_output=True, text=True, check=True).stdout
    return {line.split()[2] for line in out.splitlines() if len(line.split()) == 3}


def functions(header: Path, prefix: str) -> set[str]:
    """What a header declares, on lines that start with ``prefix``."""
    text = re.sub(r"/\*.*?\*/", "", header.read_text(encoding="utf-8"), flags=re.S)
    return set(re.findall(rf"^{prefix}[\w \*]*?(zllm_\w+)\(", text, flags=re.M))


@pytest.fixture(scope="module")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that ``make check`` has built in; it ends well."""
    skip_without(*TOOLS)
    folder = tmp_path_factory.mktemp("build")
    command = ["make", "-C", str(checkout / "csrc"), "-j2", f"BUILD={folder}", "CFLAGS=-O1", "all", "check"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("with the model: ") == 2 and f"libzllm {VERSION}, " in run.stdout
    return folder


def test_all_names_are_the_library_s_own(built: Path) -> None:
    names = nm(built / "libzllm.a", "--extern-only")
    assert not {name for name in names if not name.startswith("zllm_")}


def test_the_shared_library_exports_what_the_header_promises(built: Path, checkout: Path) -> None:
    headers = checkout / "csrc" / "include"
    promised = set().union(*(functions(path, "ZLLM_API ") for path in headers.glob("*.h")))
    assert len(promised) > 50
    assert {name.partition("@")[0] for name in nm(built / "libzllm.so", "--dynamic")} - {"ZLLM_0"} == promised


def test_the_static_library_has_what_tests_call(built: Path, checkout: Path) -> None:
    headers = checkout / "csrc" / "include"
    called = functions(headers / "zllm_testing.h", "")
    assert "zllm_evaluate" in called and not called & functions(headers / "zllm.h", "ZLLM_API ")
    assert called <= nm(built / "libzllm.a", "--extern-only")


def test_the_extension_exports_nothing_but_itself() -> None:
    if shutil.which("nm") is None:
        pytest.skip("there is no nm")
    names = nm(Path(_core.__file__), "--dynamic", "--extern-only")
    assert "PyInit__core" in names and not {name for name in names if name.startswith("zllm")}


def test_the_version_is_the_package_s(checkout: Path) -> None:
    text = (checkout / "csrc" / "include" / "zllm.h").read_text(encoding="utf-8")
    major, minor, patch = map(int, VERSION.split("."))
    assert f'#define ZLLM_VERSION_STRING "{VERSION}"' in text
    assert f"#define ZLLM_VERSION_NUMBER {10000 * major + 100 * minor + patch} " in text
