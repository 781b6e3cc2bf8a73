"""Benchmarks of parts, by pytest-benchmark; bench/README.md has the commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))  # after the installed zllm
from bench.mixture import Member

TEXT_BYTES = 1 << 18


@pytest.fixture(scope="session")
def text() -> bytes:
    """Words with the frequencies of English letters: the same on every machine."""
    with Member("text", "text", TEXT_BYTES, 5).open() as file:
        return file.read()


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Saved results name the processor and the Python, not the host, and not all that the processor can do."""
    machine_info.pop("node", None)
    machine_info.get("cpu", {}).pop("flags", None)
