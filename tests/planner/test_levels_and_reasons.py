import pytest

from zllm.codecs import registry
from zllm.errors import UsageError
from zllm.format.limits import MAX_STREAMS
from zllm.planner.levels import DEFAULT_LEVEL, LEVELS, get_level
from zllm.planner.reasons import MAX_RIVAL, Reason, Why, describe, millibits


def test_levels():
    assert list(LEVELS) == list(range(1, 10))
    assert [level.number for level in LEVELS.values()] == list(LEVELS)
    assert [level.llm for level in LEVELS.values()] == [False] * 5 + [True] * 4
    assert [level.adaptive for level in LEVELS.values()] == [False] * 4 + [True] * 5
    assert [level.fast_codec for level in LEVELS.values()] == ["lz4"] + ["zstd"] * 8
    assert [LEVELS[n].zstd_level for n in range(2, 10)] == [3, 9, 19, 19, 19, 19, 19, 19]
    assert DEFAULT_LEVEL == 6
    assert [LEVELS[n].min_gain for n in (6, 7, 8, 9)] == [0.02, 0.005, 0, 0]
    assert [LEVELS[n].streams for n in (6, 7, 8, 9)] == [16, 8, 8, 8]
    assert [level.text_frame for level in LEVELS.values()] == [1 << 20] * 9
    assert [level.shared_frame >> 20 for level in LEVELS.values()] == [1] * 7 + [4, 16]
    assert [level.alone_frame >> 20 for level in LEVELS.values()] == [4] * 7 + [8, 16]
    assert LEVELS[9].solid_frame == 16 << 20


@pytest.mark.parametrize("level", LEVELS.values(), ids=str)
def test_levels_make_sense(level):
    assert registry.by_name(level.fast_codec).name == level.fast_codec
    assert level.text_frame <= level.shared_frame <= level.alone_frame <= level.solid_frame
    assert level.adaptive or not level.llm
    assert 0 <= level.sample_margin < 0.1
    assert 1 <= level.streams <= MAX_STREAMS
    assert 20 < len(level.description) < 100
    assert "\n" not in level.description


@pytest.mark.parametrize("number", [0, 10, -1])
def test_unknown_level(number):
    with pytest.raises(UsageError, match="1 to 9"):
        get_level(number)


def test_reason_numbers_never_change():
    assert [(why.name, why.value) for why in Why] == [
        ("UNKNOWN", 0),
        ("SMALLEST", 1),
        ("NEED_NOT_COMPARE", 2),
        ("SAMPLES", 3),
        ("LEVEL", 4),
        ("INCOMPRESSIBLE", 5),
    ]


@pytest.mark.parametrize("other", [None, 0, 1, 2, 3, 4, 13, 14, 77, 255])
@pytest.mark.parametrize("why", Why)
def test_a_reason_is_one_byte_and_reads_the_same_from_it(why, other):
    reason = Reason(why, other, 2345)
    assert 0 <= reason.code < 256
    assert describe(reason.code, 2345) == reason.text()


def test_what_reasons_say():
    assert Reason(Why.SMALLEST, 4, 2345).text() == "smallest; cm: 2.35 bits per byte"
    assert Reason(Why.NEED_NOT_COMPARE, 2, 2345).text() == "smallest; zstd: about 2.35 bits per byte"
    assert Reason(Why.SMALLEST, 77, 2345).text() == "smallest; a codec of another package: 2.35 bits per byte"
    assert Reason(Why.SMALLEST, 4).text() == Reason(Why.SMALLEST).text() == "smallest"
    assert Reason(Why.INCOMPRESSIBLE).text() == "nothing made it smaller"
    assert len({Reason(why, 2, 99).text() for why in Why}) == len(Why)
    assert "newer" in describe(255) and describe(0) == ""


def test_millibits():
    assert millibits(25, 100) == 2000
    assert millibits(0, 0) == 0
    assert millibits(10**9, 1) == MAX_RIVAL
