"""The plug-in of 7-Zip: .7z archives by the method ZLLM, and .zllm archives, with Debian's 7z."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from integrations.sevenzip import SevenZip, build, program

from zllm.models.store import DATA_FOLDER

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]

PREDICTOR = ("-m0=ZLLM", "-mx=4")  # levels below 5 use no model


@pytest.fixture(scope="module")
def sevenzip(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> SevenZip:
    made = program(tmp_path_factory.mktemp("7zip"))
    shutil.copy(build(checkout, tmp_path_factory.mktemp("build")), made.folder / "Codecs")
    shutil.copy(DATA_FOLDER / "default.zlm", made.models)
    return made


@pytest.fixture
def tree(tmp_path: Path, prose: bytes) -> Path:
    """Text, records, noise and nothing."""
    folder = tmp_path / "tree"
    (folder / "sub" / "empty").mkdir(parents=True)
    (folder / "prose.txt").write_bytes(prose[:20_000])
    (folder / "sub" / "table.bin").write_bytes(b"".join(i.to_bytes(4, "little") + b"\0\0\1\2" for i in range(5000)))
    (folder / "sub" / "noise").write_bytes(random.Random(1).randbytes(100_000))
    (folder / "sub" / "nothing").write_bytes(b"")
    return folder


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_the_method_and_the_format_are_listed(sevenzip: SevenZip, tmp_path: Path) -> None:
    listed = sevenzip("i", cwd=tmp_path).stdout
    assert any(line.split()[1:] == ["ED*", "3FA47D1C965E0001", "ZLLM"] for line in listed.splitlines())
    assert any(line.split()[-10:-8] == ["zllm", "zllm"] for line in listed.splitlines())
    assert "Load Error" not in listed


def test_nothing_else_is_exported(sevenzip: SevenZip) -> None:
    if shutil.which("nm") is None:
        pytest.skip("there is no nm")
    command = ["nm", "-D", "--defined-only", sevenzip.folder / "Codecs" / "zllm.so"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {line.split()[-1] for line in lines} == {
        "GetModuleProp", "GetNumberOfMethods", "GetMethodProperty", "CreateDecoder", "CreateEncoder", "CreateObject",
        "GetNumberOfFormats", "GetHandlerProperty2",
    }  # fmt: skip


@pytest.mark.parametrize("level", ["1", "5", "9"])
def test_packed_listed_tested_unpacked(sevenzip: SevenZip, tree: Path, tmp_path: Path, level: str) -> None:
    sevenzip("a", "-m0=ZLLM", f"-mx={level}", "a.7z", "tree", cwd=tmp_path)
    listed = sevenzip("l", "-slt", "a.7z", cwd=tmp_path).stdout
    assert "Method = ZLLM" in listed and "tree/prose.txt" in listed
    assert "Everything is Ok" in sevenzip("t", "a.7z", cwd=tmp_path).stdout
    sevenzip("x", "-oout", "a.7z", cwd=tmp_path)
    assert contents(tmp_path / "out" / "tree") == contents(tree)
    assert (tmp_path / "a.7z").stat().st_size < 100_000 + 20_000 // 3 + 3000


def test_a_model_is_used_at_the_default_level(sevenzip: SevenZip, tree: Path, tmp_path: Path) -> None:
    sevenzip("a", "-m0=ZLLM", "a.7z", "tree/prose.txt", cwd=tmp_path)
    sevenzip("a", "-m0=ZLLM:mf=none", "b.7z", "tree/prose.txt", cwd=tmp_path)
    sevenzip("a", "-m0=ZLLM", "c.7z", "tree/sub/table.bin", cwd=tmp_path)
    assert (tmp_path / "a.7z").stat().st_size < 0.9 * (tmp_path / "b.7z").stat().st_size
    assert [b"default" in (tmp_path / name).read_bytes() for name in ("a.7z", "b.7z", "c.7z")] == [True, False, False]


def test_encrypted_with_names(sevenzip: SevenZip, tree: Path, tmp_path: Path) -> None:
    sevenzip("a", *PREDICTOR, "-psecret", "-mhe=on", "a.7z", "tree", cwd=tmp_path)
    assert "prose.txt" not in sevenzip("l", "-pwrong", "a.7z", cwd=tmp_path, code=2).stdout
    sevenzip("x", "-psecret", "-oout", "a.7z", cwd=tmp_path)
    assert contents(tmp_path / "out" / "tree") == contents(tree)


def test_volumes(sevenzip: SevenZip, tree: Path, tmp_path: Path) -> None:
    sevenzip("a", *PREDICTOR, "-v40k", "a.7z", "tree", cwd=tmp_path)
    assert len(list(tmp_path.glob("a.7z.*"))) == 3
    sevenzip("x", "-oout", "a.7z.001", cwd=tmp_path)
    assert contents(tmp_path / "out" / "tree") == contents(tree)


def test_updated_and_deleted(sevenzip: SevenZip, tree: Path, tmp_path: Path) -> None:
    sevenzip("a", *PREDICTOR, "a.7z", "tree", cwd=tmp_path)
    (tree / "prose.txt").write_bytes(b"changed")
    os.utime(tree / "prose.txt", (2_000_000_000, 2_000_000_000))
    (tree / "new").write_bytes(b"new")
    sevenzip("u", *PREDICTOR, "a.7z", "tree", cwd=tmp_path)
    sevenzip("d", "a.7z", "tree/sub/noise", cwd=tmp_path)
    (tree / "sub" / "noise").unlink()
    sevenzip("x", "-oout", "a.7z", cwd=tmp_path)
    assert contents(tmp_path / "out" / "tree") == contents(tree)


@pytest.mark.parametrize("levels", [("-mx=4", "-5"), ("-mx=5", "-6")])
def test_as_small_as_zllm(sevenzip: SevenZip, zllm: Run, prose: bytes, tmp_path: Path, levels: tuple[str, str]) -> None:
    (tmp_path / "prose").write_bytes(prose[:20_000])
    other = len(zllm("-c", levels[1], "prose").stdout)
    sevenzip("a", "-m0=ZLLM", levels[0], "a.7z", "prose", cwd=tmp_path)
    listed = sevenzip("l", "-slt", "a.7z", cwd=tmp_path).stdout
    packed = [int(line.split()[-1]) for line in listed.splitlines() if line.startswith("Packed Size")]
    assert sum(packed) < 1.01 * other


def test_noise_does_not_grow(sevenzip: SevenZip, tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(random.Random(2).randbytes(700_000))
    for words in (["-m0=ZLLM"], ["-m0=ZLLM:c=64k", "-mx=9"]):
        sevenzip("a", *words, "a.7z", "noise", cwd=tmp_path)
        assert (tmp_path / "a.7z").stat().st_size < 700_250
        (tmp_path / "a.7z").unlink()


def test_text_and_noise_in_one_file_are_told_apart(sevenzip: SevenZip, prose: bytes, tmp_path: Path) -> None:
    noise = random.Random(3).randbytes(200_000)
    (tmp_path / "mixed").write_bytes(noise + prose[:20_000] * 10)
    sevenzip("a", *PREDICTOR, "a.7z", "mixed", cwd=tmp_path)
    assert (tmp_path / "a.7z").stat().st_size < 200_000 + 8_000
    sevenzip("x", "-oout", "a.7z", cwd=tmp_path)
    assert (tmp_path / "out" / "mixed").read_bytes() == (tmp_path / "mixed").read_bytes()


def test_a_missing_model_is_named(sevenzip: SevenZip, checkout: Path, tree: Path, tmp_path: Path) -> None:
    sevenzip("a", "-m0=ZLLM", "a.7z", "tree/prose.txt", cwd=tmp_path)
    elsewhere = sevenzip.models.rename(tmp_path / "elsewhere")
    try:
        refused = sevenzip("t", "a.7z", cwd=tmp_path, code=2)
        assert 'the model "default", whose SHA-256 begins with ' in refused.stderr
        assert "Unsupported Method" in refused.stderr
        wrong = sevenzip("t", "a.7z", cwd=tmp_path, code=2, model=checkout / "tests" / "golden" / "tiny.zlm")
        assert "Unsupported Method" in wrong.stderr
        sevenzip("t", "a.7z", cwd=tmp_path, model=elsewhere / "default.zlm")
        sevenzip("a", "-m0=ZLLM", "without.7z", "tree/prose.txt", cwd=tmp_path)
        assert (tmp_path / "without.7z").stat().st_size > (tmp_path / "a.7z").stat().st_size
    finally:
        elsewhere.rename(sevenzip.models)


@pytest.mark.parametrize("wanted", ["nosuch", "./nosuch.zlm", "tree/prose.txt.zlm"])
def test_a_model_that_is_asked_for_is_a_demand(sevenzip: SevenZip, tree: Path, tmp_path: Path, wanted: str) -> None:
    (tree / "prose.txt.zlm").write_bytes(b"not a model")
    for words in ([f"-m0=ZLLM:mf={wanted}"], ["-m0=ZLLM"]):
        model = None if "mf=" in words[0] else Path(wanted if "/" in wanted else f"./{wanted}.zlm")
        refused = sevenzip("a", *words, "a.7z", "tree/prose.txt", cwd=tmp_path, code=2, model=model)
        assert refused.stderr.count("ZLLM: ") == 1 and Path(wanted).stem in refused.stderr
        assert not (tmp_path / "a.7z").exists()


def test_threads_change_nothing(sevenzip: SevenZip, tree: Path, tmp_path: Path) -> None:
    (tree / "prose.txt").write_bytes((tree / "prose.txt").read_bytes() * 10)
    for threads in "14":
        sevenzip("a", "-m0=ZLLM:c=64k", "-mx=4", f"-mmt={threads}", f"{threads}.7z", "tree", cwd=tmp_path)
        sevenzip("x", f"-mmt={threads}", "-oout" + threads, "1.7z", cwd=tmp_path)
        assert contents(tmp_path / f"out{threads}" / "tree") == contents(tree)
    assert (tmp_path / "1.7z").read_bytes() == (tmp_path / "4.7z").read_bytes()


def test_a_limit_of_memory(sevenzip: SevenZip, tree: Path, tmp_path: Path) -> None:
    refused = sevenzip("a", "-m0=ZLLM:memuse=1048576", "-mx=4", "a.7z", "tree", cwd=tmp_path, code=8)
    assert "more memory than is allowed" in refused.stderr
    sevenzip("a", "-m0=ZLLM:memuse=104857600", "-mx=4", "-mmt=4", "a.7z", "tree", cwd=tmp_path)
    assert "more memory than is allowed" in sevenzip("t", "-mmemuse=1m", "a.7z", cwd=tmp_path, code=2).stderr
    sevenzip("t", "-mmemuse=100m", "a.7z", cwd=tmp_path)


def test_other_sizes_of_blocks_are_refused(sevenzip: SevenZip, tree: Path, tmp_path: Path) -> None:
    for size in ("1k", "65m"):
        refused = sevenzip("a", f"-m0=ZLLM:c={size}", "a.7z", "tree", cwd=tmp_path, code=2)
        assert "blocks have 64k to 64m" in refused.stderr


def test_damage_is_found(sevenzip: SevenZip, tree: Path, tmp_path: Path) -> None:
    """Wherever a byte of the packed data changes: an error of 7z's, and the process ends as it should."""
    sevenzip("a", "-m0=ZLLM:c=64k:mf=none", "a.7z", "tree/prose.txt", "tree/sub/table.bin", cwd=tmp_path)
    whole = (tmp_path / "a.7z").read_bytes()
    listed = sevenzip("l", "-slt", "a.7z", cwd=tmp_path).stdout
    packed = sum(
        int(line.split()[-1]) for line in listed.splitlines() if line.startswith("Packed Size = ") and len(line) > 14
    )
    source = random.Random(4)
    for at in [32, 33, 34, 32 + packed - 1, *(source.randrange(32, 32 + packed) for _ in range(4))]:
        broken = bytearray(whole)
        broken[at] ^= source.randrange(1, 256)
        (tmp_path / "broken.7z").write_bytes(broken)
        assert "ERROR" in sevenzip("t", "broken.7z", cwd=tmp_path, code=2).stderr, at
    (tmp_path / "cut.7z").write_bytes(whole[: 32 + packed // 2])
    sevenzip("t", "cut.7z", cwd=tmp_path, code=2)


def state(folder: Path) -> dict[str, tuple[object, ...]]:
    """What a folder contains, with modes, times to the nanosecond, and links."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        what = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        links = status.st_nlink if path.is_file() else 0
        time = None if path.is_symlink() else status.st_mtime_ns
        found[str(path.relative_to(folder))] = (status.st_mode, time, links, what)
    return found


@pytest.fixture
def odd(tree: Path) -> Path:
    """A tree with links, holes, and names that are not UTF-8."""
    (tree / "link").symlink_to("sub/table.bin")
    (tree / "sub" / "up").symlink_to("../prose.txt")
    os.link(tree / "prose.txt", tree / "the same")
    with open(tree / "holes", "wb") as file:
        file.seek(1 << 20)
        file.write(b"data")
        file.truncate(3 << 20)
    (tree / "sub" / "é ü").write_bytes(b"x")
    Path(os.fsdecode(bytes(tree / "sub") + b"/\xff\xfe")).write_bytes(b"y")
    (tree / "prose.txt").chmod(0o640)
    os.utime(tree / "sub" / "noise", ns=(1, 1_600_000_000_123_456_789))
    os.utime(tree / "sub", ns=(1, 1_500_000_000_987_654_321))
    return tree


@pytest.mark.parametrize("words", [["-5"], ["-4"]])
def test_a_zllm_archive_gives_the_same_tree(
    sevenzip: SevenZip, zllm: Run, odd: Path, tmp_path: Path, words: list[str]
) -> None:
    zllm("create", *words, "a.zllm", "tree")
    zllm("extract", "a.zllm", "-C", "by_zllm")
    assert "Everything is Ok" in sevenzip("t", "a.zllm", cwd=tmp_path).stdout
    sevenzip("x", "-snld", "-oby_7z", "a.zllm", cwd=tmp_path)  # links to a folder above are dangerous to it
    assert state(tmp_path / "by_7z" / "tree") == state(tmp_path / "by_zllm" / "tree") == state(odd)


def test_a_zllm_archive_is_listed(sevenzip: SevenZip, zllm: Run, odd: Path, tmp_path: Path) -> None:
    zllm("create", "-5", "a.zllm", "tree")
    listed = sevenzip("l", "-slt", "a.zllm", cwd=tmp_path).stdout
    assert "Type = zllm" in listed
    paths = {line[7:] for line in listed.splitlines() if line.startswith("Path = tree")}
    assert len(paths) == len(zllm("list", "a.zllm").stdout.splitlines())
    assert "Symbolic Link = sub/table.bin" in listed and "Hard Link = tree/prose.txt" in listed
    sevenzip("x", "-oout", "a.zllm", "tree/sub/noise", cwd=tmp_path)
    assert contents(tmp_path / "out" / "tree" / "sub") == {"noise": (odd / "sub" / "noise").read_bytes()}


def test_a_raw_stream_has_the_archives_name(sevenzip: SevenZip, zllm: Run, prose: bytes, tmp_path: Path) -> None:
    (tmp_path / "dump.sql.zllm").write_bytes(zllm("-5", data=prose).stdout)
    sevenzip("x", "-oout", "dump.sql.zllm", cwd=tmp_path)
    assert (tmp_path / "out" / "dump.sql").read_bytes() == prose


def test_members_supersede_earlier_ones(sevenzip: SevenZip, zllm: Run, tree: Path, tmp_path: Path) -> None:
    zllm("create", "-5", "a.zllm", "tree")
    (tree / "prose.txt").write_bytes(b"newer")
    zllm("append", "-5", "a.zllm", "tree/prose.txt")
    sevenzip("x", "-oout", "a.zllm", cwd=tmp_path)
    assert contents(tmp_path / "out" / "tree") == contents(tree)


def test_a_damaged_zllm_archive(sevenzip: SevenZip, zllm: Run, tree: Path, tmp_path: Path) -> None:
    zllm("create", "-4", "a.zllm", "tree")
    broken = bytearray((tmp_path / "a.zllm").read_bytes())
    noise = (tree / "sub" / "noise").read_bytes()
    at = bytes(broken).index(noise[500:600])
    broken[at : at + 64] = bytes(64)
    (tmp_path / "a.zllm").write_bytes(broken)
    failed = sevenzip("x", "-oout", "a.zllm", cwd=tmp_path, code=2)
    assert "Data Error : tree/sub/noise" in failed.stderr and "ZLLM: " in failed.stderr
    kept = contents(tmp_path / "out" / "tree")
    assert {name: data for name, data in kept.items() if name != "sub/noise"} == {
        name: data for name, data in contents(tree).items() if name != "sub/noise"
    }
    (tmp_path / "a.zllm").write_bytes(broken[: len(broken) // 3])
    sevenzip("t", "a.zllm", cwd=tmp_path, code=2)
    (tmp_path / "a.zllm").write_bytes(b"no archive at all")
    sevenzip("t", "a.zllm", cwd=tmp_path, code=2)


def test_a_zllm_archive_whose_model_is_missing(sevenzip: SevenZip, zllm: Run, tmp_path: Path, prose: bytes) -> None:
    (tmp_path / "prose").write_bytes(prose[:4000])
    zllm("create", "a.zllm", "prose")
    sevenzip("t", "a.zllm", cwd=tmp_path)
    elsewhere = sevenzip.models.rename(tmp_path / "elsewhere")
    try:
        refused = sevenzip("t", "a.zllm", cwd=tmp_path, code=2)
        assert "Unsupported Method" in refused.stderr and "ZLLM: " in refused.stderr and "model" in refused.stderr
        sevenzip("t", "a.zllm", cwd=tmp_path, model=elsewhere / "default.zlm")
    finally:
        elsewhere.rename(sevenzip.models)
