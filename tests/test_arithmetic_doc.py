"""docs/arithmetic.md: its examples run."""

from __future__ import annotations

import doctest
from pathlib import Path

DOC = Path(__file__).parent.parent / "docs" / "arithmetic.md"


def test_examples() -> None:
    result = doctest.testfile(str(DOC), module_relative=False)
    assert result.attempted >= 9
    assert result.failed == 0
