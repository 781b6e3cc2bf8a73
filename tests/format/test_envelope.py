"""Envelopes and parts: there and back, seeds, and corrections of one wrong byte."""

from __future__ import annotations

import pytest
from format.strategies import given, survives
from hypothesis import strategies as st

from zllm.errors import DamagedError
from zllm.format import envelope, limits, repair
from zllm.format.envelope import Envelope, Kind

numbers = st.one_of(st.integers(0, 300), st.integers(0, (1 << 62) - 1))


@given(st.integers(0, 255), st.integers(0, 255), numbers, numbers, st.integers(0, 1 << 32))
def test_envelopes(kind: int, flags: int, sequence: int, length: int, seed: int) -> None:
    own = Envelope(kind, sequence, length, flags)
    data = own.pack(seed)
    assert len(data) == own.size <= envelope.MAX_SIZE
    if kind in range(1, 6) and length > 32:
        return  # there are limits
    assert envelope.parse(data + b"rest", seed) == envelope.parse(data, None) == own
    with pytest.raises(DamagedError):
        envelope.parse(data, seed + 1)
    for at in range(len(data)):
        with pytest.raises(DamagedError):
            envelope.parse(data[:at], seed)


@given(st.binary(max_size=40))
def test_any_envelope(data: bytes) -> None:
    survives(lambda: envelope.parse(data, 1))
    survives(lambda: envelope.parse(envelope.SYNC + data, None))


def test_a_part_that_is_longer_than_its_kind_may_be() -> None:
    for kind, length in ((Kind.FRAME, limits.MAX_PAYLOAD + 99), (Kind.DIRECTORY, limits.MAX_DIRECTORY + 1)):
        with pytest.raises(DamagedError, match="cannot be"):
            envelope.parse(Envelope(kind, 1, length).pack(5), 5)


def test_numbers_are_written_in_one_way() -> None:
    data = envelope.SYNC + b"\1\0\x80\0\5"
    with pytest.raises(DamagedError):
        envelope.parse(data + bytes(2), None)


def test_parts() -> None:
    good = envelope.part(77, Kind.NOTE, 3, b"a body", envelope.SKIP)
    assert envelope.holds(77, good) and not envelope.holds(78, good)
    assert len(good) == envelope.LEAST_PART + 6
    for at in range(len(good)):
        assert not envelope.holds(77, good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])


def test_the_id_is_made_from_kind_and_body() -> None:
    first = envelope.id_of(Kind.SECTION, b"body")
    assert len(first) == envelope.ID_SIZE == 4
    assert len({first, envelope.id_of(Kind.DIRECTORY, b"body"), envelope.id_of(Kind.SECTION, b"bodY")}) == 3
    assert envelope.id_of(Kind.SECTION, b"bo", b"dy") == first


@pytest.mark.parametrize("sequence", [0, 127, 128, 70_000])
def test_one_wrong_byte_of_an_envelope(sequence: int) -> None:
    body = bytes(range(200))
    good = envelope.part(5, Kind.SECTION, sequence, body)
    own = Envelope(Kind.SECTION, sequence, len(body))

    def proved(found: Envelope) -> bool:
        return envelope.holds(5, found.pack(5) + good[found.size : found.whole])

    for at in range(own.size):
        for change in (1, 0x80, 0x55):
            bad = good[:at] + bytes([good[at] ^ change]) + good[at + 1 :]
            assert repair.envelope(bad, 5, sequence, proved, repair.Budget()) == own, (at, change)
        bad = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        assert repair.envelope(bad, 5, sequence + 1, proved, repair.Budget()) is None
        assert repair.envelope(bad, 5, sequence, lambda _: False, repair.Budget()) is None
        assert repair.envelope(bad, 5, sequence, proved, repair.Budget(0)) is None


def test_one_wrong_byte_of_a_body() -> None:
    body = bytes(range(100))
    front = Envelope(Kind.SECTION, 9, len(body)).pack(5)
    rest = envelope.part(5, Kind.SECTION, 9, body)[len(front) :]
    for at in range(len(rest)):
        for change in (1, 0x80, 0x55):
            bad = rest[:at] + bytes([rest[at] ^ change]) + rest[at + 1 :]
            assert repair.body(front, bad, 5, repair.Budget()) == rest
    bad = bytes([rest[0] ^ 1, rest[1] ^ 1]) + rest[2:]
    assert repair.body(front, bad, 5, repair.Budget()) is None
    assert repair.body(front, bytes([rest[0] ^ 1]) + rest[1:], 5, repair.Budget(10_000)) is None
    assert repair.body(front, b"", 5, repair.Budget()) is None
