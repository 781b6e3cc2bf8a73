"""Where a model comes from: a folder in Hugging Face layout, or a repository of the hub. Never remote code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zllm.errors import MissingDependencyError, ModelError
from zllm.models.importing.canonical import Family
from zllm.models.importing.weights import Weights, shards

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
_NAMES = "Llama (SmolLM2, TinyLlama), Qwen2, Qwen3, GPT-2 and GPT-NeoX (Pythia)"


@dataclass(frozen=True)
class Source:
    """A checkpoint on disk. ``name`` is the repository's or the folder's; ``revision`` a commit of the hub."""

    folder: Path
    name: str
    config: Any
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

    def family(self) -> Family:
        """The checkpoint as the canonical network.

        Raises:
            ModelError: it has something that the network cannot have.
        """
        from zllm.models.importing import gpt2, llama, neox, qwen2, qwen3

        kinds: dict[str, tuple[Callable[[Any, Weights], Family], tuple[str, ...]]] = {
            "llama": (llama.Llama, llama.PREFIXES),
            "qwen2": (qwen2.Qwen2, llama.PREFIXES),
            "qwen3": (qwen3.Qwen3, llama.PREFIXES),
            "gpt2": (gpt2.Gpt2, gpt2.PREFIXES),
            "gpt_neox": (neox.NeoX, neox.PREFIXES),
        }
        make, prefixes = kinds[self.config.model_type]
        family = make(self.config, Weights(self.folder, prefixes))
        check_shape(family)
        return family

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
    return Source(folder, name, _load_config(folder, raw), raw, commit)


def download(wanted: str, revision: str | None) -> Path:
    """A snapshot of config, tokenizer and safetensors of a repository, in the hub's own cache."""
    if wanted.count("/") > 1 or wanted.startswith(("/", ".")):
        raise ModelError(f"{wanted}: there is no such folder")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as exc:
        raise MissingDependencyError("huggingface_hub", INSTALL, "importing a model") from exc
    try:
        path = snapshot_download(wanted, revision=revision, allow_patterns=list(WANTED), ignore_patterns=list(IGNORED))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as exc:
        why = next(iter(str(exc).strip().splitlines()), type(exc).__name__)
        raise ModelError(f"{wanted} is no folder, and cannot be had from the hub: {why}") from exc
    return Path(path)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ModelError(f"{folder}: no model in Hugging Face layout: config.json is missing") from exc
    except ValueError as exc:
        raise ModelError(f"{path}: not a config: {exc}") from exc
    if not isinstance(raw, dict):
        raise ModelError(f"{path}: not a config: no JSON object")
    kind, names = raw.get("model_type"), raw.get("architectures") or []
    if kind not in SUPPORTED or any(name != SUPPORTED[kind] for name in names):
        what = ", ".join(map(str, names)) or f"model_type {kind!r}"
        raise ModelError(f"{folder}: the architecture {what} is not supported: import knows {_NAMES}")
    if raw.get("quantization_config"):
        raise ModelError(f"{folder}: its weights are quantised: import the weights before they were")
    return raw


def _load_config(folder: Path, raw: dict[str, Any]) -> Any:
    try:
        from huggingface_hub import errors
        from transformers import AutoConfig
        from transformers.utils import logging
    except ImportError as exc:
        raise MissingDependencyError("transformers", INSTALL, "importing a model") from exc
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it is wordy
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, getattr(errors, "StrictDataclassError", ValueError)) as exc:
        raise ModelError(f"{folder}: a config that transformers does not read: {_line(exc)}") from exc


def check_shape(family: Family) -> None:
    """Refuse shapes that the integer network cannot have (``docs/arithmetic.md``, section 3).

    Raises:
        ModelError: one of them.
    """
    s = family.shape
    for name, value in (("width", s.dim), ("feed-forward width", s.ffn), ("width of all heads", s.heads * s.head_dim)):
        if value % 32 or not 32 <= value <= 16384:
            raise ModelError(f"a {name} of {value} is not supported: it must be a multiple of 32, up to 16384")
    if s.head_dim % 32 or not 32 <= s.head_dim <= 256:
        raise ModelError(f"heads of {s.head_dim} elements are not supported: only multiples of 32, up to 256")
    if s.heads % s.kv_heads or s.heads > 256 or not 1 <= s.layers <= 256:
        raise ModelError(f"{s.layers} layers of {s.heads} heads, {s.kv_heads} of keys, are not supported")
    if s.longest < 32:
        raise ModelError(f"a context of {s.longest} tokens is not supported: it must be 32 or more")


def _sha256(path: Path, progress: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            progress(len(block))
    return digest.hexdigest()


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
