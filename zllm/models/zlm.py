"""The ``.zlm`` model file: a safetensors container of integer tensors, with a JSON description.

``u64 header length, header JSON, tensor data``. The header maps a tensor's name to its dtype, shape and data offsets;
``__metadata__.zllm`` holds the description as JSON text. C reads and checks all of it (``csrc/network/zlm.c``).
See ``docs/model-format.md``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from zllm import partial
from zllm._native import modelfile
from zllm.errors import ModelError
from zllm.models.config import ModelConfig

MAX_FILE = 4 << 30
FORMAT = 1

Tensor = tuple[str, tuple[int, ...], memoryview]  # dtype, shape, data
_TOKENS = ("tokens.bytes", "tokens.offsets", "tokenizer.json")
_LAYER = re.compile(r"^layers\.(0|[1-9][0-9]*)\.")


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
        """The shape of a transformer.

        Raises:
            ModelError: a number is missing or is not one, or the network is of another family.
        """
        return ModelConfig.from_dict(self.description["config"])

    @property
    def shape(self) -> dict[str, Any]:
        """The network's shape: a transformer's config, or the numbers that another network's has.

        Raises:
            ModelError: as for :attr:`config`.
        """
        values = self.description["config"]
        if values.get("family", modelfile.FAMILY) == modelfile.FAMILY:
            return self.config.as_dict()
        return {name: value for name, value in values.items() if isinstance(value, int)}

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
        ModelError: a tensor is not of the schema, or the hash is not ``sha256``, if that is given.
        FileExistsError: there is such a file, and ``replace`` is false.
    """
    family = str(description["config"].get("family", modelfile.FAMILY))
    types = {row.name: row.type for row in modelfile.schema(family) if row.part == "tensors"}
    for name, (dtype, _, _) in tensors.items():
        if "N" in name or types.get(_LAYER.sub("layers.N.", name)) != dtype:
            raise ModelError(f"bad model: there is no tensor {name} of type {dtype} in a model file")
    sizes = modelfile.type_sizes()
    header: dict[str, Any] = {"__metadata__": {"zllm": json.dumps(description, sort_keys=True)}}
    order = sorted(tensors, key=lambda name: (-sizes[tensors[name][0]], name))
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
    header = modelfile.header(_front(data))
    if header.size != len(data):
        raise ModelError("bad model file: its tensors do not fill it")
    view, tensors = memoryview(data), {}
    for name, place in header.tensors.items():
        tensors[name] = place.dtype, place.shape, view[place.offset : place.offset + place.size]
    for name in _TOKENS:
        if name not in tensors:
            raise ModelError(f"bad model: tensor {name} is missing")
    return ModelFile(json.loads(header.description), tensors, hashlib.sha256(data).digest(), len(data), data)


def _front(data: bytes | memoryview) -> bytes:
    return bytes(data[: modelfile.front_size(bytes(data[:8]))])


def receive(file: BinaryIO) -> bytes:
    """All of a model file from a pipe. What does not begin as one is not read to its end, which it may not have.

    Raises:
        ModelError: it is not one; what :func:`parse` gives back was not checked.
        OSError: it cannot be read.
    """
    front = _read_front(file)
    modelfile.header(front)
    pieces, left = [front], MAX_FILE + 1 - len(front)
    while left > 0 and (piece := file.read(min(left, 1 << 20))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _read_front(file: BinaryIO) -> bytes:
    front = file.read(8)
    return front + file.read(modelfile.front_size(front) - len(front))


def describe(path: Path) -> tuple[dict[str, Any], int]:
    """The description of a model file and the file's size, without reading its tensors.

    Raises:
        ModelError: it is not a model file, or its tensors do not fill it.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            header = modelfile.header(_read_front(file))
            if header.size != size:
                raise ModelError("bad model file: its tensors do not fill it")
        except ModelError as exc:
            raise ModelError(f"{path}: {exc}") from exc
    return json.loads(header.description), size
