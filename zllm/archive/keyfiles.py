"""Keys of recipients as text: a public key, which archives are encrypted for, and the secret one that opens them.

Both are 32 bytes of X25519 and 3 of their SHA-256, in base 32, behind a prefix: one wrong letter is noticed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from pathlib import Path

from zllm.archive.cipher import bindings
from zllm.errors import UsageError
from zllm.format.sealing import KEY_SIZE

PUBLIC, SECRET = "zllm-public-", "ZLLM-SECRET-KEY-"
_CHECK_SIZE = 3
_MOST_BYTES = 1 << 20  # of a file with keys


def new_secret() -> str:
    """A new secret key."""
    return _text(SECRET, os.urandom(KEY_SIZE))


def public_of(secret: str, file: str = "") -> str:
    """The public key that belongs to a secret one, which is from ``file`` if that is named.

    Raises:
        UsageError: it is not a secret key.
        MissingDependencyError: PyNaCl is not installed.
    """
    what = f"a secret key (in {file})" if file and not file.upper().startswith(SECRET) else "a secret key"
    return _text(PUBLIC, bindings().crypto_scalarmult_base(_key(SECRET, secret, what)))


def public_keys(text: str) -> list[bytes]:
    """The public key that ``text`` is, or those in the file of that name, one a line.

    Raises:
        UsageError: it is neither.
        OSError: the file cannot be read.
    """
    if text.lower().startswith(PUBLIC):
        return [_key(PUBLIC, text, "a public key")]
    if text.upper().startswith(SECRET):
        raise UsageError("that is a secret key, which only belongs where archives are read: zllm key public FILE")
    if not os.path.lexists(text):
        raise UsageError(f"'{text}' is neither a public key nor a file with some: zllm key new FILE makes one")
    lines = _lines(text)
    if any(line.upper().startswith(SECRET) for line in lines):
        raise UsageError(f"{text} has a secret key, not a public one: zllm key public {text} prints the one to give")
    found = [_key(PUBLIC, line, f"a public key (in {text})") for line in lines]
    if not found:
        raise UsageError(f"{text} has no public key in it")
    return found


def secret_keys(name: str | os.PathLike[str]) -> list[bytes]:
    """The secret keys in a file, one a line, or the one that ``name`` itself is.

    Raises:
        UsageError: there is none, or something else.
        OSError: the file cannot be read.
    """
    inline = os.fspath(name).upper().startswith(SECRET)  # which no message may show
    what = "a secret key" if inline else f"a secret key (in {os.fspath(name)})"
    return [_key(SECRET, line, what) for line in secret_texts(name)]


def secret_texts(name: str | os.PathLike[str]) -> list[str]:
    """As :func:`secret_keys`, as text that may be wrong."""
    text = os.fspath(name)
    if text.upper().startswith(SECRET):
        return [text]
    found = _lines(text)
    if not found:
        raise UsageError(f"{text} has no secret key in it")
    return found


def _lines(name: str) -> list[str]:
    """Lines of a file that are neither empty nor comments."""
    with open(name, "rb") as file:
        data = file.read(_MOST_BYTES)
    lines = data.decode("utf-8", "replace").splitlines()
    return [line for text in lines if (line := text.strip()) and not line.startswith("#")]


def _text(prefix: str, key: bytes) -> str:
    digits = base64.b32encode(key + _check(prefix, key)).decode()
    return prefix + (digits if prefix.isupper() else digits.lower())


def _key(prefix: str, text: str, what: str) -> bytes:
    try:
        data = base64.b32decode(text[len(prefix) :].upper())
    except (binascii.Error, ValueError):
        data = b""
    key, check = data[:KEY_SIZE], data[KEY_SIZE:]
    right = text[: len(prefix)].upper() == prefix.upper() and len(key) == KEY_SIZE and check == _check(prefix, key)
    if not right:
        raise UsageError(
            f"not {what}: it begins with {prefix} and has {len(_text(prefix, bytes(KEY_SIZE)))} characters"
        )
    return key


def _check(prefix: str, key: bytes) -> bytes:
    return hashlib.sha256(prefix.encode() + key).digest()[:_CHECK_SIZE]


def write_new(path: Path, secret: str, public: str) -> None:
    """Write a key to a new file that nobody else can read.

    Raises:
        FileExistsError: it exists: a key that archives need is never overwritten.
        OSError: it cannot be written.
    """
    text = f"# The secret key of {public}\n# Whoever has this file can read what is encrypted for that key.\n{secret}\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text.encode())
        file.flush()
        os.fsync(descriptor)
