"""tests/vectors/: what each part of the golden archives means. Made again by tools/make_vectors.py."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from cross import vectors

FOLDER = Path(__file__).parent / "vectors"


@pytest.fixture(scope="module")
def tool(checkout: Path) -> dict[str, Any]:
    return runpy.run_path(str(checkout / "tools" / "make_vectors.py"))


def test_there_is_one_of_each_archive() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.json" for name in vectors.ARCHIVES}


@pytest.mark.parametrize("archive", sorted(vectors.ARCHIVES))
def test_they_say_what_the_archives_mean(archive: str, tool: dict[str, Any]) -> None:
    stored = (FOLDER / f"{archive}.json").read_text(encoding="utf-8")
    assert tool["of_golden"](archive) == stored, "python tools/make_vectors.py"


@pytest.mark.parametrize("archive", sorted(vectors.ARCHIVES))
def test_they_are_consistent(archive: str) -> None:
    """By arithmetic that the reader has no part in."""
    said = json.loads((FOLDER / f"{archive}.json").read_text(encoding="utf-8"))
    data = (vectors.GOLDEN / archive).read_bytes()
    at, frames, stream = said["header"]["size"], 0, 0
    for number, part in enumerate(said["parts"]):
        assert (part["offset"], part["sequence"]) == (at, number)
        assert data[at : at + 4] == bytes((0xB5, 0x5A, part["kind"], part["flags"]))
        at = said["parts"][number + 1]["offset"] if number + 1 < len(said["parts"]) else len(data)
        if part["kind"] == 1:
            assert frames == 0 and part["stream_offset"] == stream
            rows = [frame for group in part["map"]["groups"] for frame in group["frames"]]
            frames = len(rows)
            for record in part["map"]["records"]:
                assert sum(size for *_, size in record["extents"]) == record["data_size"]
                stream += record["header_size"] + record["data_size"] + record["zeros"]
            assert stream == part["stream_offset"] + part["stream_size"]
        elif part["kind"] == 2:
            row = rows[-frames]
            assert all(part[key] == row[key] for key in ("codec", "slot", "data_size", "payload_size", "sequence"))
            frames -= 1
    hashes = {member["name"]: member["sha256"] for member in said["members"]}
    assert hashes == vectors.recorded()["archives"][archive]["members"]
