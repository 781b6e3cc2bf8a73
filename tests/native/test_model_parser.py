"""The C parser of model files: hostile headers, thousands of mutated files, and Python's json as an oracle."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import tiny, variants
from zllm._native._core import ffi, lib

from zllm._native import modelfile
from zllm.errors import ModelError
from zllm.models import zlm

MUTATIONS = 1500


def file_of(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + body


def parse(data: bytes) -> int:
    """The result of zllm_model_parse, for bytes that end where their memory ends. A refusal has one line of words."""
    out, copy = ffi.new("zllm_model **"), ffi.new("uint8_t[]", len(data))
    ffi.memmove(copy, data, len(data))
    rc = int(lib.zllm_model_parse(copy, len(data), b"generic", ffi.NULL, out))
    assert (rc == lib.ZLLM_OK) == (out[0] != ffi.NULL)
    if rc == lib.ZLLM_OK:
        lib.zllm_model_free(out[0])
    else:
        assert rc == lib.ZLLM_E_MODEL
        assert modelfile.error().isprintable() and len(modelfile.error()) > 10
    return rc


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Small models, with and without all variants."""
    folder = tmp_path_factory.mktemp("m")
    full: dict[str, Any] = {
        "qk": 2, "mlp": 1, "positions": 64, "embed_rows": 301, "biases": (*variants.BIASES, "head"), "wide_head": 1,
        "layers": 1,
    }  # fmt: skip
    kinds: list[dict[str, Any]] = [{"layers": 1, "heads": 2, "kv_heads": 1}, full]
    return [variants.write(folder / f"{i}.zlm", **kind).read_bytes() for i, kind in enumerate(kinds)]


def parts(data: bytes) -> tuple[bytes, bytes]:
    """Header and tensors."""
    (length,) = struct.unpack_from("<Q", data)
    return data[8 : 8 + length], data[8 + length :]


def test_whole_files_are_accepted(files: list[bytes]) -> None:
    assert [parse(data) for data in files] == [lib.ZLLM_OK, lib.ZLLM_OK]


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_a_file_may_lie_anywhere(files: list[bytes], shift: int) -> None:
    room, out = ffi.new("uint8_t[]", len(files[1]) + shift), ffi.new("zllm_model **")
    ffi.memmove(room + shift, files[1], len(files[1]))
    assert lib.zllm_model_parse(room + shift, len(files[1]), ffi.NULL, ffi.NULL, out) == lib.ZLLM_OK
    lib.zllm_model_free(out[0])


@pytest.mark.parametrize("change", [b"\0", b" ", b"abc"])
def test_nothing_may_follow(files: list[bytes], change: bytes) -> None:
    assert parse(files[0] + change) == lib.ZLLM_E_MODEL
    assert "do not fill it" in modelfile.error()


# Mutations. Each gets a generator, the header and the tensors, and gives back a file.


def _flip_bytes(rng: random.Random, header: bytes, body: bytes) -> bytes:
    data = bytearray(file_of(header, body))
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(8 + len(header))] = rng.randrange(256)
    return bytes(data)


def _flip_tensors(rng: random.Random, header: bytes, body: bytes) -> bytes:
    data = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] = rng.choice((0, 0x7F, 0x80, 0xFF))
    return file_of(header, bytes(data))


def _cut(rng: random.Random, header: bytes, body: bytes) -> bytes:
    data = file_of(header, body)
    return data[: rng.choice((rng.randrange(len(data)), rng.randrange(8 + len(header)), len(data) - 1))]


def _splice_header(rng: random.Random, header: bytes, body: bytes) -> bytes:
    """A piece of the header is dropped, doubled or moved; the length is right."""
    a, b = sorted(rng.randrange(len(header)) for _ in range(2))
    b = min(b, a + 40)
    at = rng.randrange(len(header))
    piece = header[a:b]
    changed = rng.choice((header[:a] + header[b:], header[:b] + piece + header[b:], header[:at] + piece + header[at:]))
    return file_of(changed, body)


ODD = [
    "0", "-1", "1", "2", "3", "31", "32", "255", "4294967295", "4294967296", "9223372036854775807", "1e3", "0.5", "-0",
    "9223372036854775808", "18446744073709551616", "99999999999999999999999999999999999999999999", "true", "null", '""',
    "[]", "{}", '"I8"', '"F32"', "[0]", "[1,2]", "[[[[]]]]", '{"a":1,"a":2}', '"\\ud800"', '"\\u0000"', "NaN", "01",
]  # fmt: skip


def _odd_values(rng: random.Random, header: bytes, body: bytes) -> bytes:
    """A value somewhere in the header, or in the description, is another."""
    text = header.decode()
    tree = json.loads(text)
    inner = rng.random() < 0.5
    target: Any = json.loads(tree["__metadata__"]["zllm"]) if inner else tree
    root = target
    while True:
        keys = list(range(len(target))) if isinstance(target, list) else list(target)
        key = rng.choice(keys)
        if not isinstance(target[key], (dict, list)) or not target[key] or rng.random() < 0.2:
            break
        target = target[key]
    mark = "@@odd@@"
    target[key] = mark
    value = rng.choice(ODD)
    if inner:
        tree["__metadata__"]["zllm"] = json.dumps(root).replace(f'"{mark}"', value)
        return file_of(json.dumps(tree).encode(), body)
    return file_of(json.dumps(tree).replace(f'"{mark}"', value).encode(), body)


@pytest.mark.parametrize("mutate", [_flip_bytes, _flip_tensors, _cut, _splice_header, _odd_values])
def test_mutated_files_are_read_or_refused(
    files: list[bytes], mutate: Callable[[random.Random, bytes, bytes], bytes]
) -> None:
    rng = random.Random(mutate.__name__)
    results = [parse(mutate(rng, *parts(rng.choice(files)))) for _ in range(MUTATIONS)]
    assert lib.ZLLM_E_MODEL in results
    if mutate not in {_cut, _splice_header}:
        assert lib.ZLLM_OK in results  # the names for people, or a weight


def test_what_is_accepted_python_reads_alike(files: list[bytes]) -> None:
    rng = random.Random(7)
    accepted = 0
    for _ in range(MUTATIONS):
        data = rng.choice((_flip_bytes, _splice_header, _odd_values))(rng, *parts(rng.choice(files)))
        try:
            header = modelfile.header(data)
        except ModelError:
            continue
        tree = json.loads(parts(data)[0])
        assert header.description == tree.pop("__metadata__")["zllm"]
        start = 8 + struct.unpack_from("<Q", data)[0]
        assert {name: (e["dtype"], e["shape"], [start + n for n in e["data_offsets"]]) for name, e in tree.items()} == {
            name: (p.dtype, list(p.shape), [p.offset, p.offset + p.size]) for name, p in header.tensors.items()
        }
        accepted += 1
    assert accepted > MUTATIONS // 20


# Headers


def described(**change: Any) -> dict[str, Any]:
    return {**tiny.tensors_of(layers=1, dim=32)[0], **change}


def front(description: str | None = None, entries: str = "", metadata: str | None = None) -> bytes:
    """A header with that description, and entries of tensors as text."""
    text = json.dumps(json.dumps(described()) if description is None else description)
    return file_of(f'{{"__metadata__":{{"zllm":{text if metadata is None else metadata}}}{entries}}}'.encode())


def refused(data: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        modelfile.header(data)


def entry(name: str, start: int, end: int, shape: str | None = None, *, dtype: str = "U8", more: str = "") -> str:
    shape = f"[{end - start}]" if shape is None else shape
    return f',"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]{more}}}'


def test_tensors_fill_the_file() -> None:
    assert modelfile.header(front()).tensors == {}
    good = front(entries=entry("b", 3, 7) + entry("a", 0, 3) + entry("none", 3, 3))
    assert modelfile.header(good).size == len(good) + 7
    refused(front(entries=entry("a", 0, 3) + entry("b", 2, 7)), "tensor b does not start where")
    refused(front(entries=entry("a", 0, 3) + entry("b", 4, 7)), "tensor b does not start where")
    refused(front(entries=entry("a", 1, 3)), "tensor a does not start where")
    refused(front(entries=entry("a", 0, 3) + entry("b", 0, 3)), "tensor [ab] does not start where")


@pytest.mark.parametrize(
    "bad",
    [
        entry("t", 0, 4, "[5]"), entry("t", 0, 4, "[4294967296,4294967296,4294967296,4294967296]"),
        entry("t", 0, 0, "[4294967296,4294967296,4294967296,0]"), entry("t", 0, 4, "[1,1,1,1,4]"),
        entry("t", 0, 4, "[-4]"), entry("t", 0, 4, "[4.0]"), entry("t", 0, 4, "[true]"), entry("t", 0, 4, "4"),
        entry("t", 0, 4, '["4"]'), entry("t", 0, 4, dtype="F32"), entry("t", 0, 4, "[2]", dtype="u16"),
        entry("t", 0, 4, more=',"strides":[1]'), ',"t":[]', ',"t":{"dtype":"U8","shape":[1]}',
        ',"t":{"dtype":"U8","shape":[1],"data_offsets":[0]}', ',"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}',
        ',"t":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}',
        ',"t":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551615,0]}',
        ',"t":{"dtype":"U8","shape":[1],"data_offsets":[9223372036854775807,9223372036854775807]}',
    ],
)  # fmt: skip
def test_tensors_with_bad_places(bad: str) -> None:
    refused(front(entries=bad), "tensor t does not fit its file")


def test_a_file_larger_than_any() -> None:
    big = 1 << 32
    refused(front(entries=entry("t", 0, big + 1)), "does not fit")
    refused(front(entries=entry("t", 0, big)), "larger than any model")


BAD_JSON = [
    b"", b" ", b"{", b"[1,]", b'{"a":1,}', b"{,}", b"{1:2}", b'{"a" 1}', b'{"a":}', b"{} {}", b"{}x", b"nul", b"truex",
    b"NaN", b"Infinity", b"-", b"+1", b"01", b"-01", b"1.", b".5", b"1e", b"1e+", b"0x10", b'"', b'"\\"', b'"\\x41"',
    b'"\\u12"', b'"\\u12g4"', b'"\\ud800"', b'"\\udc00"', b'"\\ud800\\u0041"', b'"\\ud800x"', b'"a\nb"', b'"\x00"',
    b'"\xff"', b'"\xc0\x80"', b'"\xc1\xbf"', b'"\xe0\x80\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82"',
    b'"\xf0\x8f\xbf\xbf"', b'"\x80"', b"\xef\xbb\xbf{}", b'{"a":1,"\\u0061":2}', b"'a'", b"// {}", b"[1 2]",
    b'{"a":1 "b":2}', b"]", b"}", b",", b"[" * 17 + b"]" * 17, b"1" * 4301, b"0." + b"1" * 4299,
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_JSON)
def test_bad_json_is_refused(text: bytes) -> None:
    """As another value of the header, and by itself."""
    refused(file_of(b'{"__metadata__":{"zllm":"", "other":' + text + b"}}"), "bad header")
    refused(file_of(text.ljust(2)), "bad header")
    if text.isascii():
        refused(front(json.dumps(described())[:-1] + f', "source": {text.decode()}}}'), "bad header")


GOOD_JSON = [
    "{}", "[]", "[[], {}, null, true, false]", "0", "-0", "1e5", "1.5E-3", "-12.25e+7",
    "123456789012345678901234567890",
    '"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\u0041\\u00e9\\u20ac\\ud83d\\ude00"', '"\u00e9\u20ac\U0001f600"', '"\\u0000"',
    '{"": {"": 1}}', " \t\r\n[ 1 , 2 ] ", "[" * 13 + "]" * 13, "1" * 4300,
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD_JSON)
def test_good_json_is_read(text: str) -> None:
    description = json.dumps(described())[:-1] + f', "source": {text}}}'
    assert modelfile.header(front(description)).description == description
    assert modelfile.header(front(metadata=json.dumps(description, ensure_ascii=False))).description == description


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(VALUES, st.booleans())
def test_what_json_writes_is_read(value: Any, ascii_only: bool) -> None:
    text = json.dumps(described(source=value), ensure_ascii=ascii_only)
    assert json.loads(modelfile.header(front(text)).description)["source"] == value


def test_depth_and_numbers_of_values_are_bounded() -> None:
    refused(front(metadata="[" * 15 + "]" * 15), "too deep")
    refused(file_of(b"[" * (4 << 20)), "too deep")
    refused(file_of(b"[" + b"1," * (1 << 18) + b"1]"), "too much")
    refused(file_of(b"[" + b"[],".ljust(4) * ((4 << 18) - 2) + b"1]"), "too much")


def test_an_object_of_many_names_is_fast(files: list[bytes]) -> None:
    names = "".join(f',"x{i}":0' for i in range(200_000))
    description = json.dumps(described())[:-1] + "}"
    many = description.replace('"exponents": {', '"exponents": {' + names[1:] + ",")
    assert parse(front(many)) == lib.ZLLM_E_MODEL


@pytest.mark.parametrize(
    ("size", "length", "words"),
    [(0, 2, "too short"), (7, 2, "too short"), (8, 0, "length"), (8, 1, "length"), (8, 2, "length"),
     (100, 93, "length"), (100, (4 << 20) + 1, "length"), (100, (1 << 64) - 1, "length")],
)  # fmt: skip
def test_header_lengths(size: int, length: int, words: str) -> None:
    refused((struct.pack("<Q", length) + b" " * 100)[:size], words)


def test_names_in_messages_are_short_and_printable() -> None:
    name = "\\u0007\\u001b[2J" + "\u20ac" * 200
    refused(front(entries=entry(name, 0, 4, "[5]")), r"tensor \?\?\[2J\u20ac{20,40} does not fit")
    assert modelfile.error().isprintable()


def test_memory_is_bounded_by_the_file(tmp_path: Path) -> None:
    """A config that asks for a great deal, and has nothing."""
    big = {"vocab": 1 << 18, "dim": 16384, "layers": 256, "heads": 64, "kv_heads": 64, "head_dim": 256, "ffn": 16384,
           "window": 4096, "positions": 1 << 16}  # fmt: skip
    description, tensors = tiny.tensors_of(layers=1, dim=32)
    zlm.write(tmp_path / "m.zlm", {**description, "config": big, "layers": description["layers"] * 256}, tensors)
    assert parse((tmp_path / "m.zlm").read_bytes()) == lib.ZLLM_E_MODEL
