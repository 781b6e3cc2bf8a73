"""What all tests share. They run against whatever ``zllm`` is importable: in CI, the installed wheel."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder that the tests are in, with the README, the docs and the sources."""
    return ROOT


@pytest.fixture(scope="session")
def prose(checkout: Path) -> bytes:
    """Tens of thousands of bytes of English that the model codes well."""
    return b"\n".join(path.read_bytes() for path in sorted((checkout / "docs" / "decisions").glob("0*.md")))


@pytest.fixture(autouse=True)
def _away_from_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a folder of its own as its current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZLLM_DEBUG", raising=False)


Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def zllm(tmp_path: Path) -> Run:
    """Runs the program in a process of its own: ``zllm("create", "a.zllm", "dir", code=0)``.

    ``code`` is the exit code it must end with, None for any. Whatever happens, there must be no traceback.
    """

    def run(
        *words: str | bytes | Path, code: int | None = 0, data: bytes | None = None, **kwargs: object
    ) -> subprocess.CompletedProcess[bytes]:
        options: dict[str, object] = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
        if data is None:
            options.setdefault("stdin", subprocess.DEVNULL)
        command = [sys.executable, "-m", "zllm", *words]
        result: subprocess.CompletedProcess[bytes]
        result = subprocess.run(command, input=data, timeout=120, check=False, **options)  # type: ignore[call-overload]
        assert b"Traceback" not in (result.stderr or b""), result.stderr.decode()
        if code is not None:
            assert result.returncode == code, (result.returncode, result.stderr and result.stderr.decode())
        return result

    return run


# Root could not be kept from reading anything. The first runs load what the last one needs, for to another user the
# folders of Python and of the package may be closed.
AS_NOBODY = """
import os, sys
from zllm.cli.main import main
words = sys.argv[1:]
for command in (["create", "-2"], ["append"], ["update", "--delete"]):
    main([*command, "-q", "warm.zllm", *words[-1:]])
os.unlink("warm.zllm")
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(main(words))
"""


@pytest.fixture
def nobody(zllm: Run, tmp_path: Path) -> Run:
    """Runs the program as a user who is not root and owns the test's folder; the last word is a name to pack."""
    if os.geteuid():
        return zllm

    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[bytes]:
        # Elsewhere for as long as it runs: pytest's folders are closed to others.
        with tempfile.TemporaryDirectory() as elsewhere:
            for path in tmp_path.iterdir():
                shutil.move(path, elsewhere)
            for path in (Path(elsewhere), *Path(elsewhere).rglob("*")):
                os.chown(path, 65534, 65534, follow_symlinks=False)
            command = [sys.executable, "-c", AS_NOBODY, *words]
            result = subprocess.run(command, cwd=elsewhere, capture_output=True, timeout=120, check=False)
            for path in Path(elsewhere).iterdir():
                shutil.move(path, tmp_path)
        assert b"Traceback" not in result.stderr, result.stderr.decode()
        assert result.returncode == code, (result.returncode, result.stderr.decode())
        return result

    return run


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``zllm`` and ``unzllm`` to put in front of PATH: the programs of this very Python."""
    folder = tmp_path_factory.mktemp("bin")
    # bsdtar gives its programs an empty environment.
    path = shlex.quote(os.environ.get("PYTHONPATH", ""))
    for name, function in (("zllm", "run_zllm"), ("unzllm", "run_unzllm")):
        code = f"import sys; from zllm.cli.main import {function}; sys.exit({function}())"
        script = folder / name
        script.write_text(f'#!/bin/sh\nPYTHONPATH={path} exec {shlex.quote(sys.executable)} -c "{code}" "$@"\n')
        script.chmod(0o755)
    return folder


@pytest.fixture
def shell(programs: Path, tmp_path: Path) -> Run:
    """Runs a bash script that finds ``zllm`` and ``unzllm``: ``shell("zllm < a > b", code=0)``."""

    def run(
        script: str, *arguments: str | Path, code: int | None = 0, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        command: Sequence[str | Path] = ["bash", "-c", script, "bash", *arguments]
        result = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **(env or {}), "PATH": path}, capture_output=True, timeout=300,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert b"Traceback" not in result.stderr, result.stderr.decode()
        if code is not None:
            assert result.returncode == code, (result.returncode, result.stderr.decode())
        return result

    return run


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small folder with most of what a folder can hold."""
    folder = tmp_path / "tree"
    (folder / "docs").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "docs" / "read me.txt").write_text("The quick brown fox jumps over the lazy dog.\n" * 40)
    (folder / "docs" / "ünïcode.md").write_text("# Überschrift\n\nEin Absatz, der sich kaum wiederholt.\n" * 20)
    (folder / "crlf.csv").write_bytes(b"a,b,c\r\n1,2,3\r\n" * 100)
    (folder / "every-byte").write_bytes(bytes(range(256)) * 17)
    (folder / "random.bin").write_bytes(os.urandom(5000))
    (folder / "nothing").write_bytes(b"")
    (folder / "script.sh").write_text("#!/bin/sh\necho hello\n")
    (folder / "script.sh").chmod(0o750)
    (folder / "link").symlink_to("docs/read me.txt")
    os.link(folder / "crlf.csv", folder / "hard")
    for place, path in enumerate(sorted(folder.rglob("*"))):
        os.utime(path, (1_600_000_000 + place, 1_600_000_000.25 + place), follow_symlinks=False)
    return folder
