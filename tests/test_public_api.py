"""What ``import zllm`` shows before anything is loaded."""

from __future__ import annotations

import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import zllm
from zllm.version import VERSION


def fresh(code: str, cwd: Path) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=cwd, text=True).stdout


def test_dir_shows_all_of_it_at_once(tmp_path: Path) -> None:
    shown = fresh("import zllm; print(*dir(zllm))", tmp_path).split()
    assert set(zllm.__all__) | {"__version__", "__doc__"} <= set(shown)
    assert not {"Any", "TYPE_CHECKING", "annotations", "importlib", "VERSION"} & set(shown)


def test_everything_shown_is_there(tmp_path: Path) -> None:
    fresh("import zllm\nfor name in dir(zllm): getattr(zllm, name)", tmp_path)
    assert fresh("from zllm import *; print(open, ZllmInfo, is_zllmfile)", tmp_path).count("zllm") == 3
    with pytest.raises(AttributeError, match="'zllm' has no attribute 'opne'"):
        zllm.opne  # noqa: B018


def test_the_version() -> None:
    assert zllm.__version__ == VERSION


def test_help_names_the_arguments() -> None:
    text = pydoc.render_doc(zllm.open, renderer=pydoc.plaintext)
    for word in ("level", "threads", "embed_model", "compresslevel", "ignore_zeros", "stream", "DamagedError"):
        assert word in text
