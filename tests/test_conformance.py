"""tests/conformance/: what any reader must read, and what it must find out. Made by tools/make_conformance.py."""

from __future__ import annotations

import io
import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from archive.stories import Pipe, Told, python, run

import zllm

FOLDER = Path(__file__).parent / "conformance"
MANIFEST: dict[str, dict[str, dict[str, Any]]] = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
VALID, INVALID = MANIFEST["valid"], MANIFEST["invalid"]
MODES = pytest.mark.parametrize("mode", ["r", "r|"])


def test_the_script_makes_them(checkout: Path) -> None:
    made = runpy.run_path(str(checkout / "tools" / "make_conformance.py"))["files"]()
    assert made == {str(path.relative_to(FOLDER)): path.read_bytes() for path in FOLDER.rglob("*") if path.is_file()}


def test_nearly_every_file_differs() -> None:
    kinds = [path.read_bytes() for path in FOLDER.rglob("*.zllm")]
    assert len(set(kinds)) == len(kinds)


def of_test(kind: str, name: str, mode: str) -> tuple[int, str]:
    """Exit code and message of ``zllm test``, of the file or of a pipe."""
    path = FOLDER / kind / f"{name}.zllm"
    code, _, text = run("test", str(path)) if mode == "r" else run("test", "-", data=path.read_bytes())
    return code, text


def told(kind: str, name: str, mode: str) -> Told:
    return python((FOLDER / kind / f"{name}.zllm").read_bytes(), mode)


@MODES
@pytest.mark.parametrize("name", VALID)
def test_valid(name: str, mode: str) -> None:
    found = told("valid", name, mode)
    assert (found.code, found.names) == (0, VALID[name]["members"]), found.text
    raw = VALID[name]["members"] == ["-"]
    assert of_test("valid", name, mode)[0] == (2 if raw else 0) or raw


@pytest.mark.parametrize("name", VALID)
def test_valid_ones_are_read_by_their_directories(name: str) -> None:
    from zllm.archive import layout

    found = layout.find(io.BytesIO((FOLDER / "valid" / f"{name}.zllm").read_bytes()))
    assert found.problem is None
    assert found.walked == (name in ("joined", "zeros-between"))


def problem_of(data: bytes, mode: str) -> zllm.ZllmError | None:
    """The worst that a reader says after it has read everything."""
    worst: zllm.ZllmError | None = None
    try:
        with zllm.open(fileobj=io.BytesIO(data) if mode == "r" else Pipe(data), mode=mode) as archive:
            try:
                for member in archive:
                    file = archive.extractfile(member)
                    try:
                        _ = file.read() if file is not None else b""
                    except zllm.ZllmError as exc:
                        worst = worst or exc
            except zllm.ZllmError as exc:
                worst = worst or exc
            return worst or archive.problem
    except zllm.ZllmError as exc:
        return exc


@MODES
@pytest.mark.parametrize("name", INVALID)
def test_invalid(name: str, mode: str) -> None:
    said = INVALID[name]
    data = (FOLDER / "invalid" / f"{name}.zllm").read_bytes()
    error = problem_of(data, mode)
    assert error is not None, said["wrong"]
    wanted = getattr(zllm, said["error"])
    assert isinstance(error, wanted), (type(error), str(error))
    found = told("invalid", name, mode)
    members = said.get("members of a pipe", said["members"]) if mode == "r|" else said["members"]
    assert sorted(found.files) == sorted(set(members)), (found.text, str(error))
    code, text = of_test("invalid", name, mode)
    assert code == error.exit_code and "Traceback" not in text, text
