"""The ``.zlm`` model file: a safetensors container of integer tensors, with a JSON description.

``u64 header length, header JSON, tensor data``. The header maps a tensor's name to its dtype, shape and data offsets;
``__metadata__.zllm`` holds the description as JSON text. Everything is checked before it is used, nothing is executed.
See ``docs/model-format.md``.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from zllm import partial
from zllm.errors import ModelError
from zllm.models.config import ModelConfig

MAX_HEADER = 4 << 20
MAX_FILE = 4 << 30
FORMAT = 1
MAX_NAME = 1000
MAX_LAYERS = 256
_MAX_DIMENSIONS = 4
_SIZES = {"I8": 1, "U8": 1, "I16": 2, "I32": 4, "U32": 4}

Tensor = tuple[str, tuple[int, ...], memoryview]  # dtype, shape, data


@dataclass(frozen=True)
class ModelFile:
    """A parsed file. ``description`` is the JSON: name, origin, arithmetic, config, layers, exponents."""

    description: dict[str, Any]
    tensors: dict[str, Tensor]
    sha256: bytes
    size: int
    data: bytes | memoryview
    """The whole file; the tensors are parts of it."""

    @property
    def config(self) -> ModelConfig:
        """The model's shape."""
        return ModelConfig.from_dict(self.description["config"])

    @property
    def tokenizer_sha256(self) -> bytes:
        """SHA-256 of the token table: offsets (little-endian u32), then the tokens' bytes."""
        digest = hashlib.sha256(self.tensors["tokens.offsets"][2])
        digest.update(self.tensors["tokens.bytes"][2])
        return digest.digest()


def write(
    path: Path,
    description: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    replace: bool = True,
    sha256: str = "",
) -> str:
    """Write a model file, which appears when it is whole; tensors go by descending element size so that each is
    aligned. Gives back its SHA-256 (hexadecimal).

    Raises:
        ModelError: the hash is not ``sha256``, if that is given.
        FileExistsError: there is such a file, and ``replace`` is false.
    """
    header: dict[str, Any] = {"__metadata__": {"zllm": json.dumps(description, sort_keys=True)}}
    order = sorted(tensors, key=lambda name: (-_SIZES[tensors[name][0]], name))
    offset = 0
    for name in order:
        dtype, shape, data = tensors[name]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    front = struct.pack("<Q", len(text)) + text
    digest = hashlib.sha256(front)
    with partial.whole_file(os.path.realpath(path), replace=replace) as file:  # a link stays a link
        file.write(front)
        for name in order:
            file.write(tensors[name][2])
            digest.update(tensors[name][2])
        if sha256 and digest.hexdigest() != sha256:
            raise ModelError(f"its hash is {digest.hexdigest()}, not {sha256}")
    return digest.hexdigest()


def read(path: Path) -> ModelFile:
    """Read and check a model file.

    Raises:
        ModelError: it is not one, or is damaged.
        OSError: it cannot be read.
    """
    state = path.stat()
    if not stat.S_ISREG(state.st_mode) and not stat.S_ISFIFO(state.st_mode):  # /dev/zero has no end
        raise ModelError(f"{path}: not a model file: neither a file nor a pipe")
    if state.st_size > MAX_FILE:
        raise ModelError(f"{path}: larger than any model")
    try:
        return parse(path.read_bytes())
    except ModelError as exc:
        raise ModelError(f"{path}: {exc}") from exc


def parse(data: bytes | memoryview) -> ModelFile:
    """As :func:`read`, from memory."""
    if len(data) > MAX_FILE:
        raise ModelError("larger than any model")
    length = _header_length(bytes(data[:8]), len(data))
    description, header = _header(bytes(data[8 : 8 + length]))
    body = memoryview(data)[8 + length :]
    tensors: dict[str, Tensor] = {}
    for name, (dtype, shape, start, end) in _places(header, len(body)).items():
        tensors[name] = dtype, shape, body[start:end]
    for name in ("tokens.bytes", "tokens.offsets", "tokenizer.json"):
        if name not in tensors:
            raise ModelError(f"bad model: tensor {name} is missing")
    return ModelFile(description, tensors, hashlib.sha256(data).digest(), len(data), data)


def receive(file: BinaryIO) -> bytes:
    """All of a model file from a pipe. What does not begin as one is not read to its end, which it may not have.

    Raises:
        ModelError: it is not one; what :func:`parse` gives back was not checked.
        OSError: it cannot be read.
    """
    front = file.read(8)
    length = _header_length(front, MAX_FILE if len(front) == 8 else 0)
    pieces = [front, file.read(length)]
    _header(pieces[1])
    left = MAX_FILE + 1 - 8 - length
    while left > 0 and (piece := file.read(min(left, 1 << 20))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def describe(path: Path) -> tuple[dict[str, Any], int]:
    """The description of a model file and the file's size, without reading its tensors.

    Raises:
        ModelError: it is no model file, or its tensors cannot be in it.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            length = _header_length(file.read(8), size)
            description, header = _header(file.read(length))
            _places(header, size - 8 - length)
        except ModelError as exc:
            raise ModelError(f"{path}: {exc}") from exc
    return description, size


def _header_length(front: bytes, size: int) -> int:
    """Length of the JSON in a file of ``size`` bytes."""
    if size < 8:
        raise ModelError("not a model file: too short")
    (length,) = struct.unpack("<Q", front)
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise ModelError("not a model file: bad header length")
    return int(length)


def _header(text: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The description, and the tensors' entries."""
    try:
        header = json.loads(text, object_pairs_hook=_once)
        description = json.loads(header.pop("__metadata__")["zllm"], object_pairs_hook=_once)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ModelError(f"not a model file: bad header ({type(exc).__name__})") from exc
    _check_description(description)
    return description, header


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _check_description(description: Any) -> None:
    kinds = {"format": int, "name": str, "origin": str, "arithmetic": int, "config": dict, "layers": list}
    if not isinstance(description, dict):
        raise ModelError("bad model file: no description")
    for key, kind in {**kinds, "exponents": dict}.items():
        value = description.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ModelError(f"bad model file: its description has no proper {key!r}")
    if description["format"] != FORMAT:
        raise ModelError(f"model file format {description['format']} is not {FORMAT}, the one this program reads")
    layers = description["layers"]
    if len(layers) > MAX_LAYERS or not all(isinstance(layer, dict) for layer in layers):
        raise ModelError("bad model file: its description has no proper 'layers'")
    if not isinstance(description.get("tokenizer", {}), dict):
        raise ModelError("bad model file: its description has no proper 'tokenizer'")
    if max(len(description["name"]), len(description["origin"])) > MAX_NAME:
        raise ModelError(f"bad model file: a name or an origin of more than {MAX_NAME} characters")


def _places(header: dict[str, Any], room: int) -> dict[str, tuple[str, tuple[int, ...], int, int]]:
    """(dtype, shape, start, end) of all tensors, which fill the ``room`` bytes of data without overlapping."""
    places = {name: _place(name, entry, room) for name, entry in header.items()}
    at = 0
    for name, (_, _, start, end) in sorted(places.items(), key=lambda item: item[1][2:]):
        if start != at:
            raise ModelError(f"bad model file: tensor {name[:100]} does not start where the one before it ends")
        at = end
    if at != room:
        raise ModelError("bad model file: its tensors do not fill it")
    return places


def _place(name: str, entry: Any, room: int) -> tuple[str, tuple[int, ...], int, int]:
    """dtype, shape, start and end of a tensor in the ``room`` bytes of data."""
    try:
        dtype, shape = str(entry["dtype"]), tuple(entry["shape"])
        start, end = entry["data_offsets"]
        size = _SIZES[dtype]
        if len(shape) > _MAX_DIMENSIONS:
            raise ValueError
        for n in (*shape, start, end):
            if not isinstance(n, int) or isinstance(n, bool) or not 0 <= n <= room:
                raise ValueError
        for n in shape:
            size *= n
        if not start <= end <= room or end - start != size:
            raise ValueError
    except (KeyError, TypeError, ValueError) as exc:
        raise ModelError(f"bad model file: tensor {name[:100]} does not fit its file") from exc
    return dtype, shape, start, end
