"""Damaged archives on the command line: ``recover``, ``extract --keep-damaged``, ``create --parity``."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import takeapart

from zllm.archive import builder
from zllm.format.envelope import Kind

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def contents() -> dict[str, bytes]:
    rng = random.Random(5)
    words = [f"word{number}" for number in range(500)]
    found = {f"doc{n}.txt": " ".join(rng.choices(words, k=4000)).encode() for n in range(12)}
    found["noise.bin"] = rng.randbytes(50_000)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "f").mkdir()
    for name, data in contents().items():
        (tmp_path / "f" / name).write_bytes(data)
    return tmp_path


def on_disk(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def overwrite(path: Path, at: int, size: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:at] + random.Random(at).randbytes(size) + data[at + size :])


def frame_of(path: Path, which: int = 0) -> int:
    """Where the payload of a frame is, well inside it."""
    part = takeapart.of_kind(path.read_bytes(), Kind.FRAME)[which]
    return part.body_at + len(part.body) * 3 // 4


def test_recovered_members_are_whole(zllm: Run, folder: Path) -> None:
    zllm("create", "-q", "-3", "a.zllm", "f")
    overwrite(folder / "a.zllm", frame_of(folder / "a.zllm"), 500)
    before = (folder / "a.zllm").read_bytes()
    done = zllm("recover", "a.zllm", "b.zllm", code=3)
    assert b"lost" in done.stderr and (folder / "a.zllm").read_bytes() == before
    assert not zllm("test", "b.zllm").stderr
    zllm("extract", "b.zllm", "-C", "out")
    found, wanted = on_disk(folder / "out" / "f"), contents()
    assert 0 < len(found) < len(wanted) and all(wanted[name] == data for name, data in found.items())
    for name in wanted.keys() - found.keys():
        assert f"f/{name}".encode() in done.stderr
    tar = subprocess.run(["tar", "-t"], input=zllm("cat", "--tar", "b.zllm").stdout, check=True, capture_output=True)
    assert len(tar.stdout.splitlines()) == len(found) + 1


def test_nothing_is_lost_without_the_end(zllm: Run, folder: Path) -> None:
    zllm("create", "-q", "-3", "a.zllm", "f")
    whole = (folder / "a.zllm").read_bytes()
    (folder / "a.zllm").write_bytes(takeapart.without_end(whole))
    assert zllm("extract", "a.zllm", "-C", "out", code=3).stderr
    assert on_disk(folder / "out" / "f") == contents()
    assert b"nothing is lost" in zllm("recover", "a.zllm", "b.zllm").stderr
    made = (folder / "b.zllm").read_bytes()
    assert takeapart.without_end(made) == takeapart.without_end(whole)  # the section is copied as it was


def test_a_wrong_bit_is_corrected_and_the_section_copied(zllm: Run, folder: Path) -> None:
    zllm("create", "-q", "-3", "a.zllm", "f")
    whole = (folder / "a.zllm").read_bytes()
    bad = bytearray(whole)
    bad[frame_of(folder / "a.zllm")] ^= 32
    (folder / "a.zllm").write_bytes(bad)
    assert b"1 section copied, 0 members packed again: nothing is lost" in zllm("recover", "a.zllm", "b.zllm").stderr
    assert (folder / "b.zllm").read_bytes() == whole


def test_sections_and_what_spans_them(zllm: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One section of several is damaged: the others are copied; a member that spans two needs both."""
    import io

    import zllm as api

    monkeypatch.setattr(builder, "SECTION", 96 << 10)
    files = {**contents(), "long.bin": random.Random(8).randbytes(250_000)}
    with api.open(folder / "a.zllm", "w", level=3) as archive:
        for name, data in files.items():
            info = api.ZllmInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    good = (folder / "a.zllm").read_bytes()
    last = len(takeapart.of_kind(good, Kind.FRAME)) - 1
    for frame, gone in ((0, {"doc0.txt", "doc1.txt", "doc2.txt"}), (last, {"long.bin"})):
        (folder / "a.zllm").write_bytes(good)
        overwrite(folder / "a.zllm", frame_of(folder / "a.zllm", frame), 200)
        done = zllm("recover", "--force", "a.zllm", "b.zllm", code=3)
        assert b"sections copied" in done.stderr
        zllm("test", "b.zllm")
        with api.open(folder / "b.zllm") as archive:
            found = {member.name: archive.extractfile(member).read() for member in archive}
        assert found.items() <= files.items() and files.keys() - found.keys() <= gone
        assert found.keys() != files.keys()


def test_what_was_deleted_or_replaced_does_not_come_back(zllm: Run, folder: Path) -> None:
    zllm("create", "-q", "-3", "a.zllm", "f")
    (folder / "f" / "doc0.txt").write_bytes(b"newer")
    (folder / "f" / "added").write_bytes(b"added")
    zllm("update", "a.zllm", "f")
    zllm("delete", "a.zllm", "f/noise.bin")
    assert zllm("recover", "a.zllm", "b.zllm").stderr.endswith(b"nothing is lost\n")
    names = zllm("list", "b.zllm").stdout
    assert names == zllm("list", "a.zllm").stdout and names.count(b"f/doc0.txt\n") == 1 and b"noise" not in names
    assert zllm("cat", "b.zllm", "f/doc0.txt").stdout == b"newer"
    overwrite(folder / "a.zllm", frame_of(folder / "a.zllm", -1), 3)  # of the newest generation
    zllm("recover", "a.zllm", "c.zllm", code=3)
    assert b"noise" not in zllm("list", "c.zllm").stdout


def test_what_cannot_be_recovered(zllm: Run, folder: Path) -> None:
    zllm("create", "-q", "-3", "a.zllm", "f")
    for arguments, text in (
        (["a.zllm"], b"name the damaged archive"),
        (["a.zllm", "a.zllm"], b"the damaged archive itself"),
        (["-", "b.zllm"], b"a pipe cannot be recovered"),
        (["f/noise.bin", "b.zllm"], b"not a zllm archive"),
        (["missing", "b.zllm"], b"No such file"),
    ):
        assert text in zllm("recover", *arguments, code=2).stderr
    raw = zllm("-3", data=b"no tar" * 500).stdout
    (folder / "raw.zllm").write_bytes(raw)
    assert b"one raw stream" in zllm("recover", "raw.zllm", "b.zllm", code=2).stderr
    assert not (folder / "b.zllm").exists()
    assert zllm("recover", "a.zllm", "b.zllm").stderr.count(b"\n") == 1  # of a whole archive: a copy
    assert (folder / "a.zllm").read_bytes() == (folder / "b.zllm").read_bytes()


def test_what_is_left_is_kept_under_another_name(zllm: Run, folder: Path) -> None:
    zllm("create", "-q", "-3", "a.zllm", "f")
    last = len(takeapart.of_kind((folder / "a.zllm").read_bytes(), Kind.FRAME)) - 1
    for place in [frame_of(folder / "a.zllm", which) for which in (0, last)]:
        overwrite(folder / "a.zllm", place, 40)
    done = zllm("extract", "a.zllm", "-C", "out", "--keep-damaged", code=3)
    found, wanted = on_disk(folder / "out" / "f"), contents()
    kept = {name: data for name, data in found.items() if name.endswith(".damaged")}
    assert kept and "noise.bin.damaged" in kept
    for name, data in kept.items():
        whole = wanted[name.removesuffix(".damaged")]
        assert len(data) == len(whole) and data != whole and name.encode() in done.stderr
        assert name.removesuffix(".damaged") not in found
    differ = sum(a != b for a, b in zip(kept["noise.bin.damaged"], wanted["noise.bin"], strict=True))
    assert 0 < differ <= 40  # it is stored as it is: all but what was overwritten is there
    assert all(wanted[name] == data for name, data in found.items() if name not in kept)
    again = zllm("extract", "a.zllm", "-C", "out", "--keep-damaged", code=3)
    assert b"noise.bin.damaged.1" in again.stderr
    assert not [name for name in on_disk(folder / "out" / "f") if name.endswith(".part")]


def test_parity_mends_by_itself(zllm: Run, folder: Path) -> None:
    zllm("create", "-q", "-3", "--parity", "6%", "a.zllm", "f")
    good = (folder / "a.zllm").read_bytes()
    assert not zllm("test", "a.zllm").stderr
    rng = random.Random(2)
    for turn in range(6):
        (folder / "a.zllm").write_bytes(good)
        size = len(good) // 50
        overwrite(folder / "a.zllm", [20, rng.randrange(20, len(good) - size)][turn > 0], size)
        for command in (["test"], ["list"], ["extract", "-C", f"out{turn}"], ["cat", "f/doc1.txt"]):
            done = zllm(command[0], "a.zllm", *command[1:], code=None)
            assert done.returncode in (0, 1, 3), done.stderr  # 3: the directory was hit, which is not covered
            if command == ["test"]:
                assert done.returncode and done.stderr
        assert on_disk(folder / f"out{turn}" / "f") == contents()
        zllm("recover", "--force", "a.zllm", "b.zllm")
        zllm("test", "b.zllm")
    overwrite(folder / "a.zllm", 30, len(good) // 3)
    assert zllm("test", "a.zllm", code=3).stderr


@pytest.mark.parametrize("share", ["-1%", "101%", "x", "%"])
def test_impossible_parity(zllm: Run, folder: Path, share: str) -> None:
    assert b"is not a share from 0% to 100%" in zllm("create", f"--parity={share}", "a.zllm", "f", code=2).stderr


def test_archives_with_parity_are_the_same_for_any_threads(zllm: Run, folder: Path) -> None:
    made = []
    for threads in ("1", "3"):
        zllm("create", "-q", "--force", "--reproducible", "--parity", "2", "-j", threads, "a.zllm", "f")
        made.append((folder / "a.zllm").read_bytes())
    assert made[0] == made[1]
    kinds = [part.envelope.kind for part in takeapart.parts(made[0])]
    assert Kind.PARITY in kinds and kinds[-2:] == [Kind.DIRECTORY, Kind.FOOTER]
    assert os.path.getsize(folder / "a.zllm") == len(made[0])
