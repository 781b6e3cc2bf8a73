"""What programs read: the lines of --log-json and what --json prints, by the schemas in docs/schemas."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zllm.cli import output
from zllm.cli.jsonlog import JsonConsole

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def check(checkout: Path) -> Callable[[str, Any], None]:
    """Compares a document with a schema."""
    jsonschema = pytest.importorskip("jsonschema")

    def compare(name: str, document: Any) -> None:
        schema = json.loads((checkout / "docs" / "schemas" / f"{name}.json").read_text())
        jsonschema.Draft202012Validator(schema).validate(document)

    return compare


@pytest.fixture
def log(zllm: Run, check: Callable[[str, Any], None]) -> Callable[..., list[dict[str, Any]]]:
    """Runs a command, checks its lines, and gives them."""

    def run(*words: str, code: int = 0) -> list[dict[str, Any]]:
        result = zllm(*words, "--log-json", code=code)
        lines = [json.loads(line) for line in result.stderr.splitlines()]
        for line in lines:
            check("log", line)
        assert [line["type"] for line in lines].count("end") == 1
        assert lines[-1]["type"] == "end" and lines[-1]["code"] == code
        return lines

    return run


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("d/a", "d/sub/b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode() * 99)
    return tmp_path


def test_every_command_says_what_it_did(tree: Path, log: Callable[..., list[dict[str, Any]]]) -> None:
    result = log("create", "-2", "a.zllm", "d")[-1]["result"]
    assert result == {"members": 4, "bytes": 990, "coded_bytes": (tree / "a.zllm").stat().st_size}
    assert log("test", "a.zllm")[-1]["result"] == {"members": 4, "bytes": 990}
    assert log("extract", "a.zllm", "-C", "out")[-1]["result"] == {"members": 4, "bytes": 990}
    assert log("diff", "a.zllm")[-1]["result"] == {"members": 4, "differences": 0}
    assert log("append", "a.zllm", "d/a")[-1]["result"]["generation"] == 1
    (tree / "d/a").write_bytes(b"other")
    result = log("update", "a.zllm", "d")[-1]["result"]
    assert (result["added"], result["changed"], result["deleted"], result["generation"]) == (0, 1, 0, 2)
    assert log("update", "a.zllm", "d")[-1]["result"]["changed"] == 0
    assert log("delete", "a.zllm", "d/a")[-1]["result"] == {"deleted": 1, "generation": 3}
    result = log("compact", "a.zllm")[-1]["result"]
    assert result["archive_bytes"] == (tree / "a.zllm").stat().st_size < result["bytes_before"]
    assert log("recover", "a.zllm", "b.zllm")[-1]["result"] == {"copied": 1, "packed": 0, "lost": 0}


def test_messages_have_levels(tree: Path, log: Callable[..., list[dict[str, Any]]]) -> None:
    lines = log("create", "-v", "-2", "a.zllm", "d", "nosuch", code=1)
    assert {"line", "message", "end"} <= {line["type"] for line in lines}
    assert [line["text"] for line in lines if line.get("level") == "warning"] == [
        "nosuch: No such file or directory: skipped"
    ]
    assert [line["text"] for line in lines if line["type"] == "line"] == ["d", "d/a", "d/sub", "d/sub/b"]
    assert log("nosuch", code=2)[0]["level"] == "error"
    assert log("list", "nosuch.zllm", code=2)[0]["text"] == "nosuch.zllm: No such file or directory"
    assert len(log("create", "-q", "-2", "b.zllm", "d")) == 1


def test_names_of_any_bytes(tree: Path, log: Callable[..., list[dict[str, Any]]]) -> None:
    name = os.fsdecode(b'd/\xff\n"')
    (tree / name).write_bytes(b"")
    (tree / name).unlink()
    assert log("create", "-2", "a.zllm", "d/a", name, code=1)[0]["text"].startswith(name)


def test_progress(tmp_path: Path, log: Callable[..., list[dict[str, Any]]]) -> None:
    (tmp_path / "large").write_bytes(os.urandom(1 << 20) * 24)
    told = [line for line in log("create", "-4", "a.zllm", "large") if line["type"] == "progress"]
    assert all(line["total"] == 24 << 20 and line["done"] <= line["total"] for line in told)
    assert [line["done"] for line in told] == sorted(line["done"] for line in told)


def test_a_name_after_two_dashes_is_no_option(tree: Path, zllm: Run) -> None:
    result = zllm("create", "-2", "a.zllm", "--", "--log-json", code=2)
    assert b"--log-json: No such file" in result.stderr


def test_a_signal(tmp_path: Path, check: Callable[[str, Any], None]) -> None:
    words = [sys.executable, "-m", "zllm", "create", "--log-json", "--stdin-name", "x", "a.zllm"]
    with subprocess.Popen(words, cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        limit = time.monotonic() + 60
        while not any(name.endswith(".part") for name in os.listdir(tmp_path)):
            assert time.monotonic() < limit
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM
        assert process.stderr is not None
        line = json.loads(process.stderr.read().splitlines()[-1])
    check("log", line)
    assert line["code"] == 128 + signal.SIGTERM


def test_documents(tree: Path, zllm: Run, check: Callable[[str, Any], None]) -> None:
    zllm("create", "-6", "a.zllm", "d")
    zllm("append", "a.zllm", "d/a")
    for name, words in {
        "list": ["list"],
        "generations": ["list", "--generations"],
        "info": ["info"],
        "requires": ["info", "--requires"],
    }.items():
        check(name, json.loads(zllm(*words, "--json", "a.zllm").stdout))


def test_warnings_are_counted_as_on_other_consoles(capsys: pytest.CaptureFixture[str]) -> None:
    """zllm --rm keeps a file if there was one."""
    for console in (output.Console(), JsonConsole()):
        console.quiet = True
        console.note("silent")
        console.warn("one")
        console.error("two", 3)
        assert (console.warned, console.status) == (1, 3)
    told = capsys.readouterr().err.splitlines()
    assert told[:2] == ["zllm: warning: one", "zllm: two"] and len(told) == 4
