"""Streams that are encrypted: all ways to read them take the keys, and nothing is mixed."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zllm
from zllm.archive import keyfiles

pytest.importorskip("nacl")
DATA = b"Where the treasure is buried.\n" * 99
WAYS: dict[str, Callable[..., bytes]] = {
    "decompress": zllm.decompress,
    "Decompressor": lambda data, **keys: zllm.Decompressor(**keys).decompress(data),
    "open_stream": lambda data, **keys: zllm.open_stream(io.BytesIO(data), **keys).read(),
    "pipe": lambda data, **keys: zllm.open_stream(_Pipe(data), **keys).read(),
}


class _Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


@pytest.fixture(scope="module")
def secret() -> str:
    return keyfiles.new_secret()


@pytest.fixture(scope="module")
def coded(secret: str) -> bytes:
    return zllm.compress(DATA, 2, recipients=[keyfiles.public_of(secret)])


@pytest.mark.parametrize("way", WAYS)
def test_keys_open_it(way: str, coded: bytes, secret: str) -> None:
    assert DATA not in coded
    assert WAYS[way](coded, identities=[secret]) == DATA
    with pytest.raises(zllm.LockedError):
        WAYS[way](coded)
    with pytest.raises(zllm.LockedError):
        WAYS[way](coded, identities=[keyfiles.new_secret()])


@pytest.mark.parametrize("way", WAYS)
def test_a_key_demands_encryption(way: str, secret: str) -> None:
    with pytest.raises(zllm.UsageError, match="not encrypted, so anybody may have made it"):
        WAYS[way](zllm.compress(DATA, 2), identities=[secret])


def test_byte_by_byte(coded: bytes, secret: str) -> None:
    decompressor = zllm.Decompressor(identities=[secret])
    assert b"".join(decompressor.decompress(coded[i : i + 1]) for i in range(len(coded))) == DATA
    assert decompressor.eof


def test_what_is_added_is_encrypted_too_or_refused(tmp_path: Path, secret: str) -> None:
    keys: dict[str, Any] = {"recipients": [keyfiles.public_of(secret)]}
    with zllm.open_stream(tmp_path / "a.zllm", "wb", level=2, **keys) as file:
        file.write(DATA)
    before = (tmp_path / "a.zllm").read_bytes()
    with pytest.raises(zllm.UsageError, match="is encrypted, and the new stream would not be"):
        zllm.open_stream(tmp_path / "a.zllm", "ab", level=2)
    assert (tmp_path / "a.zllm").read_bytes() == before
    with zllm.open_stream(tmp_path / "a.zllm", "ab", level=2, **keys) as file:
        file.write(b"more")
    with zllm.open_stream(tmp_path / "a.zllm", identities=[secret]) as file:
        assert file.read() == DATA + b"more"
    (tmp_path / "b.zllm").write_bytes(zllm.compress(DATA, 2))
    with pytest.raises(zllm.UsageError, match="is not encrypted, and the new stream would be"):
        zllm.open_stream(tmp_path / "b.zllm", "ab", level=2, **keys)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"passphrase": "\ud800"}, "half of a surrogate pair"),
        ({"passphrase": lambda: b"bytes"}, "a passphrase is text, not bytes"),
        ({"recipients": [keyfiles._text(keyfiles.PUBLIC, bytes(32))]}, "it would keep no secret"),
    ],
)
def test_keys_that_are_none(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(zllm.UsageError, match=said):
        zllm.compress(DATA, 2, **keys)
