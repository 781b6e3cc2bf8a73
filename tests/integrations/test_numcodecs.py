"""The codec of numcodecs, alone and under zarr."""

from __future__ import annotations

import random
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

numcodecs = pytest.importorskip("numcodecs")
np = pytest.importorskip("numpy")

from zllm.errors import DamagedError  # noqa: E402
from zllm.integrations.numcodecs_ import MOST, ZllmCodec  # noqa: E402

ARRAYS = {
    "ramp": np.arange(20_000, dtype="<i4"),
    "waves": np.sin(np.linspace(0, 50, 5000)).astype("<f4").reshape(50, 100),
    "noise": np.frombuffer(random.Random(1).randbytes(30_000), dtype="u1"),
    "fortran": np.asfortranarray(np.arange(600).reshape(20, 30)),
    "nothing": np.zeros(0, dtype="<f8"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_round_trip(name: str) -> None:
    array = ARRAYS[name]
    codec = ZllmCodec()
    coded = codec.encode(array)
    assert len(coded) <= array.nbytes + 12
    assert np.array_equal(np.frombuffer(codec.decode(coded), dtype=array.dtype), array.ravel(order="A"))
    if array.size:
        out = np.empty(array.size, dtype=array.dtype)
        codec.decode(coded, out=out)
        assert np.array_equal(out, array.ravel(order="A"))


def test_it_is_a_codec_by_its_configuration() -> None:
    numcodecs.register_codec(ZllmCodec)
    codec = ZllmCodec()
    assert codec.get_config() == {"id": "zllm"}
    assert numcodecs.get_codec({"id": "zllm"}) == codec


def test_the_entry_point_names_it(checkout: Path) -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["numcodecs.codecs"] == {"zllm": "zllm.integrations.numcodecs_:ZllmCodec"}
    for found in entry_points(group="numcodecs.codecs", name="zllm"):
        assert found.load() is ZllmCodec


def test_damage_is_found() -> None:
    codec = ZllmCodec()
    for array in (ARRAYS["ramp"], ARRAYS["noise"]):
        coded = codec.encode(array)
        for at in (0, 2, 3, 10, len(coded) - 1):
            broken = bytearray(coded)
            broken[at] ^= 0x41
            with pytest.raises(DamagedError):
                codec.decode(bytes(broken))
        for length in (0, 2, 6, len(coded) - 1):
            with pytest.raises(DamagedError):
                codec.decode(coded[:length])


def test_a_chunk_that_is_too_large() -> None:
    with pytest.raises(ValueError, match="larger than 64 MiB"):
        ZllmCodec().encode(np.zeros(MOST + 1, dtype="u1"))


def test_under_zarr(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    numcodecs.register_codec(ZllmCodec)
    array = ARRAYS["waves"]
    made = zarr.create_array(
        tmp_path / "a.zarr",
        shape=array.shape,
        chunks=(20, 40),
        dtype=array.dtype,
        compressors=ZllmCodec(),
        zarr_format=2,
    )
    made[:] = array
    again = zarr.open_array(tmp_path / "a.zarr", mode="r")
    assert np.array_equal(again[:], array)
    assert again[7, 33] == array[7, 33]


def test_the_example_of_the_docs(checkout: Path) -> None:
    numcodecs.register_codec(ZllmCodec)
    text = (checkout / "docs" / "integrations.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(import numcodecs\n.*?)^```", text, re.M | re.S)
    exec(example, {})


def test_the_layout_is_that_of_the_c_library() -> None:
    """Mark, codec, varint, payload, checksum: docs/c-library.md."""
    coded = ZllmCodec().encode(b"abc")
    assert coded[:7] == b"\xb5\x54\x00\x03abc" and len(coded) == 11
