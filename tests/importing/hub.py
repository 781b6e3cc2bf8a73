"""Small models in Hugging Face layout, made by transformers' own classes, with the habits of real ones."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

FAMILIES = ("llama", "llama3", "qwen2", "qwen3", "gpt2", "neox")
OUTLIER = 20.0
KEY_BIAS = 30.0


@lru_cache(maxsize=1)
def text() -> str:
    """Text to train on: sources of Python's library, which do not change when this project does, nor do losses."""
    paths = [Path(os.__file__).parent / f"{name}.py" for name in ("argparse", "tarfile", "subprocess", "textwrap")]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def _lines() -> list[str]:
    return text().splitlines(keepends=True)


@lru_cache(maxsize=4)
def byte_level(vocab: int = 700, start: str = "<|endoftext|>") -> str:
    """A tokenizer.json like GPT-2's."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.normalizer = normalizers.NFC()
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=[start], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    tok.train_from_iterator(_lines(), trainer)
    return str(tok.to_str())


@lru_cache(maxsize=4)
def sentence_piece(vocab: int = 700) -> str:
    """A tokenizer.json like Llama 2's: BPE over characters, spaces as U+2581, bytes for the rest."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    trainer = trainers.BpeTrainer(vocab_size=vocab - 259, show_progress=False)
    tok.train_from_iterator([line.rstrip("\n") for line in _lines()], trainer)
    trained = json.loads(tok.to_str())["model"]
    names = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *trained["vocab"]]
    model = {**trained, "vocab": {name: i for i, name in enumerate(names)}, "byte_fallback": True, "fuse_unk": True,
             "unk_token": "<unk>"}  # fmt: skip
    prefix = [{"type": "Prepend", "prepend": "\u2581"},
              {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]  # fmt: skip
    added = [{"id": i, "content": names[i], "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True} for i in range(3)]  # fmt: skip
    return json.dumps({"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
                       "normalizer": {"type": "Sequence", "normalizers": prefix}, "pre_tokenizer": None,
                       "post_processor": None, "decoder": None, "model": model})  # fmt: skip


def config(family: str, vocab: int) -> Any:
    """A tiny config of each family, with what sets it apart."""
    t = transformers
    same: dict[str, Any] = {"vocab_size": vocab, "hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
                            "intermediate_size": 192, "max_position_embeddings": 512, "head_dim": 32,
                            "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 64, "rope_theta": 500000.0}  # fmt: skip
    byte_level_start = {"bos_token_id": 0, "eos_token_id": 0}
    if family == "llama":
        return t.LlamaConfig(**same, num_key_value_heads=2, tie_word_embeddings=False)
    if family == "llama3":
        return t.LlamaConfig(**{**same, **byte_level_start}, num_key_value_heads=2, tie_word_embeddings=True,
                             rope_theta=500000.0, rope_scaling=llama3)  # fmt: skip
    if family == "qwen2":
        del same["head_dim"]
        return t.Qwen2Config(**{**same, **byte_level_start, "hidden_size": 128}, num_key_value_heads=2,
                             tie_word_embeddings=True)  # fmt: skip
    if family == "qwen3":
        return t.Qwen3Config(**{**same, **byte_level_start}, num_key_value_heads=2, tie_word_embeddings=True)
    if family == "gpt2":
        return t.GPT2Config(vocab_size=vocab, n_embd=96, n_layer=3, n_head=3, n_positions=128, bos_token_id=0,
                            eos_token_id=0)  # fmt: skip
    return t.GPTNeoXConfig(**{**same, **byte_level_start, "head_dim": None, "hidden_size": 128}, rotary_pct=0.25,
                           tie_word_embeddings=False)  # fmt: skip


def tokenizer(family: str) -> str:
    """The tokenizer.json of a family."""
    return sentence_piece() if family == "llama" else byte_level()


def fresh(family: str, seed: int = 1) -> Any:
    """A network as its family starts training."""
    torch.manual_seed(seed)
    vocab = len(Tokenizer.from_str(tokenizer(family)).get_vocab())
    return transformers.AutoModelForCausalLM.from_config(config(family, vocab + 4)).float().eval()


@torch.no_grad()
def season(model: Any, seed: int = 1) -> Any:
    """Give random weights what trained ones have: gains and biases, outlier channels, keys with large biases."""
    generator = torch.Generator().manual_seed(seed)
    head_dim = 32

    def noise(tensor: torch.Tensor, size: float) -> torch.Tensor:
        return torch.randn(tensor.shape, generator=generator) * size

    for name, p in model.named_parameters():
        if p.ndim == 1 and name.endswith("weight"):
            p.copy_(1 + noise(p, 0.2))
            if "norm" in name and p.numel() == head_dim:
                p[3] = p[3 + head_dim // 2] = 4.0
        elif p.ndim == 1:
            p.copy_(noise(p, 0.1))
            if "k_proj" in name:
                p[5] = p[5 + head_dim // 2] = KEY_BIAS
        elif any(part in name for part in ("embed", "wte", "wpe", "lm_head")):
            p.copy_(noise(p, 0.1))
        else:
            cols = p.shape[0] if "c_" in name else p.shape[1]
            p.copy_(noise(p, 1.2 / cols**0.5))
            if any(part in name for part in ("down_proj", "mlp.c_proj", "4h_to_h")):
                channels = p.T if "c_proj" in name else p
                channels[7] *= OUTLIER
                channels[40] *= OUTLIER
    return model


def save(model: Any, folder: Path, family: str, **how: Any) -> Path:
    """The model's folder: config.json, safetensors, tokenizer.json."""
    model.save_pretrained(folder, **how)
    (folder / "tokenizer.json").write_text(tokenizer(family), encoding="utf-8")
    return folder


def train(model: Any, family: str, steps: int = 300, rows: int = 8, length: int = 96) -> Any:
    """A little training on :func:`text`, so that losses mean something."""
    torch.manual_seed(1)
    ids = torch.tensor(Tokenizer.from_str(tokenizer(family)).encode(text(), add_special_tokens=False).ids)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.01)
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 20, 2 * (steps - step) / steps)
        at = torch.randint(len(ids) - length, (rows,))
        batch = torch.stack([ids[i : i + length] for i in at.tolist()])
        batch[:, 0] = model.config.bos_token_id
        loss = model(batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()
