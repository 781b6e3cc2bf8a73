"""What ZllmFile overrides takes the calls of the newest tarfile, also where this Python's own is older."""

from __future__ import annotations

import importlib.util
import inspect
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

import zllm

MEMBER = tarfile.TarInfo("member")
NAMED = {"filter_function": None, "extraction_root": "root"}

# How the newest tarfile (3.14, and the fixed 3.10 to 3.13) calls its own methods, and how its documentation says that
# they are called.
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("makelink_with_filter", (MEMBER, "target"), NAMED),
    ("makelink_with_filter", (MEMBER, "target", None, None), {}),
    ("makelink", (MEMBER, "target"), {}),
    ("makefile", (MEMBER, "target"), {}),
    ("makedir", (MEMBER, "target"), {}),
    ("makefifo", (MEMBER, "target"), {}),
    ("makedev", (MEMBER, "target"), {}),
    ("makeunknown", (MEMBER, "target"), {}),
    ("chown", (MEMBER, "target", False), {}),
    ("chown", (MEMBER, "target"), {"numeric_owner": False}),
    ("chmod", (MEMBER, "target"), {}),
    ("utime", (MEMBER, "target"), {}),
    ("extract", (MEMBER, "", True), {"numeric_owner": False, "filter": None}),
    ("extract", ("member",), {"path": "folder", "set_attrs": False, "filter": "data"}),
    ("extractall", (".", None), {"numeric_owner": False, "filter": None}),
    ("extractall", (), {"path": ".", "members": [], "filter": "tar"}),
    ("extractfile", (MEMBER,), {}),
    ("getmember", ("member",), {}),
    ("gettarinfo", ("name", "arcname", None), {}),
    ("add", ("name", "arcname", True), {"filter": None}),
    ("addfile", (MEMBER, None), {}),
    ("list", (True,), {"members": None}),
    ("next", (), {}),
    ("_load", (), {}),
]


@pytest.mark.parametrize("name, arguments, keywords", CALLS)
def test_calls_of_the_newest_tarfile_fit(name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    method = getattr(zllm.ZllmFile, name, None)
    assert method is not None
    inspect.signature(method).bind(None, *arguments, **keywords)


def test_links_come_by_keyword(tmp_path: Path) -> None:
    """By the newest way through tarfile's own code, member after member."""
    import newest_tarfile

    source = tmp_path / "src"
    (source / "sub").mkdir(parents=True)
    (source / "a.txt").write_bytes(b"one")
    os.link(source / "a.txt", source / "sub" / "hard")
    (source / "sub" / "sym").symlink_to("../a.txt")
    with zllm.open(tmp_path / "t.zllm", "w", level=1) as archive:
        archive.add(source, "src")
    out = tmp_path / "out"
    newest_tarfile.calls.clear()
    with zllm.open(tmp_path / "t.zllm") as archive:
        for _ in range(2):  # the second time, what is there is replaced
            for member in archive:
                newest_tarfile.extract_member(
                    archive, member, str(out / member.name), set_attrs=False, extraction_root=str(out)
                )
    assert sorted(newest_tarfile.calls) == ["src/sub/hard"] * 2 + ["src/sub/sym"] * 2
    assert (out / "src" / "sub" / "hard").read_bytes() == b"one"
    assert (out / "src" / "sub" / "hard").samefile(out / "src" / "a.txt")
    assert os.readlink(out / "src" / "sub" / "sym") == "../a.txt"


def test_the_archive_tests_pass_with_these_calls(checkout: Path, tmp_path: Path) -> None:
    tests = ["archive/test_info.py", "archive/test_opening.py", "extraction/test_python.py"]
    if importlib.util.find_spec("hypothesis"):
        tests.append("archive/test_zllmfile.py")
    paths = [str(path) for test in tests if (path := checkout / "tests" / test).exists()]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "newest_tarfile", "-p", "no:cacheprovider", "-k", "not 200"]
    options = ["-c", str(checkout / "pyproject.toml"), "--rootdir", str(checkout), "--basetemp", str(tmp_path / "new")]
    search = os.pathsep.join([str(checkout / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [*command, *options, *paths], capture_output=True, text=True, timeout=600, check=False,
        env={**os.environ, "PYTHONPATH": search},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
