"""The C reader gives of damaged archives, and of those with several generations, what Python's reader gives."""

from __future__ import annotations

import hashlib
import io
import random
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import takeapart
from library.conftest import Installed

import zllm
from zllm.archive import builder
from zllm.errors import ZllmError
from zllm.format.envelope import Kind

WORDS = [f"word{number % 37}{chr(97 + number % 26)}" for number in range(400)]
LEVELS = {"lz4": 1, "zstd": 4, "cm": 5}
CODES = {"DamagedError": 13, "TruncatedError": 13, "UnsupportedVersionError": 12, "BrokenTarError": 16, "UsageError": 9}
MODES = {"file": "r", "pipe": "r|"}


def text(size: int, seed: int) -> bytes:
    return " ".join(random.Random(seed).choices(WORDS, k=size // 5)).encode()[:size]


def add(archive: zllm.ZllmFile, name: str, data: bytes) -> None:
    info = zllm.ZllmInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def archive_of(level: int, sizes: Sequence[int], **options: Any) -> bytes:
    out = io.BytesIO()
    with zllm.open(fileobj=out, mode="w", threads=1, level=level, **options) as archive:
        for number, size in enumerate(sizes):
            add(archive, f"doc{number}.txt", text(size, number))
        add(archive, "noise.bin", random.Random(1).randbytes(500))
    return out.getvalue()


@pytest.fixture(scope="module")
def survey(installed: Installed, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    program, source = tmp_path_factory.mktemp("survey") / "survey", checkout / "tests" / "library" / "survey.c"
    words = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-DZLLM_STATIC", f"-I{checkout / 'csrc' / 'include'}"]
    libraries = [str(installed.root / "usr/lib/libzllm.a"), "-lzstd", "-llz4", "-lz", "-pthread"]
    subprocess.run([*words, str(source), "-o", str(program), *libraries], check=True)
    return program


def by_python(data: bytes, mode: str, generation: int | None = None) -> list[str]:
    """What ``survey`` prints."""
    found: list[str] = []
    error: ZllmError | None = None
    unfinished = 0
    try:
        with zllm.open(fileobj=io.BytesIO(data), mode=mode, threads=1, generation=generation) as archive:
            try:
                for member in archive:
                    try:
                        stream = archive.extractfile(member)
                        content = stream.read() if stream is not None else b""
                        found.append(f"{hashlib.sha256(content).hexdigest()} {member.name}")
                    except ZllmError as exc:
                        assert type(exc) is zllm.DamagedError
                        found.append(f"- {member.name}")
            except ZllmError as exc:
                error = exc
            error = archive.problem or error
            assert archive.archive is not None
            unfinished = any("never finished" in text for text in archive.archive.view.warnings)
    except ZllmError as exc:
        error = exc
    code = 19 if error is None else CODES[type(error).__name__]
    return [*found, *(["unfinished"] if unfinished and code == 19 else []), f"= {code}"]


def compare(survey: Path, folder: Path, cases: Sequence[bytes], mode: str, generation: int | None = None) -> None:
    """Raises AssertionError for the first archive of which the two readers say something else."""
    paths = []
    for number, data in enumerate(cases):
        paths.append(folder / f"{number}.zllm")
        paths[-1].write_bytes(data)
    word = mode if generation is None else str(generation)
    done = subprocess.run([str(survey), word, *map(str, paths)], capture_output=True, text=True, check=True)
    lines = iter(done.stdout.splitlines())
    for number, data in enumerate(cases):
        theirs: list[str] = []
        while not theirs or not theirs[-1].startswith("= "):
            theirs.append(next(lines))
        assert theirs == by_python(data, MODES[mode], generation), number


def flipped(data: bytes, seed: str, count: int) -> list[bytes]:
    found, rng = [], random.Random(seed)
    for _ in range(count):
        bad = bytearray(data)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        found.append(bytes(bad))
    return found


def overwritten(data: bytes, seed: str, count: int) -> list[bytes]:
    """With one to three bursts of up to 300 bytes of noise each."""
    found, rng = [], random.Random(seed)
    for _ in range(count):
        bad = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            size = rng.choice([1, 2, 40, 300])
            at = rng.randrange(len(bad) - size)
            bad[at : at + size] = rng.randbytes(size)
        found.append(bytes(bad))
    return found


def cut(data: bytes, seed: str, count: int) -> list[bytes]:
    return [data[: random.Random(f"{seed}{number}").randrange(17, len(data))] for number in range(count)]


WAYS: dict[str, tuple[Callable[[bytes, str, int], list[bytes]], int]] = {
    "flipped": (flipped, 20),
    "overwritten": (overwritten, 15),
    "cut": (cut, 10),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("codec", LEVELS)
def test_damaged_archives(survey: Path, tmp_path: Path, codec: str, way: str, mode: str) -> None:
    # Small members that share frames whose runs have hashes; members with their own hash, also in several frames.
    sizes = [900, 3000, 9000, *[5000] * 16, 30_000] if codec != "cm" else [900, 3000, 9000, *[3000] * 14]
    data = archive_of(LEVELS[codec], sizes, frame_size=1 << 16)
    change, count = WAYS[way]
    compare(survey, tmp_path, change(data, codec + way + mode, count), mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS)
def test_damaged_archives_of_several_sections(
    survey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, mode: str
) -> None:
    monkeypatch.setattr(builder, "SECTION", 64 << 10)
    out = io.BytesIO()
    with zllm.open(fileobj=out, mode="w", threads=1, level=2) as archive:
        for number, size in enumerate([20_000, 100_000, 3000, 3000, 150_000, 1000]):
            add(archive, f"doc{number}.txt", text(size, number))
    change, count = WAYS[way]
    cases = change(out.getvalue(), way + mode, count)
    if way == "flipped":  # one wrong bit in each part, too
        for part in takeapart.parts(out.getvalue()):
            bad = bytearray(out.getvalue())
            bad[random.Random(part.offset).randrange(part.offset, part.end)] ^= 4
            cases.append(bytes(bad))
    compare(survey, tmp_path, cases, mode)


def test_one_byte_of_each_envelope(survey: Path, tmp_path: Path) -> None:
    data = archive_of(2, [900, 20_000])
    cases = []
    for part in takeapart.parts(data):
        for at in range(part.offset, part.body_at):
            bad = bytearray(data)
            bad[at] ^= 0x55
            cases.append(bytes(bad))
    compare(survey, tmp_path, cases, "file")
    compare(survey, tmp_path, cases, "pipe")


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Five generations: members are added, replaced, deleted, and added once more."""
    path = tmp_path_factory.mktemp("grown") / "a.zllm"
    with zllm.open(path, "w", level=2) as archive:
        for name in "abcd":
            add(archive, name, text(9000, ord(name)))
    for deleted, names in ((["b"], "b"), (["a", "c"], ""), ([], "ae"), (["e", "d"], "e")):
        with zllm.open(path, "a", level=2) as archive:
            archive.delete(deleted)
            for name in names:
                add(archive, name, text(700, ord(name) + 1))
    return path.read_bytes()


@pytest.mark.parametrize("mode", MODES)
def test_generations(survey: Path, tmp_path: Path, grown: bytes, mode: str) -> None:
    compare(survey, tmp_path, [grown], mode)


@pytest.mark.parametrize("generation", range(6))
def test_each_generation(survey: Path, tmp_path: Path, grown: bytes, generation: int) -> None:
    damaged = [bytearray(grown) for _ in range(2)]
    last = takeapart.of_kind(grown, Kind.DIRECTORY)[-1]
    damaged[0][last.offset + 12] ^= 1  # then it is gone through from part to part
    damaged[1][takeapart.of_kind(grown, Kind.SECTION)[1].body_at + 9] ^= 1
    compare(survey, tmp_path, [grown, *map(bytes, damaged)], "file", generation)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS)
def test_damaged_generations(survey: Path, tmp_path: Path, grown: bytes, way: str, mode: str) -> None:
    change, count = WAYS[way]
    compare(survey, tmp_path, change(grown, way + mode, count), mode)


def test_generations_that_were_never_finished(survey: Path, tmp_path: Path, grown: bytes) -> None:
    last = takeapart.of_kind(grown, Kind.FOOTER)[-2].end
    cases = [grown[:size] for size in range(last, len(grown) + 1, 7)]
    compare(survey, tmp_path, cases, "file")


def test_the_program_reads_a_generation(installed: Installed, tmp_path: Path, grown: bytes) -> None:
    path = tmp_path / "a.zllm"
    path.write_bytes(grown)

    def run(*words: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([str(installed.unzllm), *words], input=data, capture_output=True, check=False)

    for generation in range(5):
        with zllm.open(path, generation=generation) as archive:
            names = archive.getnames()
        with tarfile.open(fileobj=io.BytesIO(run(f"--generation={generation}", str(path)).stdout)) as plain:
            assert plain.getnames() == names
        for where in (str(path), "-"):
            done = run("-l", f"--generation={generation}", where, data=grown)
            if where == "-" and done.returncode == 2:  # members that were deleted have come
                continue
            assert done.returncode == 0, done.stderr
            listed = [line.split()[-1] for line in done.stdout.decode().splitlines()]
            assert set(listed) == set(names) if where == "-" else listed == names  # of a pipe, what was replaced, too
    by_python = subprocess.run([sys.executable, "-m", "zllm", "-dc", str(path)], capture_output=True, check=True)
    assert run(str(path)).stdout == by_python.stdout
    assert run("-l", "--generation", "5", str(path)).returncode == 2
    assert b"there is no generation 5" in run("-l", "--generation", "5", str(path)).stderr
    assert run("-l", "--generation", "x", str(path)).returncode == 2
    assert run("-x", str(tmp_path / "x"), str(path)).returncode == 0
    assert sorted(one.name for one in (tmp_path / "x").iterdir()) == ["a", "b", "e"]
    path.write_bytes(grown[:-3])
    done = run("-t", str(path))
    assert done.returncode == 1 and b"never finished" in done.stderr


def test_names_are_found_by_filters(
    installed: Installed, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last member of a name, if it was not deleted, without a look at sections that cannot have it."""
    monkeypatch.setattr(builder, "SECTION", 64 << 10)
    path = tmp_path / "a.zllm"
    with zllm.open(path, "w", level=2) as archive:
        for number in range(40):
            add(archive, f"doc{number}.txt", random.Random(number).randbytes(9000))
        add(archive, "doc3.txt", b"newer")
    with zllm.open(path, "a", level=2) as archive:
        archive.delete(["doc7.txt"])
        add(archive, "new", b"")
    program, source = tmp_path / "finding", checkout / "tests" / "library" / "finding.c"
    words = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-DZLLM_STATIC", f"-I{checkout / 'csrc' / 'include'}"]
    libraries = [str(installed.root / "usr/lib/libzllm.a"), "-lzstd", "-llz4", "-lz", "-pthread"]
    subprocess.run([*words, str(source), "-o", str(program), *libraries], check=True)
    names = ["doc3.txt", "doc39.txt", "doc7.txt", "nothing", "new"]
    done = subprocess.run([str(program), str(path), *names], capture_output=True, text=True, check=True)
    *lines, read = done.stdout.splitlines()
    assert lines == ["doc3.txt 5", "doc39.txt 9000", "doc7.txt -", "nothing -", "new 0"]
    assert int(read) < 100_000 < path.stat().st_size  # five maps, directories, and a look at the beginning
