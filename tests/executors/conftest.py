"""Devices that torch may compute on. What needs a GPU is skipped without one."""

from __future__ import annotations

from typing import Any

import pytest


def has_cuda() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not has_cuda(), reason="no GPU here"))])
def device(request: pytest.FixtureRequest) -> Any:
    torch = pytest.importorskip("torch")
    return torch.device(request.param)
