"""More than one model in one archive: each codes what it codes best, and is named, embedded and loaded once."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import zllm
from zllm.archive import layout
from zllm.codecs.base import Codec
from zllm.errors import MissingModelError, ModelError, UsageError
from zllm.models import store, zlm
from zllm.planner.units import Piece

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZLLM_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two that are nowhere installed: a built-in one under other names, which are other hashes."""
    folder = tmp_path_factory.mktemp("models")
    file = zlm.read(store.DATA_FOLDER / "fast.zlm")
    paths = [folder / "one.zlm", folder / "other.zlm"]
    for path in paths:
        zlm.write(path, {**file.description, "name": path.stem}, file.tensors)
    return paths


@pytest.fixture(scope="module")
def files(checkout: Path) -> dict[str, bytes]:
    """Text, and structured text, which is a group of its own."""
    prose = (checkout / "CHANGELOG.md").read_bytes()
    rows = [json.dumps({"said": line.decode()}) + "\n" for line in prose[12_000:].splitlines() if line]
    return {"prose.txt": prose[:12_000], "rows.json": "".join(rows)[:12_000].encode()}


@pytest.fixture(autouse=True)
def by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if one were better at prose, the other at all else."""

    def turns(pieces: Sequence[Piece], models: Sequence[Codec], _: object) -> list[int]:
        return [bytes(piece.data[:2]) == b'{"' and len(models) > 1 for piece in pieces]

    monkeypatch.setattr("zllm.planner.text.best_models", turns)


def pack(files: dict[str, bytes], models: object, **options: object) -> bytes:
    out = io.BytesIO()
    with zllm.open(fileobj=out, mode="w", level=8, threads=1, model=models, **options) as archive:
        for name, data in files.items():
            info = zllm.ZllmInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def read(archive: bytes, mode: str, models: object) -> dict[str, bytes]:
    found = {}
    with zllm.open(fileobj=io.BytesIO(archive), mode=mode, model=models) as opened:
        for member in opened:
            stream = opened.extractfile(member)
            assert stream is not None
            found[member.name] = stream.read()
    return found


@pytest.mark.parametrize("mode", ["r", "r|"])
def test_each_frame_is_read_by_its_model(
    files: dict[str, bytes], models: list[Path], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = pack(files, models)
    with zllm.open(fileobj=io.BytesIO(archive)) as opened:
        assert [entry["name"] for entry in opened.manifest["models"]] == ["one", "other"]
    loaded: list[Path] = []
    load = store.load
    monkeypatch.setattr(store, "load", lambda path: loaded.append(Path(path)) or load(path))
    assert read(archive, mode, models) == files
    assert set(models) <= set(loaded)


def test_two_sections_name_what_they_need(files: dict[str, bytes], models: list[Path]) -> None:
    """The second one's only model is its first slot, though it is the planner's second."""
    from zllm.archive import builder

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "SECTION", 14_000)
        archive = pack(files, models)
    assert read(archive, "r", models) == files
    with zllm.open(fileobj=io.BytesIO(archive)) as opened:
        assert [entry["name"] for entry in opened.manifest["models"]] == ["one", "other"]


def test_each_is_embedded_once(files: dict[str, bytes], models: list[Path]) -> None:
    archive = pack(files, models, embed_model=True)
    assert len(layout.find(io.BytesIO(archive)).models) == 2
    assert read(archive, "r", None) == files == read(archive, "r|", None)


def test_one_that_nothing_needs_is_not_named(files: dict[str, bytes], models: list[Path]) -> None:
    archive = pack({"prose.txt": files["prose.txt"]}, models, embed_model=True)
    assert len(layout.find(io.BytesIO(archive)).models) == 1
    assert archive == pack({"prose.txt": files["prose.txt"]}, models[0], embed_model=True)


def test_the_same_twice_is_one(files: dict[str, bytes], models: list[Path]) -> None:
    assert pack(files, [models[0], models[0]]) == pack(files, models[0]) == pack(files, models[:1])


def test_one_that_is_missing_is_named(files: dict[str, bytes], models: list[Path]) -> None:
    archive = pack(files, models)
    with pytest.raises(MissingModelError, match="other"):
        read(archive, "r", models[0])


def test_every_one_that_is_named_is_a_demand(files: dict[str, bytes], models: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        pack(files, [*models, tmp_path / "nonesuch.zlm"])


def test_too_many_are_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    file = zlm.read(store.DATA_FOLDER / "fast.zlm")
    paths = [tmp_path / f"{number}.zlm" for number in range(9)]
    for path in paths:
        zlm.write(path, {**file.description, "name": path.stem}, file.tensors)
    with pytest.raises(UsageError, match="at most 8 models, not 9"):
        pack(files, paths)


def test_the_option_may_be_repeated(zllm: Run, files: dict[str, bytes], models: list[Path], tmp_path: Path) -> None:
    """By a sample, the better one of two that are alike is the first; so the archive is that of one."""
    (tmp_path / "prose.txt").write_bytes(files["prose.txt"])
    given = [word for path in models for word in ("--model", path)]
    zllm("create", *given, "a.zllm", "prose.txt")
    zllm("create", "--model", models[0], "b.zllm", "prose.txt")
    assert (tmp_path / "a.zllm").read_bytes() == (tmp_path / "b.zllm").read_bytes()
    assert zllm("cat", *given, "a.zllm", "prose.txt").stdout == files["prose.txt"]
    (entry,) = json.loads(zllm("info", "--requires", "--json", *given, "a.zllm").stdout)["models"]
    assert (entry["name"], entry["state"]) == ("one", "installed")
