"""Where a model comes from: a folder in Hugging Face layout, or a repository of the hub. Never remote code."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zllm.errors import MissingDependencyError, ModelError
from zllm.models.importing import vocabulary
from zllm.models.importing.canonical import Family
from zllm.models.importing.config import Config, read_json
from zllm.models.importing.weights import Tensors, Weights, shards
from zllm.models.library import line

INSTALL = "pip install 'zllm[hf]'"
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt",
)  # fmt: skip
WANTED = ("config.json", *TOKENIZER_FILES, "*.safetensors", "*.safetensors.index.json")
IGNORED = ("*/*", "consolidated*")  # other forms of the same weights
# By ``model_type``: what its config calls the network with a head, and who reads it.
SUPPORTED = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "gpt_neox": "GPTNeoXForCausalLM",
}
STARTS = {"llama": 1, "gpt2": 50256, "gpt_neox": 0}  # tokens that texts start with, where a config does not say
_NAMES = "Llama (SmolLM2, TinyLlama), Qwen2, Qwen3, GPT-2 and GPT-NeoX (Pythia)"


@dataclass(frozen=True)
class Source:
    """A checkpoint on disk. ``name`` is the repository's or the folder's; ``revision`` a commit of the hub."""

    folder: Path
    name: str
    config: Config
    raw: dict[str, Any] = field(repr=False)
    revision: str = ""

    def files(self) -> list[Path]:
        """Every file that is read."""
        small = [self.folder / name for name in ("config.json", *TOKENIZER_FILES)]
        return [path for path in small if path.is_file()] + shards(self.folder)

    @property
    def origin(self) -> str:
        """For the description: ``org/name@revision``."""
        return f"{self.name}@{self.revision}" if self.revision else self.name

    @property
    def model_type(self) -> str:
        """The family."""
        return str(self.raw["model_type"])

    def family(self) -> Family:
        """The checkpoint as the canonical network.

        Raises:
            ModelError: it has something that the network cannot have.
        """
        from zllm.models.importing import gpt2, llama, neox, qwen2, qwen3

        kinds: dict[str, tuple[Callable[[Config, Tensors], Family], tuple[str, ...]]] = {
            "llama": (llama.Llama, llama.PREFIXES),
            "qwen2": (qwen2.Qwen2, llama.PREFIXES),
            "qwen3": (qwen3.Qwen3, llama.PREFIXES),
            "gpt2": (gpt2.Gpt2, gpt2.PREFIXES),
            "gpt_neox": (neox.NeoX, neox.PREFIXES),
        }
        make, prefixes = kinds[self.model_type]
        family = make(self.config, self.weights(prefixes))
        check_shape(family, self.folder)
        return family

    def weights(self, prefixes: Sequence[str]) -> Tensors:
        """Its tensors, by names with or without one of the ``prefixes``."""
        return Weights(self.folder, prefixes)

    def tokenizer(self) -> dict[str, Any]:
        """What is in tokenizer.json, or would be.

        Raises:
            ModelError: there is no tokenizer, or none that can be read.
        """
        return vocabulary.tokenizer_of(self.folder)

    def record(self, progress: Callable[[int], None]) -> dict[str, Any]:
        """What the model's description says of its source; ``progress`` hears of every byte that is hashed."""
        files = {path.name: _sha256(path, progress) for path in self.files()}
        return {"name": self.name, "revision": self.revision, "files": files}


def open_source(wanted: str, revision: str | None = None) -> Source:
    """The checkpoint in the folder ``wanted`` or, if there is none, in the hub's repository of that name.

    Raises:
        ModelError: there is no such thing, or its architecture is not supported.
        MissingDependencyError: transformers is not installed.
    """
    folder = Path(wanted)
    if folder.is_dir():
        if revision is not None:
            raise ModelError(f"{wanted} is a folder: --revision is for repositories of the hub")
        name, commit = folder.resolve().name, ""
    else:
        folder = download(wanted, revision)
        name, commit = wanted, folder.name
    raw = _read_config(folder)
    return Source(folder, name, Config(folder / "config.json", raw), raw, commit)


def download(wanted: str, revision: str | None) -> Path:
    """A snapshot of config, tokenizer and safetensors of a repository, in the hub's own cache."""
    if wanted.count("/") > 1 or wanted.startswith(("/", ".")):
        raise ModelError(f"{wanted}: no such folder")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as exc:
        raise MissingDependencyError("huggingface_hub", INSTALL, "importing a model") from exc
    try:
        path = snapshot_download(wanted, revision=revision, allow_patterns=list(WANTED), ignore_patterns=list(IGNORED))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as exc:
        why = line(exc)
        raise ModelError(f"{wanted} is not a folder, and getting it from the hub failed: {why}") from exc
    return Path(path)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        raw = read_json(path, "a config")
    except FileNotFoundError as exc:
        raise ModelError(f"{folder}: no model in Hugging Face layout: config.json is missing") from exc
    kind, names = raw.get("model_type"), raw.get("architectures") or []
    known = SUPPORTED.get(kind) if isinstance(kind, str) else None
    if known is None or not isinstance(names, list) or any(name != known for name in names):
        what = ", ".join(map(str, names)) if names and isinstance(names, list) else repr(names)
        raise ModelError(
            f"{folder}: the architecture {what[:99]} of model_type {kind!r:.60} is not supported: only {_NAMES}"
        )
    if raw.get("quantization_config") or raw.get("compression_config"):
        raise ModelError(f"{folder}: its weights are quantised: import the weights before they were")
    return raw


def check_shape(family: Family, folder: Path) -> None:
    """Refuse shapes that the integer network cannot have (``docs/arithmetic.md``, section 3).

    Raises:
        ModelError: one of them.
    """
    s = family.shape
    at = f"{folder}: "
    for name, value in (("width", s.dim), ("feed-forward width", s.ffn), ("width of all heads", s.heads * s.head_dim)):
        if value % 32 or not 32 <= value <= 16384:
            raise ModelError(f"{at}a {name} of {value} is not supported: it must be a multiple of 32, up to 16384")
    if s.head_dim % 32 or not 32 <= s.head_dim <= 256:
        raise ModelError(f"{at}heads of {s.head_dim} elements are not supported: only multiples of 32, up to 256")
    if s.heads % s.kv_heads or s.heads > 256 or not 1 <= s.layers <= 256:
        raise ModelError(f"{at}{s.layers} layers of {s.heads} heads, {s.kv_heads} of keys, are not supported")
    if s.longest < 32:
        raise ModelError(f"{at}a context of {s.longest} tokens is not supported: it must be 32 or more")


def _sha256(path: Path, progress: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            progress(len(block))
    return digest.hexdigest()
