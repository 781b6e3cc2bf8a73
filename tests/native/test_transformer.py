"""The C core against the reference implementation and against itself, with ==."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import reference
import reference_predictor
from models import tiny
from native.jobs import together

from zllm import _native as native
from zllm.errors import DamagedError, KernelError, ModelError, UsageError
from zllm.models import zlm
from zllm.models.store import Model, load

KERNELS = native.usable_kernels()


def packed(file: zlm.ModelFile, kernel: str | None = None) -> native.Model:
    return native.Model(file.description, file.tensors, kernel)


@pytest.fixture(scope="module", params=["random", "extreme", "one head", "wide"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    kinds = {
        "random": {},
        "extreme": {"extreme": True},
        "one head": {"heads": 1, "kv_heads": 1, "layers": 1, "head_dim": 64, "dim": 32},
        "wide": {"heads": 2, "kv_heads": 1, "layers": 1, "vocab": 333, "ffn": 160, "window": 64, "head_dim": 96},
    }
    return load(tiny.write(tmp_path_factory.mktemp("m") / "m.zlm", seed=3, **kinds[request.param]))


def text_ids(model: Model, count: int, seed: int = 5) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(model.config.vocab) for _ in range(count)]


@pytest.mark.parametrize("kernel", KERNELS)
def test_logits_equal_reference(model: Model, kernel: str) -> None:
    file = zlm.read(model.path)
    ids = text_ids(model, 70)  # more than a window
    logits, sums = packed(file, kernel).evaluate(ids)
    oracle = reference.Reference(file)
    vocab = model.config.vocab
    for i, token in enumerate(ids):
        row = oracle.feed(token)
        assert list(logits[i * vocab : (i + 1) * vocab]) == row
        total = 0
        for v, logit in enumerate(row):
            assert sums[i * (vocab + 1) + v] == total
            total += reference.weight(max(row) - logit)
        assert sums[i * (vocab + 1) + vocab] == total


@pytest.mark.parametrize("kernel", KERNELS)
def test_code_string_equals_reference(model: Model, kernel: str) -> None:
    file = zlm.read(model.path)
    ids = text_ids(model, 40, seed=8)
    coded = packed(file, kernel).encode([ids], model.start)[0]
    assert coded == reference.encode(file, model.tokens, [ids], model.start, reference_predictor.with_model)


def test_lanes_and_order_change_nothing(model: Model) -> None:
    lengths = [0, 1, 2, 3, 50, 7, 90, 33, 64, 65, 5, 0, 12]
    streams = [text_ids(model, n, seed=n) for n in lengths]
    core = model.native
    expected = [core.encode([s], model.start, lanes=1)[0] for s in streams]
    for lanes in (1, 2, 3, 8, 13, 64):
        assert core.encode(streams, model.start, lanes=lanes) == expected
        assert core.encode(streams[::-1], model.start, lanes=lanes) == expected[::-1]
    texts = [b"".join(model.tokens[i] for i in s) for s in streams]
    for kernel in KERNELS:
        other = packed(zlm.read(model.path), kernel)
        assert other.encode(streams, model.start, lanes=5) == expected
        jobs = [(code, len(text), ()) for code, text in zip(expected, texts, strict=True)]
        assert other.decode(jobs, model.start, lanes=4) == texts


def test_long_streams_equal_reference(tmp_path: Path) -> None:
    """Longer than cache and window together, so that the cache is moved on: in bulk, step by step, in every kernel."""
    path = tiny.write(tmp_path / "m.zlm", seed=4, layers=1, dim=32, heads=2, kv_heads=1, ffn=32)
    model = load(path)
    ids = text_ids(model, 420, seed=9)
    expected = reference.encode(zlm.read(path), model.tokens, [ids], model.start, reference_predictor.with_model)
    text = b"".join(model.tokens[i] for i in ids)
    for kernel in KERNELS:
        core = packed(zlm.read(path), kernel)
        for lanes in (1, 3, 16, 63, 64, 256):
            assert core.encode([ids], model.start, lanes=lanes) == [expected]
        assert core.decode([(expected, len(text), ())] * 3, model.start, lanes=2) == [text] * 3


def test_stages_are_timed(model: Model) -> None:
    streams = [text_ids(model, 300)]
    stages = native.Stages()
    coded = model.native.encode(streams, model.start, stages=stages)
    encoding = stages.seconds()
    assert all(seconds > 0 for seconds in encoding.values())
    text = b"".join(model.tokens[i] for i in streams[0])
    model.native.decode([(coded[0], len(text), ())], model.start, stages=stages)
    # Decoding asks for probabilities when they are coded with: its walk is part of the mixer's time.
    assert {name for name, seconds in stages.seconds().items() if seconds == encoding[name]} == {"walk"}


def frame_of(model: Model, lengths: Sequence[int]) -> tuple[list[tuple[list[int], int]], bytes, list[int]]:
    """Streams of so many tokens with the bytes of their text, the text, and where each stream has it cut."""
    streams, text, boundaries = [], b"", []
    for seed, length in enumerate(lengths):
        ids = text_ids(model, length, seed)
        part = b"".join(model.tokens[i] for i in ids)
        cut = length // 3 if seed % 2 else 0  # every other stream has two documents
        boundaries.append(len(b"".join(model.tokens[i] for i in ids[:cut])))
        streams.append((ids[:cut] + [model.start | native.GIVEN] * (cut > 0) + ids[cut:], len(part)))
        text += part
    return streams, text, boundaries


@pytest.mark.parametrize(
    "lengths",
    [[1], [70], [200, 1], [1, 200], [5, 5, 5], [64, 65, 63, 128, 1, 2], [3] * 40, [300, 2, 90, 1, 1, 150, 7, 30]],
    ids=str,
)
def test_threads_that_share_a_frame_change_nothing(model: Model, lengths: list[int]) -> None:
    """Streams of unequal length: threads run out of them at different times."""
    streams, text, boundaries = frame_of(model, lengths)
    expected = together(model.native.encoder(streams, model.start), 64)
    sizes = [(size, [cut] if cut else []) for (_, size), cut in zip(streams, boundaries, strict=True)]
    for kernel in KERNELS:
        core = packed(zlm.read(model.path), kernel)
        for threads, lanes in ((1, 1), (2, 5), (3, 64), (len(lengths), 3), (7, 2)):
            assert together(core.encoder(streams, model.start, threads), lanes) == expected
            assert together(core.decoder(expected, sizes, model.start, threads), lanes) == text


def test_a_frame_is_one_code_string(model: Model) -> None:
    """Streams share what is learnt: together they take less than apart, where they say the same."""
    ids = text_ids(model, 100)
    size = len(b"".join(model.tokens[i] for i in ids))
    apart = len(model.native.encode([ids], model.start)[0])
    assert len(together(model.native.encoder([(ids, size)] * 4, model.start), 64)) < 3 * apart


def test_too_little_room(model: Model) -> None:
    streams, _, _ = frame_of(model, [40, 50, 60])
    whole = together(model.native.encoder(streams, model.start), 64)
    assert together(model.native.encoder(streams, model.start, room=len(whole)), 64) == whole
    for room in (16, len(whole) - 1):
        with pytest.raises(native.RoomError):
            native.work([model.native.encoder(streams, model.start, room=room)], 0)


def test_cancelled_threads_end_together(model: Model) -> None:
    """Also if some of them never come."""
    streams, text, boundaries = frame_of(model, [300, 300, 300])
    sizes = [(size, [cut] if cut else []) for (_, size), cut in zip(streams, boundaries, strict=True)]
    for job in (model.native.encoder(streams, model.start, 3), model.native.decoder(text, sizes, model.start, 3)):
        flag, seen = native.Cancel(), []

        def one(number: int, job: native.Job = job, flag: native.Cancel = flag, seen: list[int] = seen) -> None:
            try:
                native.work([job], number, cancel=flag)
            except KeyboardInterrupt:
                seen.append(number)

        threads = [threading.Thread(target=one, args=(number,)) for number in (0, 2)]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        flag.set()
        for thread in threads:
            thread.join(20)
        assert sorted(seen) == [0, 2]


def test_bad_frames(model: Model) -> None:
    core, ids = model.native, text_ids(model, 5)
    size = len(b"".join(model.tokens[i] for i in ids))
    for streams in (
        [],
        [(ids, size + 1)],
        [(ids, size), ([], 0)],
        [([model.start | native.GIVEN], 0)],
        [(ids, size)] * 257,
    ):
        with pytest.raises(UsageError):
            core.encoder(streams, model.start)
    with pytest.raises(UsageError):
        core.encoder([(ids, size)], model.start, threads=257)
    for sizes in ([], [(0, [])], [(5, []), (0, [])], [(5, [5])], [(5, [2, 2])], [(1, [])] * 257):
        with pytest.raises(UsageError):
            core.decoder(b"", sizes, model.start)
    encoder, decoder = core.encoder([(ids, size)], model.start), core.decoder(b"", [(5, [])], model.start)
    shared = core.encoder([(ids, size)] * 2, model.start, threads=2)
    elsewhere = core.encoder([(ids, size)], model.start, threads=0)  # its model is not the core's to compute
    for jobs, number in (([encoder], 1), ([encoder, decoder], 0), ([encoder, shared], 0), ([elsewhere], 0)):
        with pytest.raises(UsageError):
            native.work(jobs, number)
    for lanes in (0, 257):
        with pytest.raises(UsageError):
            native.work([encoder], 0, lanes)


def test_documents_are_given_not_coded(model: Model) -> None:
    ids = text_ids(model, 30)
    core = model.native
    whole = core.encode([[*ids[:10], model.start | native.GIVEN, *ids[10:]]], model.start)[0]
    text = b"".join(model.tokens[i] for i in ids)
    cut = len(b"".join(model.tokens[i] for i in ids[:10]))
    assert core.decode([(whole, len(text), [cut])], model.start) == [text]


def test_wrong_data_ends_in_bounds(model: Model) -> None:
    rng = random.Random(1)
    for _ in range(20):
        junk, size = rng.randbytes(rng.randrange(40)), rng.randrange(1, 60)
        try:
            data = model.native.decode([(junk, size, [])], model.start)[0]
        except DamagedError:
            continue
        assert len(data) == size


def test_bad_arguments(model: Model) -> None:
    core = model.native
    with pytest.raises(UsageError):
        core.encode([[model.config.vocab]], model.start)
    with pytest.raises(UsageError):
        core.encode([[1]], model.config.vocab)
    with pytest.raises(UsageError):
        core.encode([[1]], model.start, lanes=0)
    for boundaries in ([0], [5, 5], [10], [7, 3]):
        with pytest.raises(UsageError):
            core.decode([(b"", 10, boundaries)], model.start)


def test_cancel(model: Model) -> None:
    flag = native.Cancel()
    flag.set()
    with pytest.raises(KeyboardInterrupt):
        model.native.encode([[1, 2, 3]], model.start, cancel=flag)


@pytest.mark.parametrize(
    ("name", "words"),
    [("sse9", "unknown kernel"), ("neon", "not built"), ("avx512vnni", "cannot run it")],
)
def test_demanded_kernel(name: str, words: str, tmp_path: Path) -> None:
    if native.kernel_state(name) == "usable":
        file = zlm.read(tiny.write(tmp_path / "m.zlm"))
        assert packed(file, name).kernel == name
        return
    if native.kernel_state(name) == "not built":
        words = "not built"
    with pytest.raises(KernelError, match=words):
        packed(zlm.read(tiny.write(tmp_path / "m.zlm")), name)


def test_kernel_by_environment(tmp_path: Path) -> None:
    path = tiny.write(tmp_path / "m.zlm")
    code = f"from zllm.models.store import load; import pathlib; print(load(pathlib.Path({str(path)!r})).native.kernel)"
    for kernel in KERNELS:
        run = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "ZLLM_KERNEL": kernel}, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        assert run.stdout.strip() == kernel, run.stderr


def _bad(description: dict, tensors: dict, change: str) -> None:
    q = bytearray(tensors["layers.0.o.q"][2])
    if change == "minus 128":
        q[7] = 0x80
        tensors["layers.0.o.q"] = (*tensors["layers.0.o.q"][:2], memoryview(bytes(q)))
    elif change == "scale 0":
        tensors["embed.scale"] = (*tensors["embed.scale"][:2], memoryview(bytes(len(tensors["embed.scale"][2]))))
    elif change == "negative scale":
        scale = bytearray(tensors["head.scale"][2])
        scale[1] = 0xFF
        tensors["head.scale"] = (*tensors["head.scale"][:2], memoryview(bytes(scale)))
    elif change == "missing tensor":
        del tensors["layers.1.down.q"]
    elif change == "shape":
        dtype, (rows, cols), data = tensors["layers.0.qkv.q"]
        tensors["layers.0.qkv.q"] = dtype, (rows // 2, cols * 2), data
    elif change == "unsorted tokens":
        data = bytearray(tensors["tokens.bytes"][2])
        data[0], data[1] = data[1], data[0]
        tensors["tokens.bytes"] = (*tensors["tokens.bytes"][:2], memoryview(bytes(data)))
    elif change == "offsets":
        data = bytearray(tensors["tokens.offsets"][2])
        data[8:12] = b"\xff\xff\xff\x7f"
        tensors["tokens.offsets"] = (*tensors["tokens.offsets"][:2], memoryview(bytes(data)))
    elif change == "exponent":
        description["exponents"]["layers.0.o"] = 1000
    elif change == "layers":
        description["layers"].pop()
    else:
        key, value = change.split("=")
        target = description["config"] if key in description["config"] else description["layers"][0]
        target[key] = int(value)


@pytest.mark.parametrize(
    "change",
    ["minus 128", "scale 0", "negative scale", "missing tensor", "shape", "unsorted tokens", "offsets", "exponent",
     "layers", "window=33", "window=4128", "dim=4294967264", "layers=0", "heads=3", "vocab=299", "head_dim=0",
     "temperature=70000", "v_shift=41", "up_frac=13", "ffn=-1"],
)  # fmt: skip
def test_bad_models_are_refused(change: str, tmp_path: Path) -> None:
    description, tensors = tiny.tensors_of()
    _bad(description, tensors, change)
    path = tmp_path / "bad.zlm"
    zlm.write(path, description, tensors)
    with pytest.raises(ModelError, match="bad model"):
        _ = load(path).native


CYCLES = """
import gc
from models import tiny
from zllm import _native as native
from zllm.errors import ModelError

def once():
    description, tensors = tiny.tensors_of(layers=1, dim=32)
    description["layers"][0]["v_shift"] = 41
    try:
        native.Model(description, tensors)
    except ModelError as error:
        mine = error

for _ in range(10):
    once()
    gc.collect()
"""


def test_a_refused_model_does_not_crash_the_cycle_collector() -> None:
    """It does, if it finds a memoryview of which somebody still has a buffer."""
    path = os.pathsep.join([str(Path(tiny.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", CYCLES], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
