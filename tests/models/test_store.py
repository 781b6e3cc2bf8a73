"""The user's models on disk: names, hashes, damage, and many processes at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from models import tiny

from zllm import partial
from zllm.errors import MissingModelError, ModelError, UsageError
from zllm.models import folder, store, verify, zlm

SMALL = {"layers": 1, "dim": 32}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZLLM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return tiny.write(tmp_path / "one.zlm", seed=1, **SMALL)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    return tiny.write(tmp_path / "two.zlm", seed=2, **SMALL)


def test_a_model_is_added_found_and_removed(one: Path, home: Path) -> None:
    entry = store.add(one, "mine")
    assert entry.path == home / "models" / f"{store.load(one).sha256.hex()}.zlm"
    assert entry.path.read_bytes() == one.read_bytes()
    model = store.resolve("mine")
    assert model.sha256.hex() == entry.sha256
    assert store.resolve(entry.sha256[:10].upper()).sha256 == model.sha256
    assert store.find(model.sha256).path == entry.path
    assert folder.remove_name("mine") == (entry.sha256, True)
    assert not entry.path.exists()
    with pytest.raises(MissingModelError):
        store.resolve("mine")
    with pytest.raises(MissingModelError):
        store.find(model.sha256)


def test_bytes_are_added_under_their_own_name(one: Path) -> None:
    assert store.add(one.read_bytes()).name == "tiny"
    assert store.resolve("tiny").data == one.read_bytes()


def test_two_names_share_a_file_and_the_last_takes_it_along(one: Path) -> None:
    first, second = store.add(one, "a"), store.add(one, "b")
    assert first.path == second.path
    (entry,) = (entry for entry in store.installed() if not entry.builtin)
    assert entry.names == ("a", "b")
    assert folder.remove_name("a") == (first.sha256, False)
    assert store.resolve("b").sha256.hex() == first.sha256
    assert folder.remove_name("b") == (first.sha256, True)
    assert folder.files() == []


def test_a_name_moves_only_when_asked_to(one: Path, two: Path) -> None:
    first = store.add(one, "mine")
    store.add(one, "mine")  # again: nothing to refuse
    with pytest.raises(UsageError, match="stands for another model"):
        store.add(two, "mine")
    assert folder.read_name("mine") == folder.Name(first.sha256, store.load(one).known_answer.hex())
    second = store.add(two, "mine", replace=True)
    assert store.resolve("mine").sha256.hex() == second.sha256
    assert store.find(bytes.fromhex(first.sha256)).path == first.path  # archives may still need it
    assert [entry.name for entry in store.installed() if entry.path == first.path] == [""]


@pytest.mark.parametrize("name", ["", "a/b", "../up", ".hidden", "x.zlm", "a" * 101, "a b", "ä", "0123abcd", "a\0"])
def test_improper_names(one: Path, name: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        store.add(one, name)
    assert folder.read_name(name) is None


@pytest.mark.parametrize("name", ["default", "fast"])
def test_names_of_built_in_models_are_taken(one: Path, name: str) -> None:
    with pytest.raises(UsageError, match="built-in"):
        store.add(one, name)


def test_what_is_no_model_is_not_added(tmp_path: Path, one: Path, home: Path) -> None:
    with pytest.raises(ModelError, match="too short"):
        store.add(b"junk", "x")
    with pytest.raises(ModelError):
        store.add(one.read_bytes()[:-1], "x")
    with pytest.raises(OSError, match="No such file"):
        store.add(tmp_path / "none.zlm", "x")
    description, tensors = tiny.tensors_of(**SMALL)
    zlm.write(tmp_path / "old.zlm", {**description, "arithmetic": 1}, tensors)
    with pytest.raises(ModelError, match="arithmetic version 1"):
        store.add(tmp_path / "old.zlm")
    assert folder.files() == []


def test_finding_by_hash_reads_no_other_model(one: Path, two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = store.add(one, "mine")
    store.add(two, "other")
    read: list[Path] = []
    real = zlm.read
    store._load.cache_clear()
    monkeypatch.setattr(zlm, "read", lambda path: read.append(path) or real(path))
    store.find(bytes.fromhex(entry.sha256))
    assert read == [entry.path]
    with pytest.raises(MissingModelError):
        store.find(bytes(32), size=12345)
    assert read == [entry.path]


def test_listing_reads_headers_only(one: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add(one, "mine")
    (folder.models() / "copied.zlm").write_bytes(one.read_bytes())

    def fail(path: Path) -> None:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(zlm, "read", fail)
    found = {entry.names: entry.description["name"] for entry in store.installed() if not entry.builtin}
    assert found == {("mine",): "tiny", ("tiny", "copied"): "tiny"}
    assert {entry.name for entry in store.installed() if entry.builtin} == store.BUILT_IN


def test_files_that_were_copied_into_the_folder(one: Path, home: Path) -> None:
    digest = store.load(one).sha256
    (home / "models").mkdir(parents=True)
    one.rename(home / "models" / "copied.zlm")
    for name in ("copied", "tiny"):
        assert store.resolve(name).sha256 == digest
    assert store.find(digest).sha256 == digest
    assert store.find(digest, size=store.load(home / "models" / "copied.zlm").size).sha256 == digest
    assert verify.verify(home / "models" / "copied.zlm") == []


def damage(path: Path, at: int = -100) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_damaged_file_is_not_used_and_adding_it_again_heals_it(one: Path) -> None:
    entry = store.add(one, "mine")
    damage(entry.path)
    with pytest.raises(ModelError, match=r"damaged.*zllm model remove"):
        store.resolve("mine")
    with pytest.raises(MissingModelError, match="damaged"):
        store.find(bytes.fromhex(entry.sha256))
    with pytest.raises(ModelError, match="damaged"):
        verify.verify(entry.path)
    store.add(one, "mine")
    assert store.resolve("mine").data == one.read_bytes()
    assert verify.verify(entry.path, verify.known_answers(entry.path)) == []


def test_verify_knows_what_a_model_must_compute(one: Path) -> None:
    entry = store.add(one, "mine")
    (answer,) = verify.known_answers(entry.path)
    assert answer == store.resolve("mine").known_answer.hex()
    with pytest.raises(ModelError, match="other numbers"):
        verify.verify(entry.path, ["00" * 32])
    builtin = store.DATA_FOLDER / "fast.zlm"
    assert verify.known_answers(builtin) == [store.load(builtin).known_answer.hex()]


def test_names_without_a_file_and_damaged_names(one: Path) -> None:
    entry = store.add(one, "mine")
    entry.path.unlink()
    with pytest.raises(MissingModelError):
        store.resolve("mine")
    for text in ("", "{", "[]", '{"sha256": 7}', '{"sha256": "../../x"}', json.dumps({"sha256": "A" * 64})):
        (folder.models() / "names" / "mine").write_text(text)
        assert folder.names() == {"mine": None}
        with pytest.raises(MissingModelError):
            store.resolve("mine")
    assert folder.remove_name("mine") == ("", False)
    assert folder.names() == {}


def test_hashes_that_start_alike(one: Path) -> None:
    store.add(one, "mine")
    for last in "01":
        (folder.models() / f"{'ab' * 31}0{last}.zlm").write_bytes(b"")
    with pytest.raises(UsageError, match="more digits"):
        store.resolve("ab" * 10)
    with pytest.raises(MissingModelError):
        store.resolve("ab" * 3)


def test_a_write_that_fails_leaves_nothing(one: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(partial, "publish", full)
    with pytest.raises(OSError, match="No space"):
        store.add(one, "mine")
    assert folder.files() == [] and folder.names() == {}
    assert not list(folder.models().glob(".*.part"))


# Adds, removes and reads the same two models under the same few names, for a while; a seed decides the order.
WORKER = """
import random, sys, time
from pathlib import Path
from zllm.errors import MissingModelError
from zllm.models import folder, store, zlm

role, seed, until = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
files = [Path(name) for name in sys.argv[4:]]
whole = {zlm.read(path).sha256: path.read_bytes() for path in files}
rng = random.Random(seed)
done = 0
while time.time() < until or not done:
    path, name = rng.choice(files), f"name{rng.randrange(3)}"
    try:
        if role == "add":
            store.add(path, name, replace=True)
        elif role == "remove":
            folder.remove_name(name)
        else:
            store._load.cache_clear()
            for entry in store.installed():
                assert not entry.problem, entry.problem
            for model in (store.find(zlm.read(path).sha256), store.resolve(name)):
                assert whole[model.sha256] == model.data
    except MissingModelError:
        if role == "read":
            continue
    done += 1
print(done)
"""


def test_many_processes_at_once_never_see_half_a_file(one: Path, two: Path, home: Path, tmp_path: Path) -> None:
    import time

    (tmp_path / "worker.py").write_text(WORKER)
    store.add(one, "name0")
    until = str(time.time() + 6)
    roles = ["add", "add", "remove", "read", "read", "read"]
    running = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "worker.py"), role, str(seed), until, str(one), str(two)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for seed, role in enumerate(roles)
    ]  # fmt: skip
    for process in running:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert int(out) > 0
    left = folder.names()
    assert all(what is not None and folder.path_of(what.sha256).exists() for what in left.values())
    for path in folder.files():
        verify.verify(path)
    assert not list((home / "models").rglob("*.part"))


def test_a_process_that_dies_while_it_adds_blocks_nobody(one: Path, home: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom zllm import partial\nfrom zllm.models import store\n"
        "partial.publish = lambda *_, **__: os._exit(9)\nstore.add(Path(sys.argv[1]), 'mine')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(one)], check=False, timeout=60)
    assert done.returncode == 9
    assert folder.files() == [] and folder.names() == {}
    assert len(list(folder.models().glob(".*.part"))) == 1
    store.add(one, "mine")
    assert store.resolve("mine").data == one.read_bytes()
    assert not list(folder.models().glob(".*.part"))  # what the dead left is gone
