"""Run by test_network_family.py with a zllm whose core has the family ``fading``: its models code like any other.

    python fading_check.py FOLDER

Prints ``ok`` at the end.
"""

from __future__ import annotations

import random
import struct
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import reference
from models import tiny
from native.jobs import in_team, together

from zllm import _native as native
from zllm._native import ARITHMETIC_VERSION, modelfile
from zllm.codecs.base import Run
from zllm.codecs.llm import LlmCodec
from zllm.errors import ModelError
from zllm.models import store, zlm

VOCAB, DIM = 300, 64
TEXT = b"the thing in the inn is thinner than the other thing; \xff\x00 and so on. " * 40


def tensors_of() -> tuple[dict[str, Any], dict[str, zlm.Tensor]]:
    """A model of random numbers."""
    rng = random.Random(5)
    _, out = tiny.tensors_of(vocab=VOCAB, dim=DIM, layers=1)
    out = {name: out[name] for name in ("tokens.bytes", "tokens.offsets", "tokenizer.json", "head.q", "head.scale")}
    embed = [rng.randint(-127, 127) for _ in range(VOCAB * DIM)]
    out["embed.q"] = "I8", (VOCAB, DIM), memoryview(struct.pack(f"<{len(embed)}b", *embed))
    description = {
        "format": zlm.FORMAT, "name": "fading", "origin": "a test", "arithmetic": ARITHMETIC_VERSION,
        "config": {"family": "fading", "vocab": VOCAB, "dim": DIM}, "exponents": {"head": 23}, "layers": [],
    }  # fmt: skip
    return description, out


def expected(file: zlm.ModelFile, ids: list[int]) -> list[int]:
    """Logits after each token, from the description in the C file."""
    rows = struct.unpack(f"<{VOCAB * DIM}b", file.tensors["head.q"][2])
    embed = struct.unpack(f"<{VOCAB * DIM}b", file.tensors["embed.q"][2])
    scales = struct.unpack(f"<{VOCAB}h", file.tensors["head.scale"][2])
    head = reference.Matrix([list(rows[i * DIM : (i + 1) * DIM]) for i in range(VOCAB)], list(scales), 23, None, 0)
    state, out = [0] * DIM, []
    for token in ids:
        state = [s - (s >> 2) + 32 * e for s, e in zip(state, embed[token * DIM : (token + 1) * DIM], strict=True)]
        out += head(state, None, 16)
    return out


def check_numbers(model: store.Model, core: native.Model) -> None:
    """The integers are the reference's, and coded bytes do not depend on lanes, threads or teams."""
    ids = [model.start, *(random.Random(1).randrange(VOCAB) for _ in range(30))]
    assert list(core.evaluate(ids)[0]) == expected(model.file, ids)
    tokens = model.tokenizer.encode(TEXT)
    parts = [tokens[i::5] for i in range(5)]
    sizes = [sum(core.token_lengths[t] for t in part) for part in parts]
    texts = b"".join(model.tokens[t] for part in parts for t in part)
    streams = list(zip(parts, sizes, strict=True))
    codes = {
        together(core.encoder(streams, model.start, threads), lanes) for threads in (1, 2, 3) for lanes in (1, 7, 64)
    }
    (code,) = codes
    places = [(size, ()) for size in sizes]
    for threads in (1, 2, 3):
        for lanes in (1, 3, 64):
            assert together(core.decoder(code, places, model.start, threads), lanes) == texts
        jobs = [core.decoder(code, places, model.start) for _ in range(2)]
        assert in_team(jobs, threads, 16) == [texts, texts]


def main() -> None:
    """All checks."""
    path = Path(sys.argv[1]) / "fading.zlm"
    description, tensors = tensors_of()
    zlm.write(path, description, tensors)
    assert [row.name for row in modelfile.schema("fading") if row.part == "config"] == ["vocab", "dim"]
    model = store.load(path)
    for kernel in native.usable_kernels():
        check_numbers(model, native.Model(description, tensors, kernel))
    codec = LlmCodec(model)
    (coded,) = codec.encode_batch([(TEXT, [1000])], Run(threads=2))
    assert codec.decode_batch([(coded, len(TEXT), [1000])], Run(threads=3)) == [TEXT]
    for bad in ({"dim": 33}, {"heads": 4}, {"family": "faded"}):
        try:
            native.Model({**description, "config": {**description["config"], **bad}}, tensors)
        except ModelError:
            continue
        raise AssertionError(f"{bad} was not refused")
    print("ok")


main()
