"""What is installed is complete, and it is what the tests test."""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib import metadata
from pathlib import Path

import pytest

import zllm
from zllm.version import VERSION

PACKAGE = Path(zllm.__file__).parent


def test_the_checkout_does_not_shadow_the_installed_package(checkout: Path) -> None:
    """Only PYTHONPATH may bring in the checkout, on purpose; never the folder that pytest runs in."""
    asked = [Path(entry).resolve() for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if checkout in PACKAGE.parents and not os.environ.get("ZLLM_TEST_INSTALLED"):
        assert checkout in asked
    else:
        assert PACKAGE.parent.name in ("site-packages", "dist-packages")
    if checkout not in asked and str(checkout) in sys.path:  # appended, for the scripts in bench/
        assert sys.path.index(str(checkout)) > sys.path.index(str(PACKAGE.parent))


def test_the_compiled_core_is_there() -> None:
    spec = importlib.util.find_spec("zllm._native._core")
    assert spec is not None and spec.origin is not None
    assert Path(spec.origin).suffix == ".so"
    assert Path(spec.origin).is_relative_to(PACKAGE)


def test_type_information_is_there() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_a_default_model_and_its_card_are_there() -> None:
    models = sorted((PACKAGE / "models" / "data").glob("*.zlm"))
    assert models
    assert all(model.stat().st_size <= 16 << 20 for model in models)
    assert list((PACKAGE / "models" / "data").glob("*.md"))


def test_every_folder_of_sources_is_a_package(checkout: Path) -> None:
    """The build finds packages by their ``__init__.py``; a folder without one would be missing from the wheel."""
    folders = {path.parent for path in (checkout / "zllm").rglob("*.py")}
    assert len(folders) > 10
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


@pytest.fixture
def distribution() -> metadata.Distribution:
    """The installed distribution; there is none when PYTHONPATH brings in the checkout."""
    try:
        return metadata.distribution("zllm")
    except metadata.PackageNotFoundError:
        pytest.skip("zllm is not installed: it is imported from the checkout")


def test_licence_and_scripts(distribution: metadata.Distribution) -> None:
    files = [str(file) for file in distribution.files or []]
    assert any(name.endswith("licenses/LICENSE") or name.endswith("/LICENSE") for name in files)
    assert {"zllm", "unzllm"} <= {point.name for point in distribution.entry_points if point.group == "console_scripts"}


def test_the_wheel_holds_every_package_and_nothing_else(distribution: metadata.Distribution, checkout: Path) -> None:
    files = {str(file) for file in distribution.files or []}
    sources = {str(path.relative_to(checkout)) for path in (checkout / "zllm").rglob("*.py")}
    # From a checkout all modules can be imported, so that only users would notice a missing one.
    assert sources <= files
    tops = {name.split("/")[0] for name in files if not name.startswith("..")}
    assert {top for top in tops if not top.endswith(".dist-info") and top != "__pycache__"} == {"zllm"}


def test_the_version_is_said_once(distribution: metadata.Distribution, checkout: Path) -> None:
    assert distribution.version == VERSION
    assert f"## {distribution.version}" in (checkout / "CHANGELOG.md").read_text(encoding="utf-8")
