"""docs/adding-a-command.md: a file dropped among the commands is a command, and nothing else has to know of it."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import zllm.cli
from zllm.cli.main import command_module, commands, main

DROPPED = Path(__file__).parent / "dropped"


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the file were in zllm/cli."""
    monkeypatch.setattr(zllm.cli, "__path__", [*zllm.cli.__path__, str(DROPPED)])
    yield
    sys.modules.pop("zllm.cli.sums", None)
    vars(zllm.cli).pop("sums", None)


def test_it_is_in_the_help(dropped: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(commands())[-1] == "sums"
    assert main(["--help"]) == 0
    assert "  sums     print the members' SHA-256 for sha256sum -c\n" in capsys.readouterr().out


def test_it_runs(dropped: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").write_bytes(b"12345" * 9000)
    assert main(["create", "--level", "1", "a.zllm", "a"]) == 0
    assert main(["sums", "a.zllm"]) == 0
    assert capsys.readouterr().out == f"{hashlib.sha256(b'12345' * 9000).hexdigest()}  a\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [(["sums"], 2, "missing: ARCHIVE"), (["sums", "nonesuch"], 2, "nonesuch"), (["sum", "a"], 2, "Did you mean sums?")],
)
def test_its_errors_are_those_of_all_commands(
    dropped: None, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main(words) == code
    errors = capsys.readouterr().err
    assert errors.startswith("zllm: ") and said in errors and errors.count("\n") == 1


@pytest.mark.parametrize("name", ["sums", "main", "options", "words", "list_", "", "a.b", "../x", "no such"])
def test_modules_that_are_not_commands(name: str) -> None:
    assert command_module(name) is None


def test_the_page_shows_the_file(checkout: Path) -> None:
    page = (checkout / "docs" / "adding-a-command.md").read_text(encoding="utf-8")
    assert (DROPPED / "sums.py").read_text(encoding="utf-8") in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
