import pytest

from zllm.codecs import registry
from zllm.errors import UsageError
from zllm.format.limits import MAX_STREAMS
from zllm.planner.levels import DEFAULT_LEVEL, LEVELS, get_level
from zllm.planner.reasons import MAX_RIVAL, Reason, describe, millibits


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
    assert level.hope >= 1
    assert 1 <= level.streams <= MAX_STREAMS
    assert 20 < len(level.description) < 100
    assert "\n" not in level.description


@pytest.mark.parametrize("number", [0, 10, -1])
def test_unknown_level(number):
    with pytest.raises(UsageError, match="1 to 9"):
        get_level(number)


def test_reason_numbers_never_change():
    assert [(reason.name, reason.value) for reason in Reason] == [
        ("NONE", 0),
        ("STORE_INCOMPRESSIBLE", 1),
        ("LZ4_LEVEL", 2),
        ("ZSTD_LEVEL", 3),
        ("ZSTD_NO_MODEL", 4),
        ("ZSTD_NOT_TEXT", 5),
        ("ZSTD_PROBE", 6),
        ("ZSTD_SMALLER", 7),
        ("LLM_SMALLER", 8),
        ("CM_LEVEL", 9),
        ("CM_PROBE", 10),
        ("CM_SMALLER", 11),
        ("LLM_AHEAD", 12),
        ("SMALLER", 13),
        ("ZSTD_PROMISING", 14),
    ]


def test_every_reason_has_a_text():
    texts = {describe(reason, 2345) for reason in Reason}
    assert len(texts) == len(Reason)
    assert describe(Reason.LLM_SMALLER, 2345) == "llm: without the model 2.35 bits per byte"
    assert "newer" in describe(255)


def test_millibits():
    assert millibits(25, 100) == 2000
    assert millibits(0, 0) == 0
    assert millibits(10**9, 1) == MAX_RIVAL
