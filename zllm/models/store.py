"""Finding models: the built-in one, those in the user's folder (``$ZLLM_HOME/models``), and files given by path."""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import struct
import sys
import threading
from array import array
from bisect import bisect_left
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zllm.errors import MissingModelError, ModelError, ZllmError
from zllm.models import zlm
from zllm.models.config import ModelConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zllm._native import Model as NativeModel
    from zllm.models.texttokenizer import TextTokenizer
    from zllm.models.tokenizer import BytesTokenizer

DEFAULT_NAME = "default"
DATA_FOLDER = Path(__file__).parent / "data"
KNOWN_ANSWER_TEXT = b"zllm: known answer"


class Model:
    """A model file, ready to code with. The packed weights and the tokenizer are made on first use."""

    def __init__(self, path: Path, file: zlm.ModelFile) -> None:
        self.path = path
        self._file = file
        self._lock = threading.Lock()
        self._native: NativeModel | None = None
        self._tokenizer: BytesTokenizer | TextTokenizer | None = None

    name = property(lambda self: str(self._file.description["name"]))
    origin = property(lambda self: str(self._file.description["origin"]))
    sha256 = property(lambda self: self._file.sha256)
    size = property(lambda self: self._file.size)
    arithmetic = property(lambda self: int(self._file.description["arithmetic"]))

    @functools.cached_property
    def tokenizer_sha256(self) -> bytes:
        """SHA-256 of the token table."""
        return self._file.tokenizer_sha256

    @functools.cached_property
    def tokens(self) -> list[bytes]:
        """The vocabulary in id order, which is the order of the tokens' bytes."""
        count = self.config.vocab + 1
        offsets = struct.unpack(f"<{count}I", self._tensor("tokens.offsets", 4 * count))
        data = self._file.tensors["tokens.bytes"][2].tobytes()
        return [data[a:b] for a, b in itertools.pairwise(offsets)]

    def _tensor(self, name: str, size: int) -> memoryview:
        data = self._file.tensors[name][2]
        if len(data) != size:
            raise ModelError(f"{self.path}: bad model: tensor {name} has the wrong size")
        return data

    @functools.cached_property
    def start(self) -> int:
        """Id of the token that starts every stream and document: the one after the vocabulary, or the byte 0x00."""
        c = self.config
        return c.vocab if c.embed_rows == c.vocab + 1 else self.token_id(b"\0")

    def token_id(self, token: bytes) -> int:
        """Id of a token by its bytes."""
        at = bisect_left(self.tokens, token)
        if at == len(self.tokens) or self.tokens[at] != token:
            raise ModelError(f"{self.path}: bad model: not every single byte is a token")
        return at

    @property
    def config(self) -> ModelConfig:
        """The model's shape."""
        return self._file.config

    @property
    def description(self) -> dict[str, Any]:
        """The file's own description."""
        return self._file.description

    @property
    def native(self) -> NativeModel:
        """The packed model.

        Raises:
            ModelError: the file's tensors are not what its config says, or its arithmetic version is another one.
        """
        with self._lock:
            if self._native is None:
                self._native = self._pack()
            return self._native

    def _pack(self) -> NativeModel:
        from zllm import _native

        d = self._file.description
        if d["arithmetic"] != _native.ARITHMETIC_VERSION:
            raise ModelError(
                f"model {self.name!r} is for arithmetic version {d['arithmetic']},"
                f" this program computes version {_native.ARITHMETIC_VERSION}: use a model made for it"
            )
        tensors = self._file.tensors
        if sys.byteorder == "big":
            tensors = {name: _swap(tensor) for name, tensor in tensors.items()}
        try:
            return _native.Model(d["config"], d["layers"], d["exponents"], tensors)
        except ModelError as exc:
            raise ModelError(f"{self.path}: {exc}") from exc

    @property
    def tokenizer(self) -> BytesTokenizer | TextTokenizer:
        """The encoder's tokenizer.

        Raises:
            ModelError: it does not have the tokens that the file's table has.
        """
        from zllm.models.texttokenizer import TextTokenizer
        from zllm.models.tokenizer import BytesTokenizer

        with self._lock:
            if self._tokenizer is None:
                text = self._file.tensors["tokenizer.json"][2].tobytes().decode("utf-8", "replace")
                kind = (self.description.get("tokenizer") or {}).get("kind", "latin1")
                try:
                    tokenizer = BytesTokenizer(text) if kind == "latin1" else TextTokenizer(text, kind)
                except ZllmError:
                    raise
                except Exception as exc:  # the library has no class of its own for its errors
                    raise ModelError(f"{self.path}: bad model: its tokenizer cannot be read: {exc}") from exc
                if tokenizer.tokens != self.tokens:
                    raise ModelError(f"{self.path}: bad model: tokenizer.json and the token table differ")
                self._tokenizer = tokenizer
            return self._tokenizer

    @functools.cached_property
    def known_answer(self) -> bytes:
        """SHA-256 of the prefix sums (little-endian u64) that the model gives on a fixed text, byte by byte."""
        ids = [self.start, *(self.token_id(bytes([b])) for b in KNOWN_ANSWER_TEXT)]
        _, sums = self.native.evaluate(ids)
        if sys.byteorder == "big":
            sums.byteswap()
        return hashlib.sha256(sums.tobytes()).digest()


def _swap(tensor: zlm.Tensor) -> zlm.Tensor:
    """Model files are little-endian; C wants its own order."""
    dtype, shape, data = tensor
    if dtype in ("I8", "U8"):
        return tensor
    values = array("H" if dtype == "I16" else "I", data.tobytes())  # U32 and I32 alike
    values.byteswap()
    return dtype, shape, memoryview(values.tobytes())


def home() -> Path:
    """The user's folder: ``$ZLLM_HOME``, else ``zllm`` below the cache folder."""
    if os.environ.get("ZLLM_HOME"):
        return Path(os.environ["ZLLM_HOME"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zllm"


@functools.lru_cache(maxsize=8)
def _load(path: Path, stamp: tuple[int, int]) -> Model:
    return Model(path, zlm.read(path))


def load(path: Path) -> Model:
    """The model in a file; asked twice for the same file, the same object.

    Raises:
        ModelError: it is no proper model file.
        OSError: it cannot be read.
    """
    info = path.stat()
    return _load(path.resolve(), (info.st_mtime_ns, info.st_size))


def paths() -> Iterator[Path]:
    """Every model file at hand, the built-in ones first."""
    for folder in (DATA_FOLDER, home() / "models"):
        if folder.is_dir():
            yield from sorted(folder.glob("*.zlm"))


def installed() -> Iterator[Model]:
    """Every readable model at hand; files that are no proper models are passed over."""
    for path in paths():
        try:
            yield load(path)
        except (ModelError, OSError):
            continue


def resolve(name: str | Path | None = None) -> Model:
    """The model of that name, or in that file; None is the default model.

    Raises:
        MissingModelError: there is none.
        ModelError: the file is no proper model.
    """
    wanted = str(name) if name is not None else os.environ.get("ZLLM_MODEL") or DEFAULT_NAME
    if wanted.endswith(".zlm") or os.sep in wanted:
        try:
            return load(Path(wanted))
        except OSError as exc:
            raise ModelError(f"cannot read the model file {wanted}: {exc.strerror}") from exc
    for model in installed():
        if model.name == wanted:
            return model
    raise MissingModelError(wanted, "", 0)


def find(sha256: bytes, name: str = "?", size: int = 0, extra: str | Path | None = None) -> Model:
    """The model with that hash, wherever it is; ``extra`` is a name or file the user gave.

    Raises:
        MissingModelError: it is not here (or what the user gave is another one).
        ModelError: the file that the user gave is no proper model.
    """
    why = "not installed"
    if extra is not None:
        given = resolve(extra)
        if given.sha256 == sha256:
            return given
        why = f"not the one given ({given.name!r}, sha256 {given.sha256.hex()})"
    for model in installed():
        if model.sha256 == sha256:
            return model
    raise MissingModelError(name, sha256.hex(), size, why=why)
