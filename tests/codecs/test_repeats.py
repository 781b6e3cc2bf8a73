import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zllm._native import repeats
from zllm.codecs import repeats as codec
from zllm.codecs.repeats import Repeats, find
from zllm.errors import DamagedError
from zllm.format import payloads

NOISE = random.Random(5).randbytes(6000)


def check(data: bytes, found: list[tuple[int, int, int]], least: int) -> None:
    end = 0
    for at, length, distance in found:
        assert at >= end
        assert length >= least
        assert 1 <= distance <= at
        assert all(data[i] == data[i - distance] for i in range(at, at + length))
        end = at + length
    assert end <= len(data)


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 700)), max_size=12), st.sampled_from([128, 200, 600]))
@example([(0, 128), (0, 127), (64, 128)], 128)
def test_what_is_found_repeats(parts: list[tuple[int, int]], least: int) -> None:
    data = b"".join(NOISE[at : at + length] for at, length in parts)
    check(data, repeats(data, least), least)


@pytest.mark.parametrize("at", range(0, 130, 13))
def test_no_repeat_of_a_kibibyte_is_missed(at: int) -> None:
    data = NOISE[:3000] + NOISE[at : at + 1024] + NOISE[3000:3500]
    assert repeats(data, 1024) == [(3000, 1024, 3000 - at)]
    assert repeats(data, 1025) == []


def test_runs_and_periods() -> None:
    assert repeats(bytes(10_000), 128) == [(64, 9936, 64)]
    check(b"abc" * 1000, repeats(b"abc" * 1000, 200), 200)
    assert repeats(b"", 128) == repeats(b"x" * 127, 128) == []


def test_too_short_a_length_is_refused() -> None:
    with pytest.raises(Exception, match="arguments"):
        repeats(b"", 127)


@given(st.data())
def test_taken_out_and_put_back(data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 3000)), min_size=1, max_size=6))
    text = b"".join(NOISE[at : at + length] for at, length in parts) + bytes(data.draw(st.sampled_from([0, 5000])))
    found = find(memoryview(text))
    left = found.take_out(memoryview(text))
    assert len(left) == len(text) - found.size
    assert found.put_back(left) == text
    code = bytes(range(200)) * 2
    read = payloads.read_text(payloads.pack_text_front(found.found, [len(left)]) + code, len(text))
    assert (read.repeats, read.ends, read.code) == (found.found, [len(left)], code)


def test_cuts_move() -> None:
    found = Repeats(((10, 5, 3), (20, 10, 10)))
    assert found.move([4, 10, 12, 15, 18, 20, 25, 30, 35], 25) == [4, 10, 13, 15, 20]
    assert found.move([30], 15) == []
    assert Repeats().move([3, 9], 12) == [3, 9]


@pytest.mark.parametrize(
    "payload", [b"\x01\x00\x05\x00", b"\x01\x05\x05\x05", b"\x01\x05\x64\x00", b"\x02\x05\x05\x00", b"\x01", b""]
)
def test_damaged_repeats(payload: bytes) -> None:
    with pytest.raises(DamagedError):
        payloads.read_text(payload + b"\0code" if payload else b"", 50)


def test_the_least_length_is_worth_it() -> None:
    """A repeat never costs more than the bytes it takes out."""
    assert len(payloads.pack_text_front([(2**26, codec.LEAST, 2**26)], [1])) < codec.LEAST // 8
