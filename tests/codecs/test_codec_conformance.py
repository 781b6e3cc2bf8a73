"""What every codec must do; runs over all that are registered."""

import array
import json
import math
import os
import random
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import tiny

from zllm.codecs import registry
from zllm.codecs.base import Run
from zllm.errors import DamagedError, MissingCodecError, UnsupportedVersionError
from zllm.models import store

RANDOM = random.Random(7)
WORDS = ["the", "archive", "of", "a", "model", "reads", "every", "line", "and", "says", "so", "naïve", "数据"]


def _text(size: int) -> bytes:
    rng = random.Random(1)
    words = " ".join(rng.choice(WORDS) + ("." if rng.random() < 0.1 else "") for _ in range(size // 3))
    return words.encode()[:size]


def _kinds(size: int) -> dict[str, bytes]:
    rng = random.Random(2)
    rows = [{"id": i, "name": rng.choice(WORDS), "value": rng.random()} for i in range(size // 50)]
    return {
        "text": _text(size),
        "json": "\n".join(map(json.dumps, rows)).encode()[:size],
        "random": rng.randbytes(size),
        "zeros": bytes(size),
        "floats": array.array("f", [math.sin(i / 9) for i in range(size // 4)]).tobytes(),
        "every byte": bytes(range(256)) * (size // 256),
        "utf-16": _text(size // 2).decode(errors="ignore").encode("utf-16"),
        "crlf": _text(size).replace(b". ", b".\r\n"),
        "invalid utf-8": _text(size).replace(b"t", b"\xff")[:size],
    }


@pytest.fixture(scope="module", params=sorted(registry.names()), ids=registry.name_of)
def codec(request, tmp_path_factory):
    try:
        found = registry.codec_class(request.param)
    except MissingCodecError as exc:
        pytest.skip(str(exc))
    if not found.needs_model:
        return registry.get(request.param)
    # A model that knows nothing, and is fast.
    path = tiny.write(tmp_path_factory.mktemp("model") / "m.zlm", layers=1, dim=32)
    return registry.get(request.param, store.load(path))


@pytest.fixture(scope="module")
def kinds(codec):
    # A model codes tens of KB a second; the others get 200 KB of each kind.
    return _kinds(50_000 if codec.needs_model else 200_000)


def test_identity(codec):
    assert registry.names()[codec.id] == codec.name == registry.name_of(codec.id)
    assert type(codec) is registry.codec_class(codec.id)


def test_round_trip_of_each_kind(codec, kinds):
    for kind, data in kinds.items():
        payload = codec.encode(data)
        assert type(payload) is bytes
        assert codec.decode(payload, len(data)) == data, kind
        # A model may make a mess of what is not text: the planner then takes another codec.
        assert len(payload) < (3 if codec.needs_model else 1.1) * len(data) + 64, kind


@pytest.mark.parametrize("data", [b"", b"\0", b"a", b"\xff", b"ab", bytes(3)])
def test_tiny(codec, data):
    assert codec.decode(codec.encode(data), len(data)) == data


def test_buffers_of_all_types(codec):
    data = b"some bytes, some more bytes, and some bytes more"
    for view in (bytearray(data), memoryview(data), memoryview(b"xx" + data)[2:]):
        payload = codec.encode(view)
        assert codec.decode(bytearray(payload), len(data)) == data
        assert codec.decode(memoryview(payload), len(data)) == data


@given(data=st.binary(max_size=300) | st.text(max_size=200).map(lambda s: s.encode("utf-8", "surrogatepass")))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes(codec, data):
    boundaries = tuple(sorted({len(data) // 3, len(data) // 2} - {0, len(data)}))
    assert codec.decode(codec.encode(data, boundaries), len(data), boundaries) == data


@pytest.mark.parametrize("threads", [1, 2])
def test_batches_equal_single_calls(codec, kinds, threads):
    pieces = [data[: 300 if codec.needs_model else 2000] for data in kinds.values()] + [b""]
    done = []
    payloads = codec.encode_batch([(data, ()) for data in pieces], Run(threads, done.append))
    assert sum(done) == sum(map(len, pieces))
    assert payloads == [codec.encode(data) for data in pieces]
    done.clear()
    items = [(payload, len(data), ()) for payload, data in zip(payloads, pieces, strict=True)]
    assert codec.decode_batch(items, Run(3 - threads, done.append)) == pieces
    assert sum(done) == sum(map(len, pieces))


def test_cancelled_batch_ends(codec):
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(KeyboardInterrupt):
        codec.encode_batch([(b"text" * 100, ())] * 3, Run(2, None, cancelled))


def _damaged(codec, payload: bytes, size: int) -> None:
    """A damaged payload raises, or gives as many bytes as were asked for: the container's checksum does the rest."""
    try:
        data = codec.decode(payload, size)
    except (DamagedError, UnsupportedVersionError):  # its first byte may say that a later program made it
        return
    assert len(data) == size


def test_wrong_size(codec, kinds):
    data = kinds["text"][:4000]
    payload = codec.encode(data)
    for size in (0, 1, len(data) - 1, len(data) + 1, 2 * len(data)):
        _damaged(codec, payload, size)


def test_absurd_size_is_refused_at_once(codec):
    for payload in (b"", b"\0", codec.encode(b"text" * 50)):
        with pytest.raises(DamagedError):
            codec.decode(payload, 1 << 40)


def test_truncated_and_flipped(codec, kinds):
    for kind in ("text", "json", "random", "zeros")[: 2 if codec.needs_model else 4]:
        data = kinds[kind][: 600 if codec.needs_model else 3000]
        payload = codec.encode(data)
        for length in {0, 1, 2, 5, len(payload) // 2, len(payload) - 1} - {len(payload)}:
            _damaged(codec, payload[:length], len(data))
        _damaged(codec, payload + b"x", len(data))
        for _ in range(10 if codec.needs_model else 200):
            flipped = bytearray(payload)
            flipped[RANDOM.randrange(len(payload))] ^= 1 << RANDOM.randrange(8)
            _damaged(codec, bytes(flipped), len(data))


def test_garbage(codec):
    for length in (1, 2, 3, 10, 100, 1000):
        _damaged(codec, os.urandom(length), 500)
