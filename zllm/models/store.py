"""Models, and finding them: the built-in ones, those in the user's folder, and files given by path."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import struct
import sys
import threading
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zllm.errors import MissingDependencyError, MissingModelError, ModelError, UsageError
from zllm.models import folder, zlm
from zllm.models.config import ModelConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zllm._native import Model as NativeModel
    from zllm.models.texttokenizer import TextTokenizer
    from zllm.models.tokenizer import BytesTokenizer

DEFAULT_NAME = "default"
DATA_FOLDER = Path(__file__).parent / "data"
BUILT_IN = frozenset(path.stem for path in DATA_FOLDER.glob("*.zlm"))
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
    data = property(lambda self: self._file.data)
    arithmetic = property(lambda self: int(self._file.description["arithmetic"]))

    @functools.cached_property
    def tokenizer_sha256(self) -> bytes:
        """SHA-256 of the token table."""
        return self._file.tokenizer_sha256

    @property
    def vocab(self) -> int:
        """How many tokens there are."""
        vocab = self.description["config"].get("vocab")
        if not isinstance(vocab, int) or not 0 < vocab < 1 << 32:
            raise ModelError(f"{self.path}: bad model config: vocab is missing or out of range")
        return vocab

    @functools.cached_property
    def tokens(self) -> list[bytes]:
        """The vocabulary in id order, which is the order of the tokens' bytes."""
        count = self.vocab + 1
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
        start = self.vocab
        return start if self.description["config"].get("embed_rows") == start + 1 else self.token_id(b"\0")

    def token_id(self, token: bytes) -> int:
        """Id of a token by its bytes."""
        at = bisect_left(self.tokens, token)
        if at == len(self.tokens) or self.tokens[at] != token:
            raise ModelError(f"{self.path}: bad model: not every single byte is a token")
        return at

    @property
    def file(self) -> zlm.ModelFile:
        """What the file has."""
        return self._file

    @property
    def config(self) -> ModelConfig:
        """The shape of a transformer; ModelError of another network."""
        return self._file.config

    @property
    def description(self) -> dict[str, Any]:
        """The file's own description."""
        return self._file.description

    @property
    def tensors(self) -> dict[str, zlm.Tensor]:
        """The file's tensors."""
        return self._file.tensors

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
        try:
            _ = self._file.shape  # with what is for people only, which C does not look at
            return _native.Model(d, self._file.tensors)
        except ModelError as exc:
            raise ModelError(f"{self.path}: {exc}") from exc

    @property
    def tokenizer(self) -> BytesTokenizer | TextTokenizer:
        """The encoder's tokenizer, tried on text of every kind.

        Raises:
            ModelError: it changes text, or does not have the tokens that the file's table has.
            MissingDependencyError: the library that it needs is not installed.
        """
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = self._made_tokenizer()
            return self._tokenizer

    def _made_tokenizer(self) -> BytesTokenizer | TextTokenizer:
        from zllm.models.library import LATIN1
        from zllm.models.texttokenizer import TextTokenizer
        from zllm.models.tokenizer import BytesTokenizer

        kind = str(self.description.get("tokenizer", {}).get("kind", LATIN1))
        try:
            text = self._file.tensors["tokenizer.json"][2].tobytes().decode("utf-8")
            tokenizer = BytesTokenizer(text) if kind == LATIN1 else TextTokenizer(text, kind)
            tokenizer.check()
        except UnicodeDecodeError as exc:
            raise ModelError(f"{self.path}: bad model: its tokenizer is not UTF-8") from exc
        except ModelError as exc:
            raise ModelError(f"{self.path}: bad model: {exc}") from exc
        if tokenizer.tokens != self.tokens:
            raise ModelError(f"{self.path}: bad model: tokenizer.json and the token table differ")
        return tokenizer

    @functools.cached_property
    def known_answer(self) -> bytes:
        """SHA-256 of the prefix sums (little-endian u64) that the model gives on a fixed text, byte by byte."""
        ids = [self.start, *(self.token_id(bytes([b])) for b in KNOWN_ANSWER_TEXT)]
        _, sums = self.native.evaluate(ids)
        if sys.byteorder == "big":
            sums.byteswap()
        return hashlib.sha256(sums.tobytes()).digest()


@dataclass(frozen=True)
class Entry:
    """A model file at hand, as far as its header says. ``problem`` is what is wrong with it, as far as that shows."""

    path: Path
    names: tuple[str, ...]
    size: int
    description: dict[str, Any]
    problem: str = ""

    @property
    def name(self) -> str:
        """The first of its names; empty for an installed file that no name stands for."""
        return self.names[0] if self.names else ""

    @property
    def builtin(self) -> bool:
        """Whether it came with the package."""
        return self.path.parent == DATA_FOLDER

    @property
    def sha256(self) -> str:
        """Hexadecimal; empty for a file that was only copied into the folder, whose hash takes reading it."""
        return load(self.path).sha256.hex() if self.builtin else folder.sha256_of(self.path)


@functools.lru_cache(maxsize=8)
def _load(path: Path, stamp: tuple[int, int, int]) -> Model:
    return Model(path, zlm.read(path))


def load(path: Path) -> Model:
    """The model in a file; asked twice for the same file, the same object.

    Raises:
        ModelError: it is not a valid model file, or not the one that its name in the store says.
        OSError: it cannot be read.
    """
    info = path.stat()
    model = _load(path.resolve(), (info.st_mtime_ns, info.st_size, info.st_ino))
    expected = folder.sha256_of(path)
    if expected and model.sha256.hex() != expected:
        raise ModelError(
            f"{path}: damaged: its content has another hash. Remove it (zllm model remove {expected[:16]}) and install"
            " it again"
        )
    return model


def parse(data: bytes | memoryview, label: Path) -> Model:
    """A model that is not in a file, or not yet; errors call it ``label``.

    Raises:
        ModelError: it is not a valid model.
    """
    return Model(label, zlm.parse(data))


def installed() -> Iterator[Entry]:
    """Every model file at hand, the built-in ones first. Only headers are read."""
    by_hash: dict[str, list[str]] = {}
    for name, what in folder.names().items():
        if what is not None:
            by_hash.setdefault(what.sha256, []).append(name)
    for path in (*sorted(DATA_FOLDER.glob("*.zlm")), *folder.files()):
        sha256 = folder.sha256_of(path)
        try:
            description, size = zlm.describe(path)
            copied = dict.fromkeys((description["name"], path.stem))
            yield Entry(path, tuple(by_hash.get(sha256, ()) if sha256 else copied), size, description)
        except FileNotFoundError:  # removed meanwhile
            continue
        except (ModelError, OSError) as exc:
            size = os.path.getsize(path) if os.access(path, os.R_OK) else 0
            yield Entry(path, tuple(by_hash.get(sha256, ()) if sha256 else (path.stem,)), size, {}, str(exc))


def resolve(name: str | Path | None = None) -> Model:
    """The model of that name, or of a hash that starts so, or in that file; None is the default model.

    Raises:
        MissingModelError: there is none.
        ModelError: the file is not a valid model.
        UsageError: several hashes start so.
    """
    wanted = str(name) if name is not None else os.environ.get("ZLLM_MODEL") or DEFAULT_NAME
    path = locate(wanted)
    try:
        return load(path)
    except FileNotFoundError:
        if _is_path(wanted):
            raise ModelError(f"cannot read the model file {wanted}: no such file") from None
        raise MissingModelError(wanted, "", 0) from None
    except OSError as exc:
        raise ModelError(f"cannot read the model file {path}: {exc.strerror}") from exc


def _is_path(wanted: str) -> bool:
    return wanted.endswith(".zlm") or os.sep in wanted


def locate(wanted: str) -> Path:
    """The file that a name, the start of a hash or a path means. It may have vanished when it is opened.

    Raises:
        MissingModelError: there is none.
        UsageError: several hashes start so.
    """
    if _is_path(wanted):
        return Path(wanted)
    if wanted in BUILT_IN:
        return DATA_FOLDER / f"{wanted}.zlm"
    known = folder.read_name(wanted)
    if known is not None:
        return folder.path_of(known.sha256)
    for entry in installed():
        if wanted in entry.names and not entry.problem:
            return entry.path
    path = folder.by_prefix(wanted)
    if path is None:
        raise MissingModelError(wanted, "", 0, why=_not_here())
    return path


def _not_here() -> str:
    problem = folder.problem()
    return f"not installed, as far as can be seen ({problem})" if problem else "not installed"


def find(sha256: bytes, name: str = "?", size: int = 0, extra: str | Path | None = None) -> Model:
    """The model with that hash, wherever it is; ``extra`` is a name or file the user gave.

    An installed one is found by its name on disk; of other files only those are read that have ``size`` bytes (0: all).

    Raises:
        MissingModelError: it is not here (or what the user gave is another one).
        ModelError: the file that the user gave is not a valid model.
    """
    why = _not_here()
    if extra is not None:
        given = resolve(extra)
        if given.sha256 == sha256:
            return given
        why = f"not the one given ({given.name!r}, sha256 {given.sha256.hex()})"
    for path in _candidates(sha256.hex(), size):
        try:
            model = load(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (ModelError, OSError) as exc:
            if folder.sha256_of(path) and not folder.problem():
                why = f"installed, but cannot be used ({exc})"
            continue
        if model.sha256 == sha256:
            return model
    raise MissingModelError(name, sha256.hex(), size, why=why)


def _candidates(sha256: str, size: int) -> Iterator[Path]:
    """Files that may be the model with that hash, the likeliest first."""
    with contextlib.suppress(UsageError):  # no home folder
        yield folder.path_of(sha256)
    for path in (*sorted(DATA_FOLDER.glob("*.zlm")), *folder.files()):
        with contextlib.suppress(OSError):
            if not folder.sha256_of(path) and size in (0, path.stat().st_size):
                yield path


def add(source: Path | bytes | memoryview, name: str | None = None, *, replace: bool = False) -> Entry:
    """Install a model, given as a file or as its bytes, under ``name`` (default: the name that its description has).

    Adding the same model again is not an error, nor is a second name. Any number of processes may do this at once.

    Raises:
        ModelError: it is not a valid model, or not one that this program can compute with.
        UsageError: the name is not valid, or taken by another model and ``replace`` is false.
        OSError: it cannot be read or written.
    """
    model = Model(source, zlm.read(source)) if isinstance(source, Path) else parse(source, Path("model"))
    with contextlib.suppress(MissingDependencyError):  # who only unpacks needs no tokenizer
        model.tokenizer  # noqa: B018 - made and tried
    name = model.name if name is None else name
    _refuse_builtin(name)
    sha256 = folder.put(model.data, name, model.known_answer.hex(), replace=replace)
    return Entry(folder.path_of(sha256), (name,), model.size, model.description)


def check_free(name: str, *, replace: bool = False) -> None:
    """Refuse early what :func:`add` would refuse: a name that is not valid, or that stands for a model already.

    Raises:
        UsageError: that is so.
    """
    _refuse_builtin(name)
    folder.check_name(name)
    if folder.read_name(name) is not None and not replace:
        raise UsageError(
            f"the name {name!r} stands for a model already: choose another one with --name, or pass --force"
        )


def _refuse_builtin(name: str) -> None:
    if name in BUILT_IN:
        raise UsageError(f"{name!r} is the name of a built-in model: choose another one with --name")
