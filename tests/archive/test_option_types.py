"""Options of a wrong type are refused at once, and by their name: not in the middle of an archive."""

from __future__ import annotations

import io
from typing import Any

import pytest

import zllm

BOTH: list[dict[str, Any]] = [
    {"threads": "2"}, {"threads": 1.5}, {"progress": 5}, {"stats": 5}, {"model": 5}, {"model": b"fast"},
    {"model": ["fast", 5]}, {"device": 5},
]  # fmt: skip


@pytest.mark.parametrize("options", [*BOTH, {"frame_size": "4096"}, {"frame_size": 8192.0}, {"cluster": 5}])
def test_writing(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(TypeError, match=f"{name} must be"):
        zllm.open(mode="w", fileobj=io.BytesIO(), **options)


@pytest.mark.parametrize("options", [*BOTH, {"limits": 5}, {"limits": None}, {"limits": {"members": 1}}])
def test_reading(options: dict[str, Any]) -> None:
    out = io.BytesIO()
    zllm.open(mode="w", fileobj=out, level=1).close()
    (name,) = options
    with pytest.raises(TypeError, match=f"{name} must be"):
        zllm.open(fileobj=io.BytesIO(out.getvalue()), **options)


@pytest.mark.parametrize("limits", [{"members": "x"}, {"output_bytes": 1.5}, {"map_ratio": None}, {"records": "1"}])
def test_limits(limits: dict[str, Any]) -> None:
    (name,) = limits
    with pytest.raises(TypeError, match=f"the limit {name} must be"):
        zllm.Limits(**limits)
    with pytest.raises(zllm.UsageError, match=f"the limit {name} must be 0 or more"):
        zllm.Limits(**{name: -1})
