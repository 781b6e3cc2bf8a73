"""Numbers of scheduling say what they count and which benchmark measures them."""

from __future__ import annotations

from dataclasses import fields

import pytest

from bench.__main__ import BENCHMARKS
from zllm.codecs.scheduling import SCHEDULING


@pytest.mark.parametrize("field", fields(SCHEDULING), ids=lambda field: field.name)
def test_each_says_its_unit_and_what_measures_it(field: object) -> None:
    metadata = field.metadata  # type: ignore[attr-defined]
    assert metadata["unit"]
    *words, name = metadata["command"].split()
    assert words == ["python", "-m", "bench"] and name in BENCHMARKS
