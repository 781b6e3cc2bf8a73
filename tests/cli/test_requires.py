"""zllm info --requires: what an archive needs, before anything is unpacked."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import takeapart

from zllm.models import store, zlm

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
BOTH = pytest.mark.parametrize("pipe", [False, True])


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZLLM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def made_with(folder: Path, text: bytes, *, embed: bool = False, **description: Any) -> Path:
    """An archive whose prose needs a model that is not installed: a built-in one with another description."""
    import zllm

    file = zlm.read(store.DATA_FOLDER / "fast.zlm")
    zlm.write(folder / "other.zlm", {**file.description, "name": "mine", **description}, file.tensors)
    path = folder / ("embedded.zllm" if embed else "plain.zllm")
    with zllm.open(path, "w", level=8, model=folder / "other.zlm", embed_model=embed, threads=1) as archive:
        info = zllm.ZllmInfo("prose.txt")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
    return path


@pytest.fixture(scope="module")
def text(prose: bytes) -> bytes:
    return prose[:9000]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> Path:
    return made_with(tmp_path_factory.mktemp("a"), text, origin="somebody/some-model@0123abcd")


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> Path:
    return made_with(tmp_path_factory.mktemp("a"), text, embed=True)


def asked(zllm: Run, path: Path, *words: str, pipe: bool, code: int) -> dict[str, Any]:
    name, data = ("-", path.read_bytes()) if pipe else (str(path), None)
    facts: dict[str, Any] = json.loads(zllm("info", "--requires", "--json", name, *words, code=code, data=data).stdout)
    assert facts["ready"] is (code == 0)
    return facts


@BOTH
def test_a_missing_model_is_code_4_and_says_how_to_get_it(zllm: Run, plain: Path, pipe: bool) -> None:
    (model,) = asked(zllm, plain, pipe=pipe, code=4)["models"]
    other = store.load(plain.parent / "other.zlm")
    assert (model["name"], model["sha256"], model["size"]) == ("mine", other.sha256.hex(), other.size)
    assert (model["state"], model["origin"]) == ("missing", "somebody/some-model@0123abcd")
    assert model["get"] == "zllm model import somebody/some-model --revision 0123abcd --name mine"
    text = zllm("info", "--requires", str(plain), code=4).stdout.decode()
    assert model["get"] in text and "state: missing" in text


@BOTH
def test_what_is_here_is_code_0(zllm: Run, plain: Path, embedded: Path, pipe: bool) -> None:
    assert asked(zllm, embedded, pipe=pipe, code=0)["models"][0]["state"] == "embedded"
    given = asked(zllm, plain, "--model", str(plain.parent / "other.zlm"), pipe=pipe, code=0)
    assert given["models"][0]["state"] == "installed"
    store.add(plain.parent / "other.zlm", "elsewhere")
    (model,) = asked(zllm, plain, pipe=pipe, code=0)["models"]
    assert (model["state"], model["get"]) == ("installed", None)


def test_what_people_read(zllm: Run, plain: Path) -> None:
    """A list has a dash for each item, a truth is yes or no."""
    said = zllm("info", "--requires", plain, code=4).stdout.decode().splitlines()
    assert said[:3] == [f"archive: {plain}", "ready: no", "format: 3"]
    at = said.index("models:")
    assert said[at + 1] == "  - name: mine" and said[at + 2].startswith("    sha256: ")
    assert said.count("codecs:") == 1 and "    state: here" in said and "    get: -" in said


def test_codecs_and_versions(zllm: Run, tree: Path, plain: Path) -> None:
    zllm("create", "five.zllm", "tree", "-5")
    from zllm import _native

    facts = asked(zllm, tree.parent / "five.zllm", pipe=False, code=0)
    assert facts["models"] == [] and facts["arithmetic"] == [_native.ARITHMETIC_VERSION]
    assert "cm" in {codec["name"] for codec in facts["codecs"]}
    zllm("create", "two.zllm", "tree", "-2")
    assert asked(zllm, tree.parent / "two.zllm", pipe=False, code=0)["arithmetic"] == []


def test_text_of_another_arithmetic(zllm: Run, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zllm as package
    from zllm.codecs import cm

    monkeypatch.setattr(cm, "_VERSION", bytes([200]))
    with package.open("old.zllm", "w", level=5, threads=1, verify=False) as archive:
        archive.add(tree, "tree")
    result = zllm("info", "--requires", "--json", "old.zllm", code=4)
    assert b"version 200" in result.stderr and json.loads(result.stdout)["arithmetic"] == [200]


def test_a_model_of_another_arithmetic(zllm: Run, plain: Path) -> None:
    from zllm import _native
    from zllm.format import section
    from zllm.format.envelope import Kind

    def other(body: bytes) -> bytes:
        header, at = section.read(body)
        (ref,) = header.models
        return section.pack(replace(header, models=(replace(ref, arithmetic=99),))) + body[at:]

    Path("old.zllm").write_bytes(takeapart.changed(plain.read_bytes(), Kind.SECTION, other))
    result = zllm("info", "--requires", "--json", "-", code=4, data=Path("old.zllm").read_bytes())
    (model,) = json.loads(result.stdout)["models"]
    assert model["state"] == "of another version" and "version 99" in model["get"]
    assert _native.ARITHMETIC_VERSION != 99


def test_a_codec_that_nobody_has(zllm: Run, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zllm as package
    from zllm.codecs.zstd import ZstdCodec

    with monkeypatch.context() as patch:
        patch.setattr(ZstdCodec, "id", 200)
        with package.open("new.zllm", "w", level=2, verify=False) as archive:
            archive.add(tree, "tree")
    facts = asked(zllm, Path("new.zllm"), pipe=False, code=4)
    assert ("codec-200", "missing") in {(codec["name"], codec["state"]) for codec in facts["codecs"]}


@BOTH
def test_a_damaged_embedded_model_is_missing(zllm: Run, embedded: Path, pipe: bool) -> None:
    data = bytearray(embedded.read_bytes())
    for at in (5000, 5009):  # one wrong byte would be corrected
        data[at] ^= 1
    Path("bad.zllm").write_bytes(data)
    (model,) = asked(zllm, Path("bad.zllm"), pipe=pipe, code=4)["models"]
    assert model["state"] == "embedded, but damaged" and model["get"]
    store.add(embedded.parent / "other.zlm", "mine")
    assert asked(zllm, Path("bad.zllm"), pipe=pipe, code=0)["models"][0]["state"] == "installed"


@BOTH
def test_a_truncated_archive_says_what_it_knows(zllm: Run, plain: Path, pipe: bool) -> None:
    Path("cut.zllm").write_bytes(plain.read_bytes()[:-30])
    name, data = ("-", Path("cut.zllm").read_bytes()) if pipe else ("cut.zllm", None)
    result = zllm("info", "--requires", "--json", name, code=3, data=data)
    assert json.loads(result.stdout)["models"][0]["name"] == "mine"
    assert b"truncated" in result.stderr


def test_names_from_the_archive_are_quoted(zllm: Run, tmp_path: Path, text: bytes) -> None:
    path = made_with(tmp_path, text, name="a; rm -rf ~\n\x1b[2J", origin="built in")
    (model,) = asked(zllm, path, pipe=False, code=4)["models"]
    assert "zllm model export 'a; rm -rf ~\\n\\033[2J' FILE.zlm" in model["get"]
    assert b"\x1b" not in zllm("info", "--requires", str(path), code=4).stdout


def test_one_stream_that_is_no_tar(zllm: Run, text: bytes) -> None:
    packed = zllm("-8", "--model", "fast", data=text).stdout
    (model,) = json.loads(zllm("info", "--requires", "--json", "-", data=packed).stdout)["models"]
    assert (model["name"], model["state"], model["origin"]) == ("fast", "installed", "built in")
