"""Where models are kept: without a home folder, with one that cannot be used, and what killed processes leave there."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from models import tiny

from zllm.cli.main import main
from zllm.errors import MissingModelError, ModelError, UsageError
from zllm.models import folder, store, zlm

SMALL = {"layers": 1, "dim": 32}
NONE = b"\1" * 32


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return tiny.write(tmp_path / "one.zlm", seed=1, **SMALL)


def no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOME", "ZLLM_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as with no entry in passwd


def empty_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    no_home(monkeypatch, tmp_path)
    monkeypatch.setenv("HOME", "")


def a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZLLM_HOME", str(tmp_path / "file" / "below"))


def a_loop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv("ZLLM_HOME", str(tmp_path / "loop"))


def too_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZLLM_HOME", str(tmp_path / ("x" * 300)))


def forbidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Root may read everything, so the refusals are played."""
    home = tmp_path / "home"
    monkeypatch.setenv("ZLLM_HOME", str(home))

    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **how: Any) -> Any:
            if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(str(home)):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return function(path, *args, **how)

        return call

    for name in ("stat", "scandir", "listdir", "open", "mkdir"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    monkeypatch.setattr(Path, "iterdir", guarded(Path.iterdir))
    monkeypatch.setattr(Path, "stat", guarded(Path.stat))
    monkeypatch.setattr(Path, "open", guarded(Path.open))


HOMES = [no_home, empty_home, a_file, a_loop, too_long, forbidden]


@pytest.mark.parametrize("home", HOMES)
def test_what_is_built_in_works_without_the_folder(
    home: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "a.txt").write_text("Words of a text. " * 200)
    home(monkeypatch, tmp_path)
    model = store.resolve("fast")
    assert store.find(model.sha256).name == "fast"
    assert {entry.name for entry in store.installed()} == store.BUILT_IN
    assert folder.names() == {} and folder.files() == [] and folder.sha256_of(Path(f"{'0' * 64}.zlm")) == ""
    for missing in (lambda: store.resolve("mine"), lambda: store.find(NONE, "mine"), lambda: store.resolve("01234567")):
        with pytest.raises(MissingModelError, match="not installed"):
            missing()
    store.check_free("mine")
    for words in (["create", "--level", "5", "a.zllm", "a.txt"], ["test", "a.zllm"], ["info", "--requires", "a.zllm"],
                  ["cat", "a.zllm", "a.txt"], ["model", "list"], ["model", "verify", "fast"]):  # fmt: skip
        assert main(words) == 0, capsys.readouterr().err
    assert main(["model", "remove", "mine"]) == 4


@pytest.mark.parametrize("home", HOMES)
def test_storing_needs_the_folder_and_says_so(
    home: Any, one: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    home(monkeypatch, tmp_path)
    with pytest.raises(UsageError, match="set ZLLM_HOME to a folder"):
        store.add(one)
    assert main(["model", "import", str(one)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_unreadable_folder_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forbidden(monkeypatch, tmp_path)
    with pytest.raises(MissingModelError, match=r"as far as can be seen \(.*home/models: Permission denied\)"):
        store.resolve("mine")


def test_a_cache_folder_that_is_not_absolute_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ZLLM_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for cache in ("", "relative", "./cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
        assert folder.home() == tmp_path / ".cache" / "zllm"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert folder.home() == tmp_path / "elsewhere" / "zllm"


HOLD = """
import sys, time
from zllm.models import folder
with folder.workplace() as place:
    (place / "model.zlm").write_bytes(bytes(1000))
    print(place, flush=True)
    time.sleep(60)
"""


def test_what_killed_imports_left_is_removed_and_what_others_make_is_not(
    one: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZLLM_HOME", str(tmp_path / "home"))
    started = [subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    places = [Path(process.stdout.readline().strip()) for process in started if process.stdout]
    old = tmp_path / "home" / "models" / ".import-of-an-older-program"
    old.mkdir()
    (tmp_path / "home" / "models" / ".import-link").symlink_to(tmp_path)
    started[0].kill()
    started[0].wait()
    try:
        store.add(one)
        assert [place.exists() for place in places] == [False, True]
        assert not old.exists() and one.exists()
        with folder.workplace() as own:
            assert own.is_dir() and places[1].exists()
        assert not own.exists()
    finally:
        for process in started:
            process.kill()
            process.wait()
            assert process.stdout
            process.stdout.close()


def test_a_model_file_appears_whole_and_beside_no_other(one: Path, tmp_path: Path) -> None:
    description, tensors = tiny.tensors_of(**SMALL)
    target = tmp_path / "a.zlm"
    for other in ("a.zlm.tmp", "a.tmp", "a.zlm.part"):
        (tmp_path / other).write_text("the user's own")
    digest = zlm.write(target, description, tensors)
    assert zlm.read(target).sha256.hex() == digest
    for other in ("a.zlm.tmp", "a.tmp", "a.zlm.part"):
        assert (tmp_path / other).read_text() == "the user's own"
    before = target.read_bytes()
    with pytest.raises(FileExistsError):
        zlm.write(target, {**description, "name": "other"}, tensors, replace=False)
    with pytest.raises(ModelError, match="its hash is"):
        zlm.write(target, {**description, "name": "other"}, tensors, sha256="0" * 64)
    assert target.read_bytes() == before
    link = tmp_path / "link.zlm"
    link.symlink_to("a.zlm")
    zlm.write(link, {**description, "name": "other"}, tensors)
    assert link.is_symlink() and zlm.read(target).description["name"] == "other"
    assert not list(tmp_path.glob(".*"))


def built(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def described(**changes: Any) -> dict[str, Any]:
    description = {
        "format": 1,
        "name": "n",
        "origin": "o",
        "arithmetic": 1,
        "config": {},
        "layers": [],
        "exponents": {},
    }
    return {"__metadata__": {"zllm": json.dumps({**description, **changes})}}


def u8(start: int, end: int) -> dict[str, Any]:
    return {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]}


HOSTILE: dict[str, tuple[bytes, str]] = {
    "nested": (built(b"[" * 200_000), "bad header"),
    "nested objects": (built(b'{"a":' * 200_000), "bad header"),
    "a nested description": (built({"__metadata__": {"zllm": "[" * 200_000}}), "bad header"),
    "a name twice": (built(json.dumps(described())[:-1].encode() + b', "a": 1, "a": 2}'), "bad header"),
    "a header of 1 GB": (struct.pack("<Q", 1 << 30) + bytes(100), "bad header length"),
    "a header that is larger than any": (built(b" " * (5 << 20)), "bad header length"),
    "not UTF-8": (built(b'{"\xff": 1}'), "bad header"),
    "endless numbers": (built(b'{"a": ' + b"9" * 100_000 + b"}"), "bad header"),
    "overlapping": (built({**described(), "a": u8(0, 6), "b": u8(4, 8), "c": u8(6, 8)}, bytes(8)), "does not start"),
    "with a hole": (built({**described(), "a": u8(0, 4), "b": u8(6, 8)}, bytes(8)), "does not start"),
    "the same place": (built({**described(), "a": u8(0, 8), "b": u8(0, 8)}, bytes(16)), "does not start"),
    "not filled": (built({**described(), "a": u8(0, 4)}, bytes(8)), "do not fill"),
    "many dimensions": (
        built({**described(), "a": {"dtype": "U8", "shape": [1] * 10**5, "data_offsets": [0, 1]}}, b"1"), "does not fit"
    ),
    "huge dimensions": (
        built({**described(), "a": {"dtype": "U8", "shape": [10**4000] * 200, "data_offsets": [0, 1]}}, b"1"), "not fit"
    ),
    "no place": (built({**described(), "a": 7}, b"1"), "does not fit"),
    "a long name": (built(described(name="n" * 2000)), "more than 1000 characters"),
    "a tokenizer that is none": (built(described(tokenizer="bytes")), "'tokenizer'"),
    "a million layers": (built(described(layers=[{}] * 100_000)), "'layers'"),
    "arithmetic true": (built(described(arithmetic=True)), "'arithmetic'"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_one_line_and_at_once(name: str, tmp_path: Path) -> None:
    data, says = HOSTILE[name]
    (tmp_path / "a.zlm").write_bytes(data)
    began = time.process_time()
    for read in (zlm.read, zlm.describe, store.add):
        with pytest.raises(ModelError, match=says) as caught:
            read(tmp_path / "a.zlm")
        assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 400
    assert time.process_time() - began < 2


CONFIGS: list[dict[str, Any]] = [
    {"vocab": -1}, {"vocab": 2**40}, {"vocab": 10**300}, {"vocab": "300"}, {"vocab": 300.0}, {"vocab": True},
    {"vocab": None}, {"dim": 0}, {"dim": [32]}, {"heads": 0}, {"kv_heads": 0}, {"kv_heads": 3}, {"head_dim": 0},
    {"layers": 0}, {"layers": 300}, {"window": 0}, {"ffn": 2**31}, {"rope_theta": "x"}, {"rope_theta": 10**400},
    {"rope_theta": float("nan")}, {"positions": -5}, {"embed_rows": 2**33}, {"qk": 9}, {"mlp": "gelu"},
]  # fmt: skip


@pytest.mark.parametrize("change", CONFIGS, ids=str)
def test_odd_configs_are_refused(change: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    description, tensors = tiny.tensors_of(**SMALL)
    zlm.write(tmp_path / "a.zlm", {**description, "config": {**description["config"], **change}}, tensors)
    assert main(["model", "verify", str(tmp_path / "a.zlm")]) == 3
    assert main(["model", "show", str(tmp_path / "a.zlm")]) in (0, 2)
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) <= 2 and not any("internal error" in line for line in errors)
