"""``bench`` is not part of the package: it is found in the checkout, after whatever is installed."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))
pytest.importorskip("bench.common", reason="the tests run without a checkout")
