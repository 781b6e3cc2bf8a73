"""What C says of model files: what is in one, and the schema of a family of networks."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from zllm._native.core import ffi, lib
from zllm.errors import ModelError

FAMILY = "transformer"
"""The family of networks of a file that does not name one."""


class Place(NamedTuple):
    """A tensor's type, shape and place in its file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


class Header(NamedTuple):
    """What a file's header says: description (JSON), tensors by name, and how many bytes the whole file has."""

    description: str
    tensors: dict[str, Place]
    size: int


class Field(NamedTuple):
    """A row of a schema.

    ``type``, ``rows``, ``columns`` (empty: one dimension) and ``when`` are a tensor's, in terms of the config's fields;
    ``exponent`` is its name in the description's exponents, or empty. ``low`` and ``high`` are of a layer's field, or
    of the exponent; ``fallback`` is what a field or exponent is if the file does not say, None if it has to.
    """

    part: str
    name: str
    meaning: str
    type: str
    rows: str
    columns: str
    when: str
    exponent: str
    low: int
    high: int
    fallback: int | None


def error() -> str:
    """Why C refused a model."""
    return ffi.string(lib.zllm_model_error()).decode("utf-8", "replace")  # type: ignore[no-any-return]


def check(rc: int, prefix: str = "") -> None:
    """Raise what a result code of reading a model file means.

    Raises:
        ModelError: it is not one.
        MemoryError: there is too little memory.
    """
    if rc == lib.ZLLM_E_MODEL:
        raise ModelError(prefix + error())
    if rc == lib.ZLLM_E_MEMORY:
        raise MemoryError("out of memory in reading a model")


@functools.cache
def type_sizes() -> dict[str, int]:
    """Bytes of an element, by the name of a tensor's type."""
    found: dict[str, int] = {}
    while name := lib.zllm_type_name(len(found)):
        found[ffi.string(name).decode()] = int(lib.zllm_type_size(len(found)))
    return found


def front_size(front: bytes) -> int:
    """Bytes before the tensors' data, of a file that starts with ``front``: 8 bytes, or all there are.

    Raises:
        ModelError: it is not a model file.
    """
    out = ffi.new("uint64_t *")
    check(lib.zllm_model_file_front(front, len(front), out))
    return int(out[0])


def header(front: bytes) -> Header:
    """Read the first :func:`front_size` bytes of a file.

    Raises:
        ModelError: it is not a model file.
    """
    out, count = ffi.new("zllm_model_file **"), ffi.new("size_t *")
    check(lib.zllm_model_file_open(front, len(front), ffi.NULL, out))
    with ffi.gc(out[0], lib.zllm_model_file_free) as file:
        description = lib.zllm_model_file_description(file, count)
        text = bytes(ffi.buffer(description, count[0])).decode()
        types = list(type_sizes())
        tensors = lib.zllm_model_file_tensors(file, count)
        places = {
            bytes(ffi.buffer(t.name, t.name_size)).decode(): Place(
                types[t.type], tuple(t.shape[0 : t.dimensions]), int(t.offset), int(t.size)
            )
            for t in tensors[0 : count[0]]
        }
        return Header(text, places, int(lib.zllm_model_file_size(file)))


def _text(value: Any) -> str:
    return "" if value == ffi.NULL else ffi.string(value).decode()


@functools.cache
def schema(family: str = FAMILY) -> tuple[Field, ...]:
    """The rows of a family's schema: fields of the config, of a layer, tensors. Empty for an unknown family."""
    row = ffi.new("zllm_schema_row *")
    found: list[Field] = []
    while lib.zllm_schema(family.encode(), len(found), row):
        texts = [_text(getattr(row, name)) for name in Field._fields[:8]]
        numbers = [int(row.low), int(row.high), None if row.needed else int(row.fallback)]
        found.append(Field._make([*texts, *numbers]))
    return tuple(found)


CONFIG_FIELDS = tuple(row.name for row in schema() if row.part == "config" and row.fallback is None)
VARIANT_FIELDS = tuple(row.name for row in schema() if row.part == "config" and row.fallback is not None)
"""Of the config too, each 0 if it is missing."""


@contextlib.contextmanager
def listed(tensors: Mapping[str, tuple[str, tuple[int, ...], memoryview]]) -> Iterator[Any]:
    """Tensors as C takes them, while the block lasts: then they are given back, even on an error, whose traceback would
    keep them.

    Raises:
        ModelError: a tensor has a type or a number of dimensions that there is not.
    """
    with contextlib.ExitStack() as held:
        out = ffi.new("zllm_tensor[]", len(tensors))
        names = [ffi.new("char[]", name.encode()) for name in tensors]
        for item, name, tensor in zip(out, names, tensors.values(), strict=True):
            _fill_tensor(item, name, tensor, held)
        yield out


def _fill_tensor(
    item: Any, name: Any, tensor: tuple[str, tuple[int, ...], memoryview], held: contextlib.ExitStack
) -> None:
    """Make C's of a tensor, whose data is there as long as ``held`` is open."""
    dtype, shape, data = tensor
    types = list(type_sizes())
    if dtype not in types or len(shape) > len(item.shape):
        raise ModelError(f"bad model: a tensor has type {dtype} and shape {shape}")
    item.name, item.name_size, item.type = name, len(name) - 1, types.index(dtype)
    item.shape[0 : len(shape)], item.dimensions = shape, len(shape)
    view = held.enter_context(ffi.from_buffer("uint8_t[]", data))
    item.data, item.size = view, len(view)
