"""An archive that carries its decoder: taken out by the commands that it says, compiled, and used on it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from library.conftest import Installed, skip_without
from library.test_archive import GOLDEN, TINY

import zllm
from zllm.archive import carried, layout
from zllm.errors import UsageError
from zllm.format.notepart import MAX_TEXT, Note, pack, unpack


def run(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(words, capture_output=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("carried")
    (folder / "poem.txt").write_text("so much depends upon\n" * 500)
    done = run(sys.executable, "-m", "zllm", "create", "--carry-decoder", "-3", "a.zllm", "poem.txt", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "a.zllm"


def test_the_decoder_comes_out_of_the_archive_and_unpacks_it(path: Path, tmp_path: Path) -> None:
    skip_without("cc", "gzip", "tar", "grep")
    with zllm.open(path) as archive:
        assert archive.getnames() == ["poem.txt"]
    text = carried.decoder()[0].content.decode()
    assert text.encode() in path.read_bytes()  # in the clear
    take, compiling = text.split("       tail")[1].split("\n\n")[0], text.split("       cc ")[1].splitlines()[0]
    script = f"tail{take}\ncc {compiling.replace('-O2', '-O0')}\n./unzllm -x out ARCHIVE\n"
    done = run("sh", "-eux", "-c", script.replace("ARCHIVE", str(path)), cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "out" / "poem.txt").read_bytes() == (path.parent / "poem.txt").read_bytes()
    assert {"zllm-format.md", "arithmetic.md", "LICENSE"} <= {one.name for one in tmp_path.iterdir()}
    for name, words in (("cm", []), ("tiny", ["--model", str(TINY)])):
        assert run(str(tmp_path / "unzllm"), "-t", *words, str(GOLDEN / f"{name}.zllm")).returncode == 0


def test_notes_are_told_and_extracted(installed: Installed, path: Path) -> None:
    readme, decoder = carried.decoder()
    for note in (readme, decoder):
        mine = run(str(installed.unzllm), "--note", note.name, str(path))
        theirs = run(sys.executable, "-m", "zllm", "info", "--note", note.name, str(path))
        assert (mine.returncode, mine.stdout) == (theirs.returncode, theirs.stdout) == (0, note.content)
    told = run(sys.executable, "-m", "zllm", "info", str(path)).stdout.decode()
    assert "name: README" in told and f"size: {len(decoder.content)}" in told
    listed = run(str(installed.unzllm), "-l", str(path))
    assert listed.returncode == 0 and b"--note unzllm.tar.gz" in listed.stderr
    for words in ([str(installed.unzllm)], [sys.executable, "-m", "zllm", "info"]):
        done = run(*words, "--note", "nothing", str(path))
        assert done.returncode == 2 and b"there is no note nothing" in done.stderr


def test_damage_of_a_note_costs_nothing_else(installed: Installed, path: Path, tmp_path: Path) -> None:
    bad = bytearray(path.read_bytes())
    bad[2000] ^= 0xFF
    bad[5000] ^= 0xFF
    (tmp_path / "a.zllm").write_bytes(bad)
    done = run(str(installed.unzllm), "--note", "unzllm.tar.gz", str(tmp_path / "a.zllm"))
    assert done.returncode == 3 and b"note" in done.stderr
    done = run(sys.executable, "-m", "zllm", "info", "--note", "unzllm.tar.gz", str(tmp_path / "a.zllm"))
    assert done.returncode == 3 and b"note" in done.stderr
    for words in ([str(installed.unzllm), "-t"], [sys.executable, "-m", "zllm", "test"]):
        assert run(*words, str(tmp_path / "a.zllm")).returncode == 3
    assert run(str(installed.unzllm), "-x", str(tmp_path / "out"), str(tmp_path / "a.zllm")).returncode == 0
    header = bytearray(path.read_bytes())
    header[10:12] = b"\0\0"  # made whole from the section, which is behind the notes
    (tmp_path / "b.zllm").write_bytes(header)
    assert run(str(installed.unzllm), "-x", str(tmp_path / "b"), str(tmp_path / "b.zllm")).returncode == 3
    assert (tmp_path / "b" / "poem.txt").exists()
    done = run(sys.executable, "-m", "zllm", "list", str(tmp_path / "b.zllm"))
    assert (done.returncode, done.stdout) == (3, b"poem.txt\n")


def test_an_archive_with_notes_grows_and_is_read_from_a_pipe(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.zllm"
    target.write_bytes(path.read_bytes())
    with zllm.open(target, "a") as archive:
        archive.addfile(tarfile.TarInfo("more"))
    with target.open("rb") as file, zllm.open(fileobj=file, mode="r|") as archive:
        assert archive.getnames() == ["poem.txt", "more"]
    assert run(sys.executable, "-m", "zllm", "info", "--note", "README", str(target)).returncode == 0


def test_notes() -> None:
    note = Note("naïve", "text/plain", b"\0content")
    assert unpack(pack(note)) == note
    with pytest.raises(ValueError, match="at most"):
        pack(Note("a" * (MAX_TEXT + 1), "", b""))
    for body in (b"", b"\5abc", b"\1\xff\0", b"\xff\x7f" + bytes(2000)):
        with pytest.raises(zllm.DamagedError):
            unpack(body)
    with pytest.raises(TypeError, match="notes must be"):
        zllm.open("never", "w", notes=["x"])
    with (GOLDEN / "cm.zllm").open("rb") as file, pytest.raises(UsageError, match="there is no note"):
        carried.read(file, layout.find(file), "x")


def test_a_damaged_note_is_not_in_the_way_of_another(tmp_path: Path) -> None:
    notes = Note("first", "text/plain", b"1" * 300), Note("second", "text/plain", b"2" * 300)
    with zllm.open(tmp_path / "a.zllm", "w", level=1, notes=notes) as archive:
        archive.addfile(tarfile.TarInfo("f"))
    whole = (tmp_path / "a.zllm").read_bytes()
    bad = bytearray(whole)
    bad[whole.index(b"\5first")] = 0xFF  # a name that is longer than names are
    bad[whole.index(b"1" * 300) + 9] ^= 1
    (tmp_path / "a.zllm").write_bytes(bad)
    with (tmp_path / "a.zllm").open("rb") as file:
        found = layout.find(file)
        assert [note.name for note, _ in carried.notes(file, found)] == ["second"]
        assert carried.read(file, found, "second").content == b"2" * 300
        with pytest.raises(UsageError, match="there is no note first"):
            carried.read(file, found, "first")
