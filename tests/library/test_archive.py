"""The reader of archives in C: it reads what Python's reads, to the same bytes, and refuses what that refuses."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from archive.stories import sample
from library.conftest import Installed

import zllm
from zllm.archive import layout
from zllm.archive.coding import Decoders
from zllm.archive.fileview import FileView
from zllm.archive.options import ReadOptions
from zllm.format.dictionary import DICTIONARY

TESTS = Path(__file__).resolve().parents[1]
CONFORMANCE = TESTS / "conformance"
MANIFEST: dict[str, dict[str, dict[str, Any]]] = json.loads((CONFORMANCE / "manifest.json").read_text(encoding="utf-8"))
GOLDEN, TINY = TESTS / "golden", TESTS / "golden" / "tiny.zlm"
CODES = {"NotZllmError": 2, "UnsupportedVersionError": 2, "DamagedError": 3, "MissingCodecError": 4}
STORIES = 60
MODES = pytest.mark.parametrize("mode", ["file", "pipe"])


def run(installed: Installed, path: Path, mode: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    """``unzllm`` with an archive that it opens, or that comes in a pipe."""
    words = [str(installed.unzllm), *options, str(path) if mode == "file" else "-"]
    return subprocess.run(words, input=None if mode == "file" else path.read_bytes(), capture_output=True, check=False)


def tar_of(path: Path, model: Path | None = None) -> bytes:
    """The tar stream, as Python's reader gives it."""
    with path.open("rb") as file:
        view = FileView(file, layout.find(file), Decoders(ReadOptions(model=model)))
        return view.read()


def compiled(installed: Installed, checkout: Path, target: Path, *flags: str) -> Path:
    source = checkout / "tests" / "library" / "reading.c"
    command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", str(source), "-o", str(target), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def expected_lines(path: Path, model: Path | None = None) -> list[str]:
    out = []
    with zllm.open(path, model=model) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            data = file.read() if file is not None else b""
            out.append(f"{len(data)} {hashlib.sha256(data).hexdigest()} {member.name}")
    return out


@pytest.mark.parametrize("linked", ["shared", "static"])
def test_a_program_reads_with_what_is_installed(
    installed: Installed, checkout: Path, tmp_path: Path, linked: str
) -> None:
    flags = installed.flags("--cflags", "--libs", *(["--static"] if linked == "static" else []))
    if linked == "static":
        flags = [str(installed.root / "usr/lib/libzllm.a") if flag == "-lzllm" else flag for flag in flags]
        flags.append("-DZLLM_STATIC")
    else:
        flags.append(f"-Wl,-rpath,{installed.root / 'usr/lib'}")
    program = compiled(installed, checkout, tmp_path / "reading", *flags)
    for name, model in (("tiny.zllm", TINY), ("cm.zllm", None)):
        words = [str(program), str(GOLDEN / name), *([str(model)] if model else [])]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        expected = expected_lines(GOLDEN / name, model)
        assert (done.returncode, lines[: len(expected)]) == (0, expected), done.stderr
        assert lines[len(expected) :][:2] == [f"{len(expected)} members"] * 2
        texts = lines[len(expected) + 2 :]
        assert [text.split(":")[0] for text in texts] == ["text", "text by the model"][: 2 if model else 1]
        assert all(int(text.split()[-1]) < int(text.split(": ")[1].split()[0]) for text in texts), texts


def section_of(part: dict[str, Any]) -> dict[str, Any]:
    """What ``describe`` prints of a section: what the vectors have, but for what is for listings only."""
    frames = [frame for group in part["map"]["groups"] for frame in group["frames"]]
    rows = [{key: value for key, value in frame.items() if key not in ("reason", "rival")} for frame in frames]
    own = {key: value for key, value in part.items() if key not in ("kind", "map")}
    return {**own, "records": part["map"]["records"], "frames": rows}


@pytest.mark.parametrize("name", ["tiny", "cm", "default"])
def test_sections_mean_what_the_vectors_say(installed: Installed, checkout: Path, tmp_path: Path, name: str) -> None:
    program, csrc = tmp_path / "describe", checkout / "csrc"
    flags = ["-std=c11", "-DZLLM_STATIC", f"-I{csrc}", f"-I{csrc / 'include'}"]
    libraries = [str(installed.root / "usr/lib/libzllm.a"), "-lzstd", "-llz4", "-lz", "-pthread"]
    source = checkout / "tests" / "library" / "describe.c"
    subprocess.run(["cc", *flags, str(source), "-o", str(program), *libraries], check=True)
    done = subprocess.run([str(program), str(GOLDEN / f"{name}.zllm")], capture_output=True, text=True, check=True)
    vectors = json.loads((TESTS / "vectors" / f"{name}.zllm.json").read_text(encoding="utf-8"))
    expected = [section_of(part) for part in vectors["parts"] if part["kind"] == 1]
    assert [json.loads(line) for line in done.stdout.splitlines()] == expected


def test_every_allocation_may_fail(installed: Installed, checkout: Path, tmp_path: Path) -> None:
    program, source = tmp_path / "failing", checkout / "tests" / "library" / "failing.c"
    flags = ["-std=c11", "-DZLLM_STATIC", f"-I{checkout / 'csrc' / 'include'}"]
    libraries = [str(installed.root / "usr/lib/libzllm.a"), "-lzstd", "-llz4", "-lz", "-pthread"]
    subprocess.run(["cc", *flags, str(source), "-o", str(program), *libraries], check=True)
    for name in ("two-sections", "member-in-two-sections", "pax-header", "one-member-lz4", "generations"):
        words = [str(program), str(CONFORMANCE / "valid" / f"{name}.zllm")]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        assert int(done.stdout.split()[0]) > 50


def test_examples_of_the_document(installed: Installed, checkout: Path, tmp_path: Path) -> None:
    text = (checkout / "docs" / "c-library.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```c\n(.*?)^```", text, re.M | re.S)
    assert len(examples) == 2
    for number, example in enumerate(examples):
        (tmp_path / "example.c").write_text(example)
        program = tmp_path / f"example{number}"
        flags = [*installed.flags("--cflags", "--libs"), f"-Wl,-rpath,{installed.root / 'usr/lib'}"]
        words = ["cc", "-Wall", "-Wextra", "-Werror", "-pedantic", str(tmp_path / "example.c"), "-o", str(program)]
        subprocess.run([*words, *flags], check=True)
        path = GOLDEN / ("cm.zllm" if number == 0 else "texts/code.txt")
        done = subprocess.run([str(program), str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        if number == 0:
            with zllm.open(path) as archive:
                assert [line.split()[-1] for line in done.stdout.splitlines()] == archive.getnames()


@MODES
@pytest.mark.parametrize("name", MANIFEST["valid"])
def test_valid_archives_give_the_same_stream(installed: Installed, name: str, mode: str) -> None:
    path = CONFORMANCE / "valid" / f"{name}.zllm"
    done = run(installed, path, mode)
    assert (done.returncode, done.stdout, done.stderr) == (0, tar_of(path), b"")
    assert run(installed, path, mode, "-t").returncode == 0


@MODES
@pytest.mark.parametrize("name", MANIFEST["invalid"])
def test_invalid_archives_are_refused(installed: Installed, name: str, mode: str) -> None:
    path = CONFORMANCE / "invalid" / f"{name}.zllm"
    done = run(installed, path, mode, "-t")
    assert done.returncode == CODES[MANIFEST["invalid"][name]["error"]], done.stderr
    assert all(line.startswith(b"unzllm: ") for line in done.stderr.splitlines())
    assert done.stderr


@MODES
@pytest.mark.parametrize("name", MANIFEST["invalid"])
def test_whole_members_of_invalid_archives_are_extracted(
    installed: Installed, tmp_path: Path, name: str, mode: str
) -> None:
    said = MANIFEST["invalid"][name]
    wanted = set(said.get("members of a pipe", said["members"]) if mode == "pipe" else said["members"])
    code = run(installed, CONFORMANCE / "invalid" / f"{name}.zllm", mode, "-x", str(tmp_path / "x")).returncode
    found = {path.name for path in (tmp_path / "x").rglob("*")} if (tmp_path / "x").exists() else set()
    assert (code, found) == (CODES[said["error"]], wanted)


@MODES
@pytest.mark.parametrize("name", ["tiny", "cm", "default"])
@pytest.mark.parametrize("threads", ["1", "3"])
def test_golden_archives_give_the_same_stream(installed: Installed, name: str, mode: str, threads: str) -> None:
    path, default = GOLDEN / f"{name}.zllm", Path(zllm.__file__).parent / "models" / "data" / "default.zlm"
    done = run(installed, path, mode, "--model", str(TINY), f"--model={default}", "--threads", threads)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == tar_of(path, TINY if name == "tiny" else None)


def test_a_model_that_is_missing_is_named(installed: Installed) -> None:
    done = run(installed, GOLDEN / "tiny.zllm", "file", "-t")
    assert done.returncode == 4
    assert hashlib.sha256(TINY.read_bytes()).hexdigest().encode() in done.stderr


@MODES
def test_a_model_in_the_archive(installed: Installed, tmp_path: Path, mode: str) -> None:
    path, text = tmp_path / "a.zllm", (GOLDEN / "texts" / "english.txt").read_bytes()
    with zllm.open(path, "w", level=8, model=TINY, embed_model=True) as archive:
        info = tarfile.TarInfo("a")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
    done = run(installed, path, mode)
    assert (done.returncode, done.stdout, done.stderr) == (0, tar_of(path), b"")
    assert run(installed, path, mode, "-t").returncode == 0


@pytest.mark.parametrize("seed", range(STORIES))
def test_archives_of_all_kinds(installed: Installed, tmp_path: Path, seed: int) -> None:
    story = sample(seed)
    path = tmp_path / "a.zllm"
    path.write_bytes(story.data)
    for mode in ("file", "pipe"):
        done, tested = run(installed, path, mode), run(installed, path, mode, "-t")
        if story.whole:
            assert done.stdout == story.original and done.returncode <= 1 and tested.returncode <= 1, story.what
        else:
            assert done.stdout in story.original and 2 <= tested.returncode <= 4, story.what


def test_limits_of_memory(installed: Installed) -> None:
    done = run(installed, GOLDEN / "cm.zllm", "file", "-t", "--memory", "1")
    assert done.returncode == 2 and b"memory" in done.stderr
    assert run(installed, GOLDEN / "cm.zllm", "file", "-t", "--memory", "64").returncode == 0


def test_the_list_names_every_member(installed: Installed) -> None:
    done = run(installed, GOLDEN / "cm.zllm", "file", "-l")
    with zllm.open(GOLDEN / "cm.zllm") as archive:
        assert [line.split()[-1] for line in done.stdout.decode().splitlines()] == archive.getnames()


def test_the_dictionary_is_that_of_the_format(checkout: Path) -> None:
    text = (checkout / "csrc" / "archive" / "dictionary.c").read_text(encoding="utf-8")
    numbers = text[text.index("= {") :]
    assert bytes(int(number) for number in re.findall(r"\d+", numbers)) == DICTIONARY


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-x"],
        ["--threads", "0", "a"],
        ["--frobnicate", "a"],
        ["a", "b"],
        ["no-such-file"],
        ["--model", "nothing", "a"],
    ],
)
def test_wrong_words_end_with_two(installed: Installed, words: list[str]) -> None:
    done = subprocess.run([str(installed.unzllm), *words], capture_output=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith(b"unzllm: ")
