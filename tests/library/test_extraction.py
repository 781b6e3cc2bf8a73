"""unzllm -x: the tree comes back, and nothing is ever written outside of it or through a link."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from extraction.tars import CHARACTER, FILE, FOLDER, HARD, PIPE, SYMBOLIC, header
from library.conftest import Installed

from zllm.archive.options import WriteOptions
from zllm.archive.writer import Writer


def packed(path: Path, *blocks: bytes) -> Path:
    """An archive of hand-written header blocks and data."""
    with path.open("wb") as file:
        sink = Writer(file, WriteOptions(threads=1, level=2, llm=False))
        sink.write(b"".join(blocks) + bytes(1024))
        sink.close()
    return path


def data(text: bytes) -> bytes:
    return text + bytes(-len(text) % 512)


def file(name: bytes, text: bytes = b"new\n") -> bytes:
    return header(name, FILE, size=len(text)) + data(text)


def extract(installed: Installed, archive: Path, folder: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(installed.unzllm), "-x", str(folder), str(archive)], capture_output=True, check=False)


def test_a_tree_comes_back(installed: Installed, tmp_path: Path) -> None:
    archive = packed(
        tmp_path / "a.zllm", header(b"d/", FOLDER, mode=0o500, mtime=1_500_000_000), file(b"d/f"),
        file(b"d/empty", b""),
        header(b"d/hard", HARD, link=b"d/f"), header(b"d/soft", SYMBOLIC, link=b"f"), header(b"pipe", PIPE),
        header(b"first", HARD, link=b"d/soft"), header(b"set", FILE, mode=0o6755),
    )  # fmt: skip
    done = extract(installed, archive, tmp_path / "x")
    root = tmp_path / "x"
    assert (done.returncode, done.stderr) == (0, b"")
    assert (root / "d/f").read_bytes() == b"new\n" and (root / "d/empty").read_bytes() == b""
    assert (root / "d/hard").samefile(root / "d/f") and os.readlink(root / "d/soft") == "f"
    assert os.readlink(root / "first") == "f" and stat.S_ISFIFO((root / "pipe").stat().st_mode)
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o500 and (root / "d").stat().st_mtime == 1_500_000_000
    assert stat.S_IMODE((root / "set").stat().st_mode) == 0o755
    (root / "d").chmod(0o700)


@pytest.mark.parametrize("name", [b"../evil", b"a/../../evil", b"a/.."])
def test_names_that_lead_upwards_are_refused(installed: Installed, tmp_path: Path, name: bytes) -> None:
    done = extract(installed, packed(tmp_path / "a.zllm", file(name), file(b"good")), tmp_path / "x")
    assert done.returncode == 2 and b"'..'" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zllm", "x"]
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["good"]


def test_absolute_names_lose_their_slash(installed: Installed, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    done = extract(installed, packed(tmp_path / "a.zllm", file(str(outside).encode())), tmp_path / "x")
    assert done.returncode == 0 and not outside.exists()
    assert (tmp_path / "x" / str(outside)[1:]).read_bytes() == b"new\n"


def test_nothing_is_written_through_links_of_the_archive(installed: Installed, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = str(outside).encode()
    archive = packed(tmp_path / "a.zllm", header(b"l", SYMBOLIC, link=target), file(b"l/evil"))
    done = extract(installed, archive, tmp_path / "x")
    assert list(outside.iterdir()) == [] and done.returncode == 2  # the folder is there, the link is not
    assert (tmp_path / "x/l/evil").read_bytes() == b"new\n"


def test_nothing_is_written_through_links_that_were_there(installed: Installed, tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "x"
    outside.mkdir()
    root.mkdir()
    (outside / "kept").write_bytes(b"old\n")
    (root / "l").symlink_to(outside)
    (root / "f").symlink_to(outside / "kept")
    done = extract(installed, packed(tmp_path / "a.zllm", file(b"l/evil"), file(b"f")), root)
    assert done.returncode == 0 and [path.name for path in outside.iterdir()] == ["kept"]
    assert (outside / "kept").read_bytes() == b"old\n" and not (root / "f").is_symlink()


def test_hard_links_do_not_lead_out(installed: Installed, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret\n")
    root = tmp_path / "x"
    root.mkdir()
    (root / "old").symlink_to(secret)
    archive = packed(
        tmp_path / "a.zllm", header(b"one", HARD, link=b"../secret"), header(b"two", HARD, link=str(secret).encode()),
        header(b"three", HARD, link=b"old"), header(b"four", HARD, link=b"nothing"),
    )  # fmt: skip
    assert extract(installed, archive, root).returncode == 2
    assert [path.name for path in root.iterdir()] == ["old"]


def test_devices_are_not_made(installed: Installed, tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zllm", header(b"null", CHARACTER, device=(1, 3)), file(b"good"))
    done = extract(installed, archive, tmp_path / "x")
    assert done.returncode == 2 and [path.name for path in (tmp_path / "x").iterdir()] == ["good"]


def test_what_is_in_the_way(installed: Installed, tmp_path: Path) -> None:
    root = tmp_path / "x"
    (root / "empty").mkdir(parents=True)
    (root / "full/of").mkdir(parents=True)
    (root / "file").write_bytes(b"old\n")
    archive = packed(tmp_path / "a.zllm", file(b"empty"), file(b"full"), file(b"file"), header(b"full/of/", FOLDER))
    done = extract(installed, archive, root)
    assert done.returncode == 2 and b"full: " in done.stderr
    assert (root / "empty").read_bytes() == b"new\n" and (root / "full/of").is_dir()
    assert (root / "file").read_bytes() == b"new\n"


def test_a_later_member_takes_the_name_of_a_link(installed: Installed, tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zllm", header(b"n", SYMBOLIC, link=b"elsewhere"), file(b"n"), file(b"m"),
                     header(b"m", SYMBOLIC, link=b"n"))  # fmt: skip
    assert extract(installed, archive, tmp_path / "x").returncode == 0
    assert (tmp_path / "x/n").read_bytes() == b"new\n" and os.readlink(tmp_path / "x/m") == "n"
