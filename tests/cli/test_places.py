"""Places that are no files of their own: /dev/stdout, descriptors, pipes, devices."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from zllm.cli import places

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("".join(f"{number}\n" for number in range(300)))


@pytest.mark.parametrize(
    "command",
    [
        "zllm create -2 /dev/stdout f | cat > a.zllm",
        "zllm create -2 /dev/stdout f > a.zllm",
        "zllm create -2 /dev/fd/7 f 7> a.zllm",
        "zllm create -2 >(cat > a.tmp; mv a.tmp a.zllm) f; while ! [ -e a.zllm ]; do sleep 0.05; done",
        "mkfifo p; cat p > a.zllm & zllm create -2 p f; wait",
        "zllm -2 -o /dev/stdout < f > a.zllm",
        "zllm -2 -o /dev/fd/5 f 5> a.zllm",
        "zllm -2 -- /dev/fd/0 < f > a.zllm",
        "zllm -2 <(cat f) > a.zllm",
        "ln -s /dev/stdout l; zllm create -2 l f | cat > a.zllm",
    ],
)
def test_places_to_write_to(command: str, shell: Run) -> None:
    shell(f"{command}; zllm test a.zllm && [ $(zllm cat --tar a.zllm | grep -ac '^123$') = 1 ]")


def test_places_to_read_from(shell: Run) -> None:
    shell("zllm create -2 a.zllm f")
    for place in ("<(cat a.zllm)", "/dev/stdin < a.zllm", "/dev/fd/6 6< a.zllm"):
        shell(f"zllm extract -C o {place} && cmp f o/f && rm -r o; zllm cat --tar {place} | tar -xO | cmp - f")
    shell("zllm list <(cat a.zllm) && zllm test <(cat a.zllm) && zllm info <(cat a.zllm) && zllm -t <(cat a.zllm)")
    shell("mkfifo p; cat a.zllm > p & zllm list p && wait")
    shell("zllm create -2 -T <(echo f) b.zllm && cmp <(zllm cat b.zllm f) f")


def test_models(shell: Run, tmp_path: Path) -> None:
    env = {"ZLLM_HOME": str(tmp_path / "home")}
    shell(
        "zllm model export fast /dev/stdout > m.zlm && zllm model export fast /dev/fd/6 6> n.zlm; cmp m.zlm n.zlm",
        env=env,
    )
    shell("zllm model import <(cat m.zlm) --name a && zllm model import - --name b < m.zlm", env=env)
    assert b"a, b" in shell("zllm model list", env=env).stdout
    for place in ("/dev/zero", "/dev/null", "- < /dev/zero", "<(echo nonsense)"):
        assert b"not a model file" in shell(f"zllm model import {place}", env=env, code=2).stderr
    assert b"neither a file nor a pipe" in shell("zllm model show /dev/zero", env=env, code=2).stderr


def test_devices(shell: Run, tmp_path: Path) -> None:
    shell("zllm create -2 /dev/null f && zllm -2 -o /dev/null f && [ -c /dev/null ]")
    assert b"/dev/full: No space left" in shell("zllm create -2 /dev/full f", code=2).stderr
    assert b"/dev/full: No space left" in shell("zllm -2 -o /dev/full f", code=2).stderr
    assert b"/dev/fd/99: Bad file descriptor" in shell("zllm create -2 /dev/fd/99 f", code=2).stderr
    assert b"/dev/fd/99: Bad file descriptor" in shell("zllm list /dev/fd/99", code=2).stderr
    assert b"/dev/fd/8: Bad file descriptor" in shell("zllm create -2 /dev/fd/8 f 8< /dev/null", code=2).stderr
    assert b"/dev/null: not a zllm archive" in shell("zllm list /dev/null", code=2).stderr
    assert sorted(os.listdir(tmp_path)) == ["f"]


@pytest.mark.parametrize(
    ("name", "number"),
    [("/dev/stdin", 0), ("/dev/stdout", 1), ("/dev/stderr", 2), ("/dev/fd/1", 1), ("/proc/self/fd/2", 2),
     ("/proc/OWN/fd/0", 0), ("/proc/1/fd/0", None), ("dev/stdout", None), ("/dev/fd/x", None),
     ("/dev/fd/", None), ("/dev/null", None), ("-", None)],
)  # fmt: skip
def test_descriptors(name: str, number: int | None) -> None:
    assert places.descriptor(name.replace("OWN", str(os.getpid()))) == number


def test_messages_name_the_file_and_no_temporary_one(shell: Run, tmp_path: Path) -> None:
    name = "x" * 256
    assert shell(f"zllm create -2 {name} f", code=2).stderr == f"zllm: {name}: File name too long\n".encode()
    assert shell("zllm create -2 f/a.zllm f", code=2).stderr == b"zllm: f/a.zllm: Not a directory\n"
    assert shell("zllm create -2 no/a.zllm f", code=2).stderr == b"zllm: no/a.zllm: No such file or directory\n"
    assert shell("zllm list /proc/self/mem", code=2).stderr.startswith(b"zllm: /proc/self/mem: ")
    gone = 'mkdir d; cd d; rmdir ../d; zllm create -2 a.zllm "$OLDPWD/f"'
    assert shell(gone, code=2).stderr.endswith(b"zllm: a.zllm: No such file or directory\n")  # sh, too, complains
    if os.geteuid() == 0:
        return
    (tmp_path / "locked").mkdir(mode=0o500)
    assert shell("zllm create -2 locked/a.zllm f", code=2).stderr == b"zllm: locked/a.zllm: Permission denied\n"
