"""tools/refdec.py, written from the specifications: it reads what zllm writes, and refuses what it must.

A decoder in plain Python takes a thousand times as long as the program's, so a part of some texts is decoded. With
REFDEC_ALL=1 all of the golden archives are: about three minutes for tiny.zllm, an hour for default.zllm.
"""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import os
import random
import struct
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import media
import packed as containers
import pytest
from cross import vectors

import zllm
from zllm._native import cm_encode
from zllm._native.rebuild import deflate_find
from zllm.codecs.image import ImageCodec
from zllm.codecs.pcm import PcmCodec
from zllm.codecs.rebuild import RebuildCodec
from zllm.codecs.tensors import TensorsCodec
from zllm.models import store

TESTS = Path(__file__).resolve().parent
CONFORMANCE = json.loads((TESTS / "conformance" / "manifest.json").read_text(encoding="utf-8"))
ALL = bool(os.environ.get("REFDEC_ALL"))
WHOLE = ["cm.zllm"]
"""Golden archives of which everything is decoded on every run."""


@pytest.fixture(scope="module")
def refdec(checkout: Path) -> Any:
    """The module."""
    spec = importlib.util.spec_from_file_location("refdec", checkout / "tools" / "refdec.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["refdec"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> vectors.Models:
    return vectors.Models(tmp_path_factory.mktemp("models"))


def read(refdec: Any, data: bytes, models: dict[bytes, Any] | None = None) -> tuple[list[Any], bytes]:
    """Members that are not hidden, and the tar stream."""
    found = [archive.read() for archive in refdec.read_file(data, models or {})]
    return [m for members, _ in found for m in members if not m.hidden], b"".join(stream for _, stream in found)


def test_it_imports_nothing_of_the_program(checkout: Path) -> None:
    text = (checkout / "tools" / "refdec.py").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if line.lstrip().startswith(("import ", "from "))]
    packages = {words[1].split(".")[0] for words in lines}
    assert packages - sys.stdlib_module_names <= {"xxhash", "zstandard", "compression", "lz4"}


@pytest.mark.parametrize("name", CONFORMANCE["valid"])
def test_valid(name: str, refdec: Any) -> None:
    data = (TESTS / "conformance" / "valid" / f"{name}.zllm").read_bytes()
    members, _ = read(refdec, data)
    assert [member.name.decode() for member in members] == CONFORMANCE["valid"][name]["members"]
    if members[0].name == b"-":
        return
    with zllm.open(fileobj=io.BytesIO(data)) as archive:
        for info, member in zip(archive, members, strict=True):
            file = archive.extractfile(info)
            assert file is not None and file.read() == member.data


@pytest.mark.parametrize("name", CONFORMANCE["invalid"])
def test_invalid(name: str, refdec: Any) -> None:
    data = (TESTS / "conformance" / "invalid" / f"{name}.zllm").read_bytes()
    with pytest.raises(refdec.DamagedError) as caught:
        read(refdec, data)
    unsupported = CONFORMANCE["invalid"][name]["error"] in ("UnsupportedVersionError", "MissingCodecError")
    assert isinstance(caught.value, refdec.UnsupportedError) == unsupported


def loaded(refdec: Any, archive: str) -> dict[bytes, Any]:
    """The model of a golden archive."""
    name = vectors.ARCHIVES[archive]
    if name is None:
        return {}
    path = vectors.GOLDEN / "tiny.zlm" if name == "tiny" else store.resolve(name).path
    model = refdec.Model(path.read_bytes())
    return {model.sha256: model}


@pytest.mark.parametrize("archive", sorted(vectors.ARCHIVES))
def test_its_json_is_that_of_the_vectors(archive: str, refdec: Any) -> None:
    (found,) = refdec.read_file((vectors.GOLDEN / archive).read_bytes(), loaded(refdec, archive))
    expected = json.loads((TESTS / "vectors" / f"{archive}.json").read_text(encoding="utf-8"))
    whole = ALL or archive in WHOLE
    if not whole:
        del expected["members"]
    assert refdec.described(found, found.read()[0] if whole else None) == expected


def text_of(frame: int, section: Any, refdec: Any) -> bytes:
    """What a frame of a golden archive has to give: all have the same members."""
    with zllm.open(vectors.GOLDEN / "cm.zllm") as opened:
        data = {info.name: opened.extractfile(info) for info in opened}
        content = {name: file.read() for name, file in data.items() if file is not None}
    text = bytearray(section.map.frames[frame].data_size)
    for record in section.map.records:
        at = 0
        for number, start, size in record.extents:
            if number == frame:
                text[start : start + size] = content[refdec.tar_name(record.header).decode()][at : at + size]
            at += size
    return bytes(text)


@pytest.mark.parametrize(("archive", "frame", "steps"), [("tiny.zllm", 0, 40), ("default.zllm", 1, 1)])
def test_first_tokens_of_frames_with_a_model(archive: str, frame: int, steps: int, refdec: Any) -> None:
    known = loaded(refdec, archive)
    (found,) = refdec.read_file((vectors.GOLDEN / archive).read_bytes(), known)
    section = found.sections[0]
    model = found.model(section, 1)  # and its known answer is checked
    text, row = text_of(frame, section, refdec), section.map.frames[frame]
    at = refdec.Cursor(section.payloads[frame], "payload")
    assert at.varint() == 0  # no repeats
    count = at.varint() + 1
    sizes = [at.varint() for _ in range(count - 1)]
    sizes.append(len(text) - sum(sizes))
    streams = refdec.decode_streams(model, at.rest(), sizes, row.boundaries, steps)
    begin = 0
    for stream, size in zip(streams, sizes, strict=True):
        assert len(stream) > 0.8 * steps and text[begin : begin + size].startswith(stream)
        begin += size


@pytest.mark.parametrize("name", [name for name in vectors.MODELS if name not in ("tiny", "default")])
def test_networks_of_all_kinds(name: str, refdec: Any, models: vectors.Models) -> None:
    model = refdec.Model(models.paths[name].read_bytes())
    assert refdec.known_answer(model) == models.load(name).known_answer


@pytest.mark.parametrize("name", ["frames/restarts", "frames/levels", "frames/most"])
def test_frames_of_all_kinds(name: str, refdec: Any, models: vectors.Models) -> None:
    """Streams that are longer than there are positions; a head of two levels; as many streams as there may be."""
    (frames,) = [one for one in vectors.made_frames(models) if one.name == name]
    model, frame = refdec.Model(models.paths[frames.model].read_bytes()), frames.frames[0]
    starts, begin = [], 0
    for stream in frame.streams:
        starts += [begin + boundary for boundary in stream.boundaries]
        begin += stream.size
    steps = {"frames/restarts": 45, "frames/levels": 12, "frames/most": 1}[name]
    found = refdec.decode_streams(model, frame.coded, [stream.size for stream in frame.streams], starts, steps)
    for stream, text in zip(frame.streams, found, strict=True):
        whole = b"".join(model.tokens[token] for token in stream.tokens if token < 1 << 31)
        assert text and whole.startswith(text)


PREFIXES = {"sorted": 400, "rows": 500, "records": 300, "english": 300, "noise": 100, "arm": 400, "x86": 400}
"""Bytes of texts of every profile."""


@pytest.mark.parametrize("name", [*PREFIXES, "empty", "one", "two"])
def test_text_without_a_model(name: str, refdec: Any) -> None:
    (text,) = [text for text in vectors.texts() if text.name == f"cm/{name}"]
    if name not in PREFIXES:
        assert refdec.decode_cm(b"\7" + text.coded if text.data else b"", len(text.data), text.boundaries) == text.data
        return
    found = refdec.decode_bytes(text.coded, len(text.data), text.boundaries, PREFIXES[name])
    back: dict[str, Callable[[bytearray], bytes]] = {"arm": refdec.restore_aarch64, "x86": refdec.restore_x86}
    if name in back:
        assert found != text.data[: PREFIXES[name]]
        found = back[name](bytearray(found))[:-16]  # what an instruction reaches behind the prefix for is not there
    assert text.data.startswith(found)


def test_addresses_become_relative_again(refdec: Any) -> None:
    code = b"\x90" * 8 + b"\xe8\x10\x02\0\0" + b"\x8b\x05\xf0\xff\xff\xff" + b"\x90" * 12
    absolute = bytearray(code)
    for d in (15, 9):  # from the end
        number = int.from_bytes(absolute[d : d + 3], "little") + d + 4
        absolute[d : d + 3] = (number & 0xFFFFFF).to_bytes(3, "big")
    assert refdec.restore_x86(absolute) == code


def test_machine_code_as_a_whole(refdec: Any) -> None:
    """Each document has its own addresses."""
    data = next(text.data for text in vectors.texts() if text.name == "cm/arm")[:800]
    coded = cm_encode(data, [400])
    assert refdec.decode_bytes(coded, len(data), [400]) == data


@pytest.mark.parametrize("fast", [0, 1])
@pytest.mark.parametrize(("channels", "width"), [(1, 2), (2, 2), (2, 3), (3, 1), (1, 4)])
def test_audio(fast: int, channels: int, width: int, refdec: Any) -> None:
    count = 1200 // (channels * width)
    samples = media.pack(media.waves(count, channels, 8 * width), width, centred=width == 1)
    data = media.wave(samples, channels, width)
    payload = PcmCodec(fast).encode(data)
    assert payload[0] == 1 and refdec.decode_pcm(payload, len(data)) == data


PICTURES = [2, 3, 6, 14]
"""Of one to four planes, of 8 and 16 bits, with bytes between rows."""


@pytest.mark.parametrize("number", PICTURES)
def test_pictures(number: int, refdec: Any) -> None:
    data = media.images()[number]
    payload = ImageCodec().encode(data)
    assert payload[0] == 1 and refdec.decode_image(payload, len(data)) == data


def test_patterns(refdec: Any) -> None:
    """Pixels that came after the same neighbours before."""
    rows = [bytes((x // 3 % 5 * 50 + y // 4 % 2) & 255 for x in range(64)) for y in range(40)]
    data = media.pixmap(b"".join(rows), 64, 40, 1)
    payload = ImageCodec().encode(data)
    assert payload[0] == 1 and refdec.decode_image(payload, len(data)) == data


@pytest.mark.parametrize(("kind", "form"), [("f", 20), ("d", 8), ("H", 18)])
def test_numbers(kind: str, form: int, refdec: Any) -> None:
    rng = random.Random(1)
    values = [rng.gauss(0, 1) for _ in range(20000)]
    if kind == "H":  # bfloat16
        data = b"".join(struct.pack("<f", value)[2:] for value in values) + b"x"
    else:
        data = b"".join(struct.pack(f"<{kind}", value) for value in values) + b"x"
    payload = TensorsCodec().encode(data)
    assert payload[0] == form
    assert refdec.decode_tensors(payload, len(data)) == data


def streamed() -> bytes:
    """Data with matches near and far, runs, and what does not repeat."""
    rng = random.Random(7)
    words = containers.text(1500)
    return words + bytes(300) + rng.randbytes(600) + words[:400] + bytes(rng.choices(b"ab", k=500)) + words[900:]


@pytest.mark.parametrize("strategy", range(5))
def test_streams_of_deflate_are_made_again(strategy: int, refdec: Any) -> None:
    """At all levels, with memory levels that end blocks early, and windows that are shorter than the data."""
    data = streamed()
    for level in range(1, 10):
        memory, window = (1, 10) if level % 2 else (8, 15)
        coded = containers.deflate(data, level, memory, strategy, window)
        recipe = deflate_find(coded, data, window=window)
        assert recipe is not None and refdec.Recipe(recipe, data).stream() == coded


def test_far_matches_of_three_bytes_are_worth_nothing(refdec: Any) -> None:
    rng = random.Random(3)
    data = b"xyz" + rng.randbytes(4089) + b"0xyz1" + rng.randbytes(30) + b"xyz2"
    for far in (data, data[:100] + b"!!!" + data[100:]):
        coded = containers.deflate(far, 6, 9)
        recipe = deflate_find(coded, far)
        assert recipe is not None and refdec.Recipe(recipe, far).stream() == coded


def test_codes_that_are_too_long_are_shortened(refdec: Any) -> None:
    """Counts that are Fibonacci numbers ask for longer codes than there are."""
    counts = [1, 1]
    while sum(counts) < 7000:
        counts.append(counts[-1] + counts[-2])
    data = b"".join(bytes([symbol]) * count for symbol, count in enumerate(counts))
    coded = containers.deflate(data, 6, 9, zlib.Z_HUFFMAN_ONLY)
    recipe = deflate_find(coded, data)
    assert recipe is not None and len(recipe) < 8 and refdec.Recipe(recipe, data).stream() == coded
    assert max(refdec.code_lengths(counts, 7)) == 7


def strange_streams() -> dict[str, tuple[bytes, bytes]]:
    """Streams that zlib would not have made at one go, and their data."""
    data = streamed()
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    flushed = packer.compress(data[:900]) + packer.flush(zlib.Z_SYNC_FLUSH)
    flushed += packer.compress(data[900:2000]) + packer.flush(zlib.Z_PARTIAL_FLUSH)
    flushed += packer.compress(data[2000:]) + packer.flush()
    stored = containers.deflate(data, 0)
    fixed = containers.deflate(b"abcabcabd", 6)
    return {"flushed": (flushed, data), "stored": (stored, data), "fixed": (fixed, b"abcabcabd")}


@pytest.mark.parametrize("name", strange_streams())
def test_what_differs_is_in_the_recipe(name: str, refdec: Any) -> None:
    coded, data = strange_streams()[name]
    recipe = deflate_find(coded, data)
    assert recipe is not None and refdec.Recipe(recipe, data).stream() == coded


def test_a_header_that_a_recipe_has(refdec: Any) -> None:
    """The codes of another block: the data is that of the block, and so the recipe has its header."""
    data = containers.text(1200)
    coded = containers.deflate(data, 6)
    recipe = deflate_find(coded, data)
    assert recipe is not None and recipe[2] == 0
    tokens = refdec.Recipe(recipe, data).take_tokens(1 << 14)[0]
    block, out = refdec.Block(tokens, data), refdec.BitWriter()
    block.header.lengths = refdec.code_lengths([1] * 19, 7)  # longer than need be, and they do
    block.header.sent = 19
    out.put(1 | refdec.DYNAMIC << 1, 3)
    block.header.write(out)
    block.write(out, block.lengths)
    out.pad()
    strange = bytes(out.out)
    assert strange != coded and zlib.decompress(strange, -15) == data
    recipe = deflate_find(strange, data)
    assert recipe is not None and recipe[2] > 0 and refdec.Recipe(recipe, data).stream() == strange


CONTAINERS = {
    "png": lambda: containers.png(24, 20, 2, level=9, piece=500),
    "grey": lambda: containers.png(30, 24, 0, level=3),
    "zip": lambda: containers.zipped({"a": containers.text(1100), "b": bytes(range(256)) * 4}, 1),
    "gzip": lambda: gzip.compress(containers.text(900, 5), 9, mtime=0),
    "zip in gzip": lambda: gzip.compress(containers.zipped({"a": containers.text(900, 3)}), 6, mtime=0),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_what_zlib_packed(name: str, refdec: Any) -> None:
    data = CONTAINERS[name]()
    payload = RebuildCodec().encode(data)
    assert payload[0] == 1 and refdec.decode_rebuild(payload, len(data)) == data
    assert payload[1] <= 16 and (name != "zip in gzip" or refdec.REBUILD in codecs_of(payload, refdec))


def codecs_of(payload: bytes, refdec: Any) -> list[int]:
    """Codecs of the pieces of a payload."""
    at = refdec.Cursor(payload, "payload", 1)
    table = [(at.u8(), at.varint(), at.varint()) for _ in range(at.varint())]
    return [codec for codec, _, _ in table]


def test_damaged_payloads_of_streams(refdec: Any) -> None:
    data = containers.png(24, 20, 2)
    payload = RebuildCodec().encode(data)
    for wrong in (payload[:-1], payload + b"x", payload[:1]):
        with pytest.raises(refdec.DamagedError):
            refdec.decode_rebuild(wrong, len(data))
    with pytest.raises(refdec.DamagedError):
        refdec.decode_rebuild(payload, len(data) - 1)
    with pytest.raises(refdec.UnsupportedError):
        refdec.decode_rebuild(b"\2" + payload[1:], len(data))


def members_of_all_kinds(form: int) -> bytes:
    """A tar file with long and foreign names, links, times and numbers of all forms."""
    out, rng = io.BytesIO(), random.Random(2)
    with tarfile.open(fileobj=out, mode="w", format=form, pax_headers={"comment": "all"}) as tar:
        for number in range(40):
            folder = rng.choice(["a/b/", "", "x" * 90 + "/", "ü" * 60 + "/", "long/" * 40])
            info = tarfile.TarInfo(f"{folder}file{number}")
            data = rng.randbytes(rng.choice([0, 10, 600, 9000])) if number % 7 else b"same" * 30
            info.size, info.uid = len(data), rng.choice([0, 1000, 3_000_000])
            info.mtime = rng.choice([1_700_000_000, 1_690_000_000.5, 1_690_000_000.123456])
            if form != tarfile.PAX_FORMAT:
                info.mtime = int(info.mtime)
            elif number % 4 == 0:
                info.pax_headers = {"atime": "1700000001.25", "comment": "hi", "ctime": "-4.5"}
            if number % 9 == 5:
                info.type, info.linkname, info.size, data = tarfile.SYMTYPE, "l" * rng.choice([3, 150]), 0, b""
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def packed(tar: bytes, *options: str) -> bytes:
    """The archive of a tar stream."""
    command = [sys.executable, "-m", "zllm", "-c", "--level", "2", *options]
    return subprocess.run(command, input=tar, stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.parametrize("kind", ["gnu", "pax", "cut", "broken", "raw"])
def test_tar_streams_come_back(kind: str, refdec: Any) -> None:
    tar = members_of_all_kinds(tarfile.PAX_FORMAT if kind == "pax" else tarfile.GNU_FORMAT)
    broken = tar[:5000] + b"x" * 700 + tar[5000:]
    stream = {"cut": tar[:-700], "broken": broken, "raw": b"no tar\n" * 300}.get(kind, tar)
    assert read(refdec, packed(stream))[1] == stream


@pytest.mark.parametrize(("field", "value"), [(124, b"%011o " % 3), (136, b"any numbers?")])
def test_fields_of_headers_that_are_literals(field: int, value: bytes, refdec: Any) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("f")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    stream = bytearray(out.getvalue())
    stream[field : field + 12] = value
    stream[148:156] = b" " * 8
    stream[148:156] = b"%06o\0 " % sum(stream[:512])
    assert read(refdec, packed(bytes(stream)))[1] == stream


def test_an_embedded_model_generations_and_the_command(refdec: Any, checkout: Path, tmp_path: Path) -> None:
    """With a model in the archive, and members that are deleted and replaced later."""
    text = (vectors.GOLDEN / "texts" / "english.txt").read_bytes()[:300]
    for name, data in (("a", text), ("b", b"second " * 9), ("c", b"third")):
        (tmp_path / name).write_bytes(data)

    def run(*words: str) -> None:
        subprocess.run([sys.executable, *words], cwd=tmp_path, check=True)

    run("-m", "zllm", "create", "x.zllm", "a", "b", "--model", "fast", "--embed-model", "-j1")
    (tmp_path / "b").write_bytes(b"another second")
    run("-m", "zllm", "update", "x.zllm", "b")
    run("-m", "zllm", "append", "x.zllm", "c")
    run("-m", "zllm", "delete", "x.zllm", "c")
    (archive,) = refdec.read_file((tmp_path / "x.zllm").read_bytes(), {})
    parts = refdec.described(archive, None)["parts"]
    size = store.resolve("fast").path.stat().st_size
    assert [part["size"] for part in parts if part["kind"] == 3] == [size]
    assert 3 in {part["codec"] for part in parts if part["kind"] == 2}
    assert [part["deleted"] for part in parts if part["kind"] == 4] == [[], [b"b".hex()], [], [b"c".hex()]]
    run(str(checkout / "tools" / "refdec.py"), "x.zllm", "-x", "out")
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert found == {"a": text, "b": b"another second"}


def test_damage_is_one_line(refdec: Any, checkout: Path, tmp_path: Path) -> None:
    data = bytearray((TESTS / "conformance" / "valid" / "two-sections.zllm").read_bytes())
    data[130] ^= 4
    (tmp_path / "x.zllm").write_bytes(data)
    command = [sys.executable, str(checkout / "tools" / "refdec.py"), "x.zllm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3 and done.stderr.startswith("refdec: ") and done.stderr.count("\n") == 1
    whole = (TESTS / "conformance" / "valid" / "pax-header.zllm").read_bytes()
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1
        with pytest.raises(refdec.DamagedError):
            read(refdec, bytes(changed))


def test_the_tar_stream_and_the_json_of_a_command(refdec: Any, checkout: Path, tmp_path: Path) -> None:
    path = TESTS / "conformance" / "valid" / "member-in-two-sections.zllm"
    command = [sys.executable, str(checkout / "tools" / "refdec.py"), str(path)]
    subprocess.run([*command, "--tar", "x.tar"], check=True)
    with tarfile.open(tmp_path / "x.tar") as tar, zllm.open(path) as archive:
        for theirs, ours in zip(tar, archive, strict=True):
            found, expected = tar.extractfile(theirs), archive.extractfile(ours)
            assert found is not None and expected is not None and found.read() == expected.read()
    said = json.loads(subprocess.run([*command, "--json"], check=True, stdout=subprocess.PIPE).stdout)
    assert [part["kind"] for part in said["parts"]].count(1) == 2 and len(said["members"]) == 1


def test_notes_are_passed_over(refdec: Any, checkout: Path, tmp_path: Path) -> None:
    """An archive that carries a decoder, and a picture of codec rebuild."""
    picture = containers.png(24, 20, 2)
    (tmp_path / "a.png").write_bytes(picture)
    command = [sys.executable, "-m", "zllm", "create", "x.zllm", "a.png", "--level", "6", "--carry-decoder"]
    subprocess.run(command, cwd=tmp_path, check=True)
    (archive,) = refdec.read_file((tmp_path / "x.zllm").read_bytes(), {})
    parts = refdec.described(archive, None)["parts"]
    assert [part["kind"] for part in parts if part["kind"] != refdec.FRAME] == [8, 8, 1, 4, 5]
    assert [part["codec"] for part in parts if part["kind"] == refdec.FRAME] == [refdec.REBUILD]
    subprocess.run(
        [sys.executable, str(checkout / "tools" / "refdec.py"), "x.zllm", "-x", "out"], cwd=tmp_path, check=True
    )
    assert (tmp_path / "out" / "a.png").read_bytes() == picture


def test_an_encrypted_archive_is_refused(checkout: Path, tmp_path: Path) -> None:
    pytest.importorskip("nacl")
    (tmp_path / "a").write_bytes(b"secret\n" * 20)
    (tmp_path / "words").write_text("a passphrase\n", encoding="utf-8")
    command = [sys.executable, "-m", "zllm", "create", "x.zllm", "a", "--encrypt", "--passphrase-file", "words"]
    subprocess.run(command, cwd=tmp_path, check=True)
    command = [sys.executable, str(checkout / "tools" / "refdec.py"), "x.zllm"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr == "refdec: the archive is encrypted; this program does not decrypt\n"
