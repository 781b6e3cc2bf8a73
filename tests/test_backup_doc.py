"""The scripts of docs/backup.md, word for word, through all that can go wrong."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Shell = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def scripts(checkout: Path, tmp_path: Path) -> Path:
    """The scripts, as files, under the names that their second lines give them."""
    text = (checkout / "docs" / "backup.md").read_text(encoding="utf-8")
    folder = tmp_path / "scripts"
    folder.mkdir()
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S):
        match = re.match(r"#!/bin/bash\n# (\S+)", block)
        assert match, block
        (folder / match[1]).write_text(block)
    names = {path.name for path in folder.iterdir()}
    assert names == {"dump.sh", "restore.sh", "pack.sh", "unpack.sh", "nightly.sh", "recover.sh", "keep.sh"}
    return folder


@pytest.fixture
def wrapped(programs: Path, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """``wrapped(create=1)``: an environment whose ``zllm`` ends with that code after it has done ``create``.

    A code above 1 replaces the work.
    """

    def make(**codes: int) -> dict[str, str]:
        folder = tmp_path / "wrapped"
        folder.mkdir(exist_ok=True)
        cases = "".join(
            f'  {name}) {work if code == 1 else ":"}; echo "said {code}" >&2; exit {code} ;;\n'
            for name, code in codes.items()
        )
        script = f'#!/bin/bash\ncase ${{1:-}} in\n{cases}  *) exec {real} "$@" ;;\nesac\n'
        (folder / "zllm").write_text(script)
        (folder / "zllm").chmod(0o755)
        return {"FAKE": str(folder)}

    real = shlex.quote(str(programs / "zllm"))
    work = f'{real} "$@" || exit'
    return make


@pytest.fixture
def run(shell: Shell, scripts: Path) -> Shell:
    """Runs a script of the page: ``run("dump.sh", "app.zllm", code=0, DUMP="...")``; FAKE comes first in its PATH."""

    def call(script: str, *words: str, code: int | None = 0, **env: str) -> subprocess.CompletedProcess[bytes]:
        fake = env.pop("FAKE", "")
        line = " ".join(["bash", f"scripts/{script}", *map(shlex.quote, words)])
        return shell(f'export PATH="{fake}:$PATH"; {line}' if fake else line, code=code, env=env)

    return call


@pytest.fixture
def dump(tmp_path: Path) -> tuple[str, bytes]:
    """A command that writes a long SQL dump, and what it writes."""
    expected = b"".join(b"INSERT INTO t VALUES (%d, 'name %d');\n" % (n, n * 7919 % 1000) for n in range(600))
    (tmp_path / "dump of it").write_bytes(expected)
    return "cat 'dump of it'", expected


@pytest.mark.parametrize("file", ["app.zllm", "my backups/the app.zllm", "-app.zllm"])
def test_a_dump_goes_in_and_comes_back(run: Shell, dump: tuple[str, bytes], file: str, tmp_path: Path) -> None:
    if file.startswith("-"):
        file = f"./{file}"
    (tmp_path / file).parent.mkdir(exist_ok=True)
    for _ in range(2):
        result = run("dump.sh", file, DUMP=dump[0])
        assert result.stdout == result.stderr == b""
    assert (tmp_path / file).stat().st_size < len(dump[1]) / 3
    assert run("restore.sh", file, RESTORE="cat").stdout == dump[1]
    assert not list(tmp_path.rglob("*.new"))


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("echo 'CREATE TABLE t;'; exit 7", 7, b"ended with code 7"),
        ("seq 1000 | head -n 700 | (cat; exit 9)", 9, b"ended with code 9"),
        ("(exit 5) | cat", 5, b"ended with code 5"),
        ("no-such-command-at-all", 127, b"ended with code 127"),
        ("true", 2, b"the dump is empty"),
        (":", 2, b"the dump is empty"),
    ],
)
def test_a_dump_that_fails_leaves_the_old_one(command: str, code: int, said: bytes, run: Shell, tmp_path: Path) -> None:
    result = run("dump.sh", "app.zllm", DUMP=command, code=code)
    assert said in result.stderr and b"FAILED" in result.stderr
    assert not list(tmp_path.glob("*app.zllm*"))
    (tmp_path / "app.zllm").write_text("old")
    run("dump.sh", "app.zllm", DUMP=command, code=code)
    assert (tmp_path / "app.zllm").read_text() == "old" and len(list(tmp_path.glob("*app.zllm*"))) == 1


def test_a_dump_that_begins_with_nul_is_not_empty(run: Shell) -> None:
    run("dump.sh", "app.zllm", DUMP="printf '\\0'; seq 300")
    assert run("restore.sh", "app.zllm", RESTORE="cat").stdout.startswith(b"\x001\n2\n")


def test_a_dump_to_nowhere(run: Shell, dump: tuple[str, bytes], tmp_path: Path) -> None:
    assert b"folder is missing" in run("dump.sh", "no disk/app.zllm", DUMP=dump[0], code=2).stderr
    assert not (tmp_path / "no disk").exists()
    for script in ("dump.sh", "restore.sh", "pack.sh", "unpack.sh", "nightly.sh", "recover.sh", "keep.sh"):
        assert b"usage" in run(script, code=None).stderr
        assert run(script, "", code=None).returncode > 0


def test_a_dump_with_warnings_is_kept(
    run: Shell, dump: tuple[str, bytes], wrapped: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    for environment in (wrapped(**{"--level": 1}), wrapped(test=1)):
        result = run("dump.sh", "app.zllm", DUMP=dump[0], **environment)
        assert result.stderr == b"said 1\n"
        assert run("restore.sh", "app.zllm", RESTORE="cat").stdout == dump[1]
        (tmp_path / "app.zllm").unlink()


@pytest.mark.parametrize(
    "codes", [{"--level": 2}, {"--level": 4}, {"--level": 127}, {"test": 2}, {"test": 3}, {"test": 4}]
)
def test_a_dump_that_zllm_cannot_keep(
    codes: dict[str, int], run: Shell, dump: tuple[str, bytes],
    wrapped: Callable[..., dict[str, str]], tmp_path: Path,
) -> None:  # fmt: skip
    (tmp_path / "app.zllm").write_text("old")
    result = run("dump.sh", "app.zllm", DUMP=dump[0], code=max(codes.values()), **wrapped(**codes))
    assert b"FAILED" in result.stderr
    assert (tmp_path / "app.zllm").read_text() == "old" and not list(tmp_path.glob("*.new"))


def damage(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)


def test_restore_touches_nothing_before_all_is_proved(
    run: Shell, dump: tuple[str, bytes], wrapped: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    run("dump.sh", "app.zllm", DUMP=dump[0])
    assert b"code 6" in run("restore.sh", "app.zllm", RESTORE="cat > /dev/null; exit 6", code=6).stderr
    result = run("restore.sh", "app.zllm", RESTORE="touch begun; cat", code=4, **wrapped(test=4))
    assert b"nothing was restored" in result.stderr and result.stdout == b""
    run("restore.sh", "no such.zllm", RESTORE="touch begun; cat", code=2)
    whole = (tmp_path / "app.zllm").read_bytes()
    damage(tmp_path / "app.zllm")
    run("restore.sh", "app.zllm", RESTORE="touch begun; cat", code=3)
    (tmp_path / "app.zllm").write_bytes(whole[: len(whole) // 2])
    run("restore.sh", "app.zllm", RESTORE="touch begun; cat", code=3)
    assert not (tmp_path / "begun").exists()


@pytest.mark.parametrize("place", ["t.zllm", "a disk/t t.zllm"])
def test_tar_goes_in_and_comes_back(place: str, run: Shell, shell: Shell, tree: Path, tmp_path: Path) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    run("pack.sh", place, "tree")
    run("unpack.sh", place, "back there/new")
    shell("diff -r --no-dereference tree 'back there/new'")


def test_tar_that_fails(run: Shell, tree: Path, wrapped: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    assert b"no such folder" in run("pack.sh", "t.zllm", "no tree", code=2).stderr
    assert b"is missing" in run("pack.sh", "no disk/t.zllm", "tree", code=2).stderr
    fake = tmp_path / "fake"
    fake.mkdir()
    for code, kept in ((1, True), (2, False)):  # 1: files changed while they were read
        (fake / "tar").write_text(f'#!/bin/bash\nPATH=${{PATH#*:}}\ntar "$@"\nexit {code}\n')
        (fake / "tar").chmod(0o755)
        (tmp_path / "t.zllm").write_text("old")
        run("pack.sh", "t.zllm", "tree", code=0 if kept else 2, FAKE=str(fake))
        assert ((tmp_path / "t.zllm").read_text(errors="replace") == "old") != kept
    run("pack.sh", "t.zllm", "tree")
    damage(tmp_path / "t.zllm")
    assert b"nothing was restored" in run("unpack.sh", "t.zllm", "back", code=3).stderr
    assert not (tmp_path / "back").exists() and not list(tmp_path.glob("*.new"))


def old_archives(target: Path, days: int) -> None:
    target.mkdir(parents=True)
    for day in range(10, 10 + days):
        (target / f"2001-01-{day}.zllm").write_bytes(b"old")


@pytest.fixture
def target(tree: Path, tmp_path: Path) -> Path:
    """A folder with twenty old archives, beside the folder ``tree``."""
    old_archives(tmp_path / "target", 20)
    return tmp_path / "target"


@pytest.mark.parametrize("place", ["target", "the disk/my target", "x[1]*"])
def test_the_nightly_script(place: str, run: Shell, shell: Shell, tree: Path, tmp_path: Path) -> None:
    old_archives(tmp_path / place, 20)
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "2001-01-10.zllm").write_text("of somebody else")
    (tmp_path / place / "notes.zllm").touch()
    (tree / "x.tmp").touch()
    assert run("nightly.sh", "tree", place).stdout == b""
    kept = sorted(path.name for path in (tmp_path / place).glob("20*.zllm"))
    assert len(kept) == 14 and kept[0] == "2001-01-17.zllm"
    assert (tmp_path / place / "notes.zllm").exists() and (tmp_path / "my" / "2001-01-10.zllm").exists()
    run("nightly.sh", "tree", place, KEEP="3")
    assert len(list((tmp_path / place).glob("20*.zllm"))) == 3
    newest = f"{place}/{kept[-1]}"
    run("recover.sh", newest, "back again")
    shell("rm tree/x.tmp; diff -r --no-dereference tree 'back again'")
    assert b"is not empty" in run("recover.sh", newest, "back again", code=2).stderr


@pytest.mark.parametrize(
    ("words", "env", "said"),
    [
        (["no tree", "target"], {}, b"no tree"),
        (["tree", "no disk"], {}, b"no disk is missing"),
        (["tree", "target"], {"KEEP": "0"}, b"KEEP=0"),
        (["tree", "target"], {"KEEP": "all"}, b"KEEP=all"),
        (["tree", "target"], {"KEEP": "-1"}, b"KEEP=-1"),
    ],
)
def test_a_night_without_a_backup_says_so_and_prunes_nothing(
    words: list[str], env: dict[str, str], said: bytes, run: Shell, target: Path
) -> None:
    result = run("nightly.sh", *words, code=2, **env)
    assert b"FAILED" in result.stdout and said in result.stdout
    assert len(list(target.glob("*.zllm"))) == 20
    assert not (target.parent / "no disk").exists()


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ({"create": 2}, b"create ended with code 2"), ({"create": 4}, b"create ended with code 4"),
        ({"create": 127}, b"code 127"), ({"create": 137}, b"code 137"), ({"test": 3}, b"is damaged"),
        ({"test": 4}, b"model that target/"), ({"test": 2}, b"could not be tested"),
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_night_prunes_nothing(
    codes: dict[str, int], said: bytes, run: Shell, target: Path, wrapped: Callable[..., dict[str, str]]
) -> None:
    result = run("nightly.sh", "tree", "target", code=max(codes.values()), **wrapped(**codes))
    assert b"FAILED, older archives are kept" in result.stdout and said in result.stdout
    assert b"said" in result.stdout
    assert len(list(target.glob("2001*.zllm"))) == 20


def test_a_night_with_warnings_is_a_backup(
    run: Shell, tree: Path, wrapped: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    """The archive is kept, older ones are pruned, and what the warnings say is printed."""
    old_archives(tmp_path / "target", 20)
    result = run("nightly.sh", "tree", "target", **wrapped(create=1))
    assert b"complete, with warnings" in result.stdout and b"said 1" in result.stdout
    assert len(list((tmp_path / "target").glob("20*.zllm"))) == 14


def test_a_night_in_which_a_file_changes(run: Shell, shell: Shell, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    slow = "import time\nwith open('tree/growing', 'ab', 0) as f:\n while True: f.write(b'x'); time.sleep(0.0005)"
    writer = subprocess.Popen([sys.executable, "-c", slow], cwd=tmp_path)
    try:
        shell("until [ -s tree/growing ]; do sleep 0.01; done")
        result = run("nightly.sh", "tree", "target")
    finally:
        writer.kill()
        writer.wait()
    if result.stdout:  # nearly always: the file is written a thousand times a second
        assert b"complete, with warnings" in result.stdout and b"growing" in result.stdout
    assert len(list((tmp_path / "target").glob("20*.zllm"))) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads and writes everything")
def test_a_night_with_closed_folders(run: Shell, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tree / "crlf.csv").chmod(0)
    assert b"crlf.csv: Permission denied: skipped" in run("nightly.sh", "tree", "target").stdout
    (tmp_path / "target").chmod(0o555)
    assert b"cannot be written" in run("nightly.sh", "tree", "target", code=2).stdout
    (tmp_path / "target").chmod(0o755)


def test_recovering_what_is_damaged(run: Shell, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    run("nightly.sh", "tree", "target")
    archive = next((tmp_path / "target").glob("*.zllm"))
    damage(archive)
    assert b"nothing was restored" in run("recover.sh", str(archive), "back", code=3).stderr
    assert not (tmp_path / "back").exists()
    run("recover.sh", "none.zllm", "back", code=2)


def test_an_archive_that_grows(run: Shell, shell: Shell, tree: Path, tmp_path: Path) -> None:
    for night in range(4):
        (tree / "night").write_text(f"night {night}")
        (tree / f"only {night}").write_text("one night")
        assert run("keep.sh", "tree", "my disk.zllm", KEEP="3").stderr == b""
        shell(f"zllm extract 'my disk.zllm' -C 'out {night}' && diff -r --no-dereference tree 'out {night}'")
        (tree / f"only {night}").unlink()
        if night == 2:
            shell("zllm extract --generation 1 'my disk.zllm' -C past && grep -x 'night 1' past/night")
    assert shell("zllm list --generations 'my disk.zllm' | wc -l").stdout.strip() == b"2"
    damage(tmp_path / "my disk.zllm")
    assert b"FAILED" in run("keep.sh", "tree", "my disk.zllm", code=3).stderr
    assert b"FAILED" in run("keep.sh", "no tree", "my disk.zllm", code=2).stderr
    assert b"FAILED" in run("keep.sh", "tree", "my disk.zllm", code=2, KEEP="0").stderr
