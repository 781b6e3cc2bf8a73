"""Keys on behalf of readers: which of those that were given opens an archive, and what is in its sealed bodies."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence

from zllm.archive import cipher
from zllm.archive.cipher import Sealing
from zllm.archive.options import Options, WriteOptions
from zllm.errors import AuthenticationError, DamagedError, LimitError, LockedError, UsageError
from zllm.format import sealing
from zllm.format.envelope import Envelope
from zllm.format.limits import DEFAULT, Limits
from zllm.format.sealing import PASSPHRASE, RECIPIENT, Keys, Slot

PLAIN = (
    "the archive is not encrypted, so anybody may have made it, and a key is of no use: leave out the key to read it "
    "all the same"
)
NOT_THESE = "the archive is encrypted, and none of the keys that were given opens it"
WRONG_PASSPHRASE = "the archive is encrypted, and the passphrase is wrong"
LOST = "the keys of the archive are lost, and what is encrypted with them"
HISTORY = "the archive was tampered with: its generations are not of the same history"


class _Archive:
    """What is known of one archive: its key, if it was found, and the keys of its generations by their first parts."""

    def __init__(self) -> None:
        self.key: bytes | None = None
        self.slots: tuple[Slot, ...] = ()
        self.firsts: list[int] = []
        self.generations: dict[int, Keys] = {}  # by the numbers of their first parts

    def add(self, keys: Keys) -> None:
        """One generation's, whose neighbours must be those that it was made for."""
        known = self.generations.get(keys.first)
        if known is not None:
            if (known.salt, known.before, known.generation) != (keys.salt, keys.before, keys.generation):
                raise AuthenticationError(HISTORY)
            return
        by_number = {one.generation: one for one in self.generations.values()}
        before, after = by_number.get(keys.generation - 1), by_number.get(keys.generation + 1)
        if keys.generation in by_number or (before is not None and before.salt != keys.before):
            raise AuthenticationError(HISTORY)
        if after is not None and after.before != keys.salt:
            raise AuthenticationError(HISTORY)
        self.generations[keys.first] = keys
        self.firsts = sorted(self.generations)

    def at(self, number: int) -> Keys:
        """The keys of the generation with that part."""
        place = bisect_right(self.firsts, number) - 1
        if place < 0:
            raise DamagedError(LOST)
        return self.generations[self.firsts[place]]


class Vault:
    """An :class:`sealing.Opener`. The passphrase is asked for when an archive needs it, once.

    Args:
        options: the keys that were given.
        limits: what trying a passphrase may cost.

    Raises:
        UsageError, OSError: a file with secret keys is none, or cannot be read.
    """

    keyless = False

    def __init__(self, options: Options | None = None, limits: Limits = DEFAULT) -> None:
        self.seen = False
        """An encrypted archive came by."""
        options = options or Options()
        self._limits = limits
        self._work = limits.argon2_work
        self._ask: Callable[[], str | None] | None = options.passphrase if callable(options.passphrase) else None
        self._passphrase = None if callable(options.passphrase) else options.passphrase
        self._secrets = _secret_keys(options) if options.identities else []
        self._demanded = self._passphrase is not None or bool(self._secrets)
        self._archives: dict[int, _Archive] = {}

    def check(self) -> None:
        """Refuse an archive that is not encrypted, if a key was given.

        Raises:
            UsageError: so it is.
        """
        if self._demanded and not self.seen:
            raise UsageError(PLAIN)

    def knows(self, seed: int) -> bool:
        """See :class:`sealing.Opener`."""
        return seed in self._archives

    def take(self, seed: int, number: int, body: bytes) -> None:
        """See :class:`sealing.Opener`."""
        keys = sealing.unpack(body)
        if keys.first > number:
            raise DamagedError("the keys of the archive are damaged: they contradict themselves")
        self.seen = True
        archive = self._archives.setdefault(seed, _Archive())
        archive.add(keys)
        if archive.key is None:
            archive.key, archive.slots = self._unlocked(keys), keys.slots

    def open(self, seed: int, own: Envelope, body: bytes | memoryview, *, front: bool = False) -> bytes:
        """See :class:`sealing.Opener`."""
        self.seen = True
        archive = self._archives.get(seed)
        if archive is None:
            raise LockedError(LOST)
        if archive.key is None:
            raise LockedError(NOT_THESE)
        return cipher.unseal(archive.key, archive.at(own.sequence), seed, own, body, front=front)

    def sealing_of(self, seed: int) -> Sealing:
        """The key of an archive that was opened, and its slots."""
        archive = self._archives[seed]
        return Sealing(archive.key or b"", archive.slots)

    @property
    def first(self) -> Sealing | None:
        """Of the first archive that came by and was opened."""
        found = [seed for seed, archive in self._archives.items() if archive.key is not None]
        return self.sealing_of(found[0]) if found else None

    def salt_at(self, seed: int, number: int) -> bytes:
        """The salt of the generation with that part."""
        return self._archives[seed].at(number).salt

    def _unlocked(self, keys: Keys) -> bytes:
        for key in self._by_secrets(keys.slots):
            return key
        wanted = [slot for slot in keys.slots if slot.kind == PASSPHRASE]
        if wanted and self._passphrase is None and self._ask is not None:
            self._passphrase, self._ask = self._ask(), None
        if wanted and self._passphrase is not None:
            for key in self._by_passphrase(wanted, self._passphrase):
                return key
        raise LockedError(self._refusal(keys.slots), tried=self._tried)

    def _by_secrets(self, slots: Sequence[Slot]) -> Iterator[bytes]:
        for slot in slots:
            for secret in self._secrets if slot.kind == RECIPIENT else ():
                key = cipher.open_recipient(slot, secret)
                if key is not None:
                    yield key

    def _by_passphrase(self, slots: Iterable[Slot], passphrase: str) -> Iterator[bytes]:
        for slot in slots:
            cost = cipher.cost_of(slot)
            if cost is None:
                continue
            if cost.kib << 10 > self._limits.argon2_bytes:
                raise LimitError(
                    f"trying the passphrase takes {cost.kib << 10} bytes of memory, {self._limits.argon2_bytes} is the"
                    " limit that was set (argon2-bytes)"
                )
            self._work -= (cost.kib << 10) * cost.passes
            if self._work < 0:
                raise LimitError("trying the passphrase takes more work than the limit that was set (argon2-work)")
            key = cipher.open_passphrase(cost, passphrase)
            if key is not None:
                yield key

    @property
    def _tried(self) -> bool:
        return self._passphrase is not None or bool(self._secrets)

    def _refusal(self, slots: Sequence[Slot]) -> str:
        text = NOT_THESE if self._tried else sealing.NO_KEY
        kinds = {slot.kind for slot in slots}
        if self._passphrase is not None and not self._secrets and PASSPHRASE in kinds:
            return WRONG_PASSPHRASE
        ways = []
        if PASSPHRASE in kinds:
            ways.append("a passphrase (--passphrase-fd, --passphrase-file, --passphrase-command)")
        if RECIPIENT in kinds:
            ways.append("the secret key of a recipient (--identity FILE)")
        return f"{text}: it takes {' or '.join(ways)}" if ways else text


def _secret_keys(options: Options) -> list[bytes]:
    from zllm.archive import keyfiles  # what is not encrypted is read without it

    return [key for name in options.identities for key in keyfiles.secret_keys(name)]


def sealing_for(options: WriteOptions) -> Sealing | None:
    """How a new archive is encrypted; None: it is not.

    Raises:
        UsageError: a recipient that is not one, or an empty passphrase.
        MissingDependencyError: PyNaCl is not installed.
    """
    if options.sealing is not None:
        return options.sealing
    if not options.encrypts:
        return None
    from zllm.archive import keyfiles

    recipients = [key for text in options.recipients for key in keyfiles.public_keys(os.fspath(text))]
    passphrase = options.passphrase() if callable(options.passphrase) else options.passphrase
    if passphrase is None and not recipients:
        return None
    return cipher.new_sealing(passphrase, recipients)
