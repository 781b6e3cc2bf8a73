"""Archives with their model inside: read anywhere, from files and pipes, and what damage to the model costs."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import takeapart

import zllm
from zllm.archive import layout
from zllm.format import limits, modelpart
from zllm.format.envelope import Kind
from zllm.models import folder, store, zlm
from zllm.stats import EMBEDDED, Stats

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
MODES = pytest.mark.parametrize("mode", ["r", "r|"])


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZLLM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is nowhere installed: a built-in one under another name, which is another hash."""
    path = tmp_path_factory.mktemp("model") / "mine.zlm"
    file = zlm.read(store.DATA_FOLDER / "fast.zlm")
    zlm.write(path, {**file.description, "name": "mine"}, file.tensors)
    return path


@pytest.fixture(scope="module")
def files(prose: bytes) -> dict[str, bytes]:
    return {"prose.txt": prose[:12_000], "noise.bin": bytes(range(256)) * 4}


def pack(files: dict[str, bytes], **options: object) -> bytes:
    out = io.BytesIO()
    with zllm.open(fileobj=out, mode="w", level=8, threads=1, **options) as archive:
        for name, data in files.items():
            info = zllm.ZllmInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture(scope="module")
def embedded(model: Path, files: dict[str, bytes]) -> bytes:
    """The model is in front of the one section."""
    return pack(files, model=model, embed_model=True)


def model_in(archive: bytes) -> tuple[takeapart.Part, modelpart.ModelFile]:
    (part,) = takeapart.of_kind(archive, Kind.MODEL)
    return part, modelpart.read_front(part.body[: modelpart.FRONT_SIZE], len(part.body))


def unpack(archive: bytes, target: Path, mode: str, **options: object) -> tuple[dict[str, bytes], list[str]]:
    opened = zllm.open(fileobj=io.BytesIO(archive), mode=mode, **options)
    try:
        opened.extractall(target)
    finally:
        found = {path.name: path.read_bytes() for path in target.iterdir()} if target.exists() else {}
    return found, opened.warnings


@MODES
def test_nothing_else_is_needed(
    embedded: bytes, files: dict[str, bytes], tmp_path: Path, home: Path, mode: str
) -> None:
    assert unpack(embedded, tmp_path / "out", mode) == (files, [])
    assert not home.exists()  # nothing was installed


def test_where_the_model_is(embedded: bytes, model: Path) -> None:
    with zllm.open(fileobj=io.BytesIO(embedded)) as archive:
        (entry,) = archive.manifest["models"]
        assert archive.layout is not None
        ((sha256, (place,)),) = archive.layout.models.items()
    part, said = model_in(embedded)
    assert (entry["embedded"], place.offset, entry["size"]) == (True, part.offset, said.size)
    assert entry["sha256"] == said.sha256.hex() == sha256.hex() == store.load(model).sha256.hex()
    whole = embedded[part.offset : part.end]
    assert modelpart.unpack(whole, part.envelope.size, place.seed) == (sha256, model.read_bytes())
    assert said.coding == modelpart.ZSTD and said.coded_size < said.size
    assert part.envelope.sequence == 0  # before what needs it


def test_the_rest_is_as_without(embedded: bytes, model: Path, files: dict[str, bytes]) -> None:
    plain = pack(files, model=model)
    part, _ = model_in(embedded)
    assert len(embedded) - len(plain) <= part.envelope.whole + 64
    with zllm.open(fileobj=io.BytesIO(plain)) as archive:
        assert archive.manifest["models"][0]["embedded"] is False


def test_a_model_that_nothing_uses_is_not_embedded(model: Path) -> None:
    data = pack({"noise.bin": bytes(range(256)) * 50}, model=model, embed_model=True)
    assert not takeapart.of_kind(data, Kind.MODEL)
    with zllm.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.manifest["models"] == [] and archive.getnames() == ["noise.bin"]


@pytest.mark.parametrize("options", [{"level": 4}, {"level": 8, "llm": False}])
def test_embedding_what_is_not_used_is_refused(options: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(zllm.UsageError, match="no model"):
        zllm.open(tmp_path / "a.zllm", "w", embed_model=True, **options)
    assert not (tmp_path / "a.zllm").exists()


def test_several_sections_share_one_model(
    model: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from zllm.archive import builder

    monkeypatch.setattr(builder, "SECTION", 16 << 10)
    many = {**files, "again.txt": files["prose.txt"][::-1], "more.txt": files["prose.txt"][5000:]}
    data = pack(many, model=model, embed_model=True)
    rows = layout.find(io.BytesIO(data)).rows
    assert sum(bool(row.header.models) for row in rows) > 1
    assert len(takeapart.of_kind(data, Kind.MODEL)) == 1
    for mode in ("r", "r|"):
        with zllm.open(fileobj=io.BytesIO(data), mode=mode) as archive:
            read = {member.name: archive.extractfile(member).read() for member in archive}
        assert read == many


def test_statistics_have_a_row_for_it(embedded: bytes, tmp_path: Path) -> None:
    stats = Stats()
    with zllm.open(fileobj=io.BytesIO(embedded)) as archive:
        archive.tally(stats)
    part, _ = model_in(embedded)
    assert stats.codecs[EMBEDDED].bytes_out == part.envelope.whole
    assert sum(row.bytes_out for row in stats.codecs.values()) == len(embedded)


@MODES
@pytest.mark.parametrize("part", ["header", "model"])
def test_a_damaged_model_costs_what_needs_it(
    embedded: bytes, files: dict[str, bytes], tmp_path: Path, mode: str, part: str
) -> None:
    found, _ = model_in(embedded)
    data = bytearray(embedded)
    for at in (0, 9):  # one wrong byte is corrected
        data[found.body_at + at + (20 if part == "header" else 5000)] ^= 1
    with pytest.raises(zllm.ZllmError) as caught:
        unpack(bytes(data), tmp_path / "out", mode)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"noise.bin"}
    assert isinstance(caught.value, zllm.DamagedError)
    assert "embedded model 'mine'" in str(caught.value) and "prose.txt" in str(caught.value)


@MODES
@pytest.mark.parametrize("at", [3, 20, 5000])
def test_one_wrong_bit_of_a_model_is_corrected(
    embedded: bytes, files: dict[str, bytes], tmp_path: Path, mode: str, at: int
) -> None:
    found_model, _ = model_in(embedded)
    data = bytearray(embedded)
    data[found_model.body_at + at] ^= 4
    (tmp_path / "out").mkdir()
    with contextlib.suppress(zllm.DamagedError):
        _, warnings = unpack(bytes(data), tmp_path / "out", mode)
        assert len(warnings) == 1 and "corrected" in warnings[0]
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files


@pytest.mark.parametrize("how", ["installed", "given"])
@MODES
def test_another_copy_stands_in_for_a_damaged_one(
    embedded: bytes, files: dict[str, bytes], model: Path, mode: str, how: str
) -> None:  # fmt: skip
    found_model, _ = model_in(embedded)
    data = bytearray(embedded)
    for at in (5000, 5009):
        data[found_model.body_at + at] ^= 1
    if how == "installed":
        store.add(model, "here")
    found, warnings = unpack(bytes(data), Path("out"), mode, model=model if how == "given" else None)
    assert found == files
    assert len(warnings) == 1 and "'mine' is damaged" in warnings[0]


def test_without_the_directory_the_model_is_found(embedded: bytes, files: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(zllm.TruncatedError):
        unpack(takeapart.without_end(embedded), tmp_path / "out", "r")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files


def test_an_archive_that_ends_inside_the_model(embedded: bytes, tmp_path: Path) -> None:
    found, _ = model_in(embedded)
    for mode in ("r", "r|"):
        with pytest.raises(zllm.DamagedError):
            unpack(embedded[: found.offset + 1000], tmp_path / mode.strip("|"), mode)


def with_front(archive: bytes, **changes: object) -> bytes:
    """The archive with something else said of the model, whose checksum holds."""
    _, said = model_in(archive)
    front = modelpart.pack_front(replace(said, **changes))
    return takeapart.changed(archive, Kind.MODEL, lambda body: front + body[len(body) - said.coded_size :])


@pytest.mark.parametrize(
    "changes", [{"size": limits.MAX_MODEL + 1}, {"size": limits.MAX_MODEL}, {"size": 1000}, {"sha256": bytes(32)}]
)
@MODES
def test_models_that_lie_are_found_out_cheaply(
    embedded: bytes, tmp_path: Path, changes: dict[str, object], mode: str
) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(zllm.ZllmError):
            unpack(with_front(embedded, **changes), tmp_path / "out", mode)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 << 20  # the model itself takes 6 MB with its copies
    assert "prose.txt" not in {path.name for path in (tmp_path / "out").glob("*")}


def test_a_model_that_unpacks_to_more_than_its_share() -> None:
    said, coded = modelpart.pack(bytes(1 << 20))  # a thousand to one
    assert said.coding == modelpart.STORE and len(coded) == 1 << 20
    front = modelpart.pack_front(said)
    with pytest.raises(zllm.DamagedError, match="impossible size"):
        modelpart.read_front(front, len(front) + 1000)


def test_another_way_of_coding_is_refused(embedded: bytes) -> None:
    part, said = model_in(embedded)
    with pytest.raises(zllm.UnsupportedVersionError, match="coded by a codec"):
        modelpart.read_front(modelpart.pack_front(replace(said, coding=1)), len(part.body))


def test_what_is_no_model_is_not_used(embedded: bytes, files: dict[str, bytes], tmp_path: Path) -> None:
    """A part whose hash and checksums hold, of bytes that are no model file."""
    _, said = model_in(embedded)
    other, coded = modelpart.pack(b"no model" * 999)
    body = modelpart.pack_front(replace(other, sha256=said.sha256)) + bytes(coded)
    data = takeapart.changed(embedded, Kind.MODEL, lambda _: body)
    with pytest.raises(zllm.DamagedError):
        unpack(data, tmp_path / "out", "r|")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"noise.bin"}


BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "tokenizers", "numpy", "safetensors"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
from zllm.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_readers_need_no_other_package(embedded: bytes, files: dict[str, bytes], tmp_path: Path, home: Path) -> None:
    (tmp_path / "a.zllm").write_bytes(embedded)
    for words, data in ((["extract", "a.zllm", "-C", "one"], None), (["extract", "-", "-C", "two"], embedded)):
        done = subprocess.run(
            [sys.executable, "-c", BLOCKED, *words], input=data, capture_output=True, check=False, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert {path.name: path.read_bytes() for path in (tmp_path / words[-1]).iterdir()} == files
    assert not home.exists()


def test_the_commands(zllm: Run, model: Path, files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    for name, data in files.items():
        (tmp_path / "src" / name).write_bytes(data)
    zllm("create", "a.zllm", "src", "-8", "--model", str(model), "--embed-model")
    assert zllm("list", "a.zllm").stdout.splitlines() == [b"src/", b"src/noise.bin", b"src/prose.txt"]
    zllm("test", "a.zllm")
    assert zllm("cat", "a.zllm", "src/prose.txt").stdout == files["prose.txt"]
    assert b"embedded: yes" in zllm("info", "a.zllm").stdout
    assert b"embedded: yes" in zllm("info", "-", data=(tmp_path / "a.zllm").read_bytes()).stdout
    assert b"embedded model" in zllm("list", "--stats", "a.zllm").stderr
    assert b"from level 6 on" in zllm("create", "b.zllm", "src", "-4", "--embed-model", code=2).stderr
    assert folder.files() == []


def test_the_filter(zllm: Run, model: Path, files: dict[str, bytes]) -> None:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as plain:
        info = tarfile.TarInfo("prose.txt")
        info.size = len(files["prose.txt"])
        plain.addfile(info, io.BytesIO(files["prose.txt"]))
    packed = zllm("-8", "--model", str(model), "--embed-model", data=tar.getvalue()).stdout
    assert takeapart.of_kind(packed, Kind.MODEL)
    assert zllm("-d", data=packed).stdout == tar.getvalue()
