"""Other programs with the files of tools/contrib: each test runs the program, and is skipped where it is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def contrib(checkout: Path) -> Path:
    return checkout / "tools" / "contrib"


def need(*programs: str) -> None:
    if missing := [name for name in programs if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]:
        pytest.skip(f"there is no {', '.join(missing)}")


@pytest.fixture
def packed(zllm: Run, tmp_path: Path) -> Path:
    """An archive of a folder."""
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "a file.txt").write_bytes(b"what mc shows\n" * 3)
    (tmp_path / "tree" / "sub" / "b").write_bytes(b"b")
    (tmp_path / "tree" / "link").symlink_to("sub/b")
    zllm("create", "-4", "a.zllm", "tree")
    return tmp_path / "a.zllm"


def test_git_archive(shell: Run, contrib: Path, tmp_path: Path) -> None:
    need("git", "tar")
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "file").write_bytes(b"content\n")
    shell(
        f"""export GIT_CONFIG_GLOBAL={contrib}/gitconfig GIT_CONFIG_NOSYSTEM=1
        cd repository && git init -q && git add . && git -c user.name=a -c user.email=b commit -q -m c
        git archive --format=tar HEAD > ../plain.tar
        git archive -o ../g.tar.zllm HEAD && git archive --format=tar.zllm HEAD > ../h.tar.zllm""",
        code=0,
    )
    assert (tmp_path / "g.tar.zllm").read_bytes() == (tmp_path / "h.tar.zllm").read_bytes()
    unpacked = shell("zllm -d < g.tar.zllm", code=0).stdout
    assert unpacked == (tmp_path / "plain.tar").read_bytes()


def test_file_knows_archives(packed: Path, contrib: Path, tmp_path: Path) -> None:
    need("file")
    (tmp_path / "other").write_bytes(b"\x8dZLM\n\x1a\n\n")
    said = subprocess.run(
        ["file", "-b", "--mime-type", "-m", contrib / "magic", packed, "other"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == ["application/x-zllm", "application/octet-stream"]


def test_desktops_know_archives(packed: Path, contrib: Path, tmp_path: Path) -> None:
    need("update-mime-database", "gio")
    (tmp_path / "share" / "mime" / "packages").mkdir(parents=True)
    shutil.copy(contrib / "zllm.xml", tmp_path / "share" / "mime" / "packages")
    subprocess.run(["update-mime-database", tmp_path / "share" / "mime"], check=True, capture_output=True)
    shutil.copy(packed, tmp_path / "without")
    environment = {**os.environ, "XDG_DATA_DIRS": str(tmp_path / "share"), "XDG_DATA_HOME": str(tmp_path / "none")}
    for name in ("a.zllm", "without"):  # by its ending, by its first bytes
        said = subprocess.run(
            ["gio", "info", "-a", "standard::content-type", name],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "standard::content-type: application/x-zllm" in said.stdout, said.stdout


def test_logrotate(shell: Run, contrib: Path, programs: Path, tmp_path: Path) -> None:
    need("logrotate")
    lines = (contrib / "logrotate.conf").read_text().replace("/usr/local/bin", str(programs))
    log = tmp_path / "app.log"
    (tmp_path / "conf").write_text(f"{log} {{\n  su root root\n  rotate 2\n  weekly\n{lines}}}\n")
    log.write_bytes(b"line\n" * 1000)
    (tmp_path / "conf").chmod(0o644)
    if os.geteuid():
        pytest.skip("logrotate changes users: it takes root")
    for folder in (tmp_path, *tmp_path.parents[:1]):
        folder.chmod(0o755)
    shell("/usr/sbin/logrotate -f -s state conf", code=0)
    assert shell("zllm -d < app.log.1.zllm", code=0).stdout == b"line\n" * 1000


def test_apt(contrib: Path, zllm: Run, programs: Path, tmp_path: Path) -> None:
    helper = Path("/usr/lib/apt/apt-helper")
    if not helper.exists():
        pytest.skip("there is no apt")
    (tmp_path / "Packages.zllm").write_bytes(zllm("-5", data=b"Package: a\n\n" * 500).stdout)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "APT_CONFIG": str(contrib / "apt.conf")}
    said = subprocess.run([helper, "cat-file", "Packages.zllm"], env=environment, capture_output=True, check=False)
    assert said.returncode == 0, said.stderr
    assert said.stdout == b"Package: a\n\n" * 500


def test_mcs_script(packed: Path, contrib: Path, shell: Run, tmp_path: Path) -> None:
    """As mc calls it."""
    need("tar", "awk")
    script = contrib / "mc.uzllm"
    lines = shell(f"{script} list a.zllm", code=0).stdout.decode().splitlines()
    assert [line.split(maxsplit=7)[-1] for line in lines] == [
        "tree",
        "tree/a file.txt",
        "tree/link -> sub/b",
        "tree/sub",
        "tree/sub/b",
    ]
    assert [line[0] for line in lines] == ["d", "-", "l", "d", "-"]
    shell(f"{script} copyout a.zllm 'tree/a file.txt' out", code=0)
    assert (tmp_path / "out").read_bytes() == b"what mc shows\n" * 3
    shell(f"{script} rm a.zllm tree/sub/b", code=1)


def test_mc(packed: Path, contrib: Path, programs: Path, tmp_path: Path) -> None:
    """Its viewer opens a member."""
    need("mcview", "script")
    extfs = tmp_path / "home" / ".local" / "share" / "mc" / "extfs.d"
    extfs.mkdir(parents=True)
    shutil.copy(contrib / "mc.uzllm", extfs / "uzllm")
    environment = {
        **os.environ, "HOME": str(tmp_path / "home"), "TERM": "xterm", "PATH": f"{programs}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
    }  # fmt: skip
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    command = f"stty rows 24 cols 80; exec mcview '{packed}/uzllm://tree/a file.txt'"
    with subprocess.Popen(
        ["script", "-qfc", command, "typescript"],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as viewer:  # fmt: skip
        shown = tmp_path / "typescript"
        for _ in range(200):
            if viewer.poll() is not None or (shown.exists() and b"what mc shows" in shown.read_bytes()):
                break
            time.sleep(0.1)
        viewer.kill()
    assert b"what mc shows" in shown.read_bytes()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib")
def test_containerds_contract(contrib: Path, shell: Run, packed: Path, tmp_path: Path) -> None:
    """A stream processor reads the layer from stdin, writes the tar to stdout, and fails if that is not all of it."""
    import tomllib

    processors = tomllib.loads((contrib / "containerd.toml").read_text())["stream_processors"]
    (processor,) = processors.values()
    assert processor["accepts"][0].removesuffix("+zllm") == processor["returns"]
    command = " ".join([Path(processor["path"]).name, *processor["args"]])
    layer = shell("zllm cat a.zllm --tar", code=0).stdout
    assert shell(f"{command} < a.zllm", code=0).stdout == layer
    packed.write_bytes(packed.read_bytes()[:-60])
    assert shell(f"{command} < a.zllm", code=None).returncode not in (0, 1)


def test_bsdtar_reads_archives(packed: Path, shell: Run, tmp_path: Path) -> None:
    """libarchive's own client, with the program as a filter."""
    need("bsdtar")
    shell("bsdtar -x --use-compress-program 'unzllm -' -f a.zllm -C \"$(mkdir out; echo out)\"", code=0)
    assert (tmp_path / "out" / "tree" / "sub" / "b").read_bytes() == b"b"
