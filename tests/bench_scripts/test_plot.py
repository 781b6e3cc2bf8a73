"""``python -m bench plot``: the same accounts, the same drawing."""

import pytest

from bench import pareto
from bench.__main__ import main
from bench.accounts import Accounts, Entry, Timing
from bench.pareto import Box, Point, front, points


def accounts(rows, workloads=("a", "b")):
    return Accounts(
        Entry(workload, 1, 1_000_000, name, int(bits * 125_000), 0, 0, Timing(seconds, seconds / 2, 1.0, 1.0))
        for workload in workloads
        for name, bits, seconds in rows
    )


ROWS = [
    ("zllm -6", 1.5, 4.0),
    ("zllm -7", 1.499, 4.01),
    ("zllm -8", 1.498, 4.02),
    ("zstd -19", 2.5, 0.5),
    ("xz", 2.6, 1),
]


def test_points():
    found = accounts(ROWS).updated([Entry("a", 1, 1_000_000, "not everywhere", 1, 0, 0, Timing(1, 1))])
    assert [point.name for point in points(found, "encode")] == ["zstd -19", "xz", "zllm -6", "zllm -7", "zllm -8"]
    fastest = points(found, "decode")[0]
    assert (fastest.speed, fastest.bits) == (pytest.approx(4000), pytest.approx(2.5))


def test_front():
    fast, worse, small = Point("fast", 100, 3.0), Point("worse", 50, 3.1), Point("small", 10, 1.0)
    assert front([fast, worse, small]) == [fast, small]
    assert front([]) == []


def test_boxes():
    box = Box.around(10, 20, 4, 6)
    assert box == Box(8, 17, 12, 23)
    assert box.touches(Box(12, 23, 13, 24))
    assert not box.touches(Box(12.1, 17, 13, 23))
    assert not box.touches(Box(8, 23.1, 12, 24))
    assert box.within(Box(8, 17, 12, 23))
    assert not box.within(Box(8, 17, 11, 23))
    assert (box.distance(10, 20), box.distance(15, 27)) == (0, 5)


def test_the_same_drawing_each_time(tmp_path):
    pytest.importorskip("matplotlib")
    drawn = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        accounts(ROWS).save(tmp_path / name / "ratio.csv")
        assert main(["plot", "--results", str(tmp_path / name)]) == 0
        drawn.append([(tmp_path / name / f"ratio.{kind}").read_bytes() for kind in ("svg", "png")])
    assert drawn[0] == drawn[1]
    svg, png = drawn[0]
    assert svg.startswith(b"<?xml")
    assert b"date" not in svg
    assert png.startswith(b"\x89PNG")


def test_labels_cover_nothing(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    written = []
    monkeypatch.setattr(pareto, "_write", lambda axes, point, mark, box: written.append((axes, mark, box)))
    pareto.draw(accounts([*ROWS, *((f"rival {n}", 2.5 + n / 100, 0.5) for n in range(4))]), tmp_path)
    assert len(written) == 18
    for axes, mark, box in written:
        others = [other for where, _, other in written if where is axes and other is not box]
        assert not any(box.touches(other) for other in others)
        marks = [one for where, one, _ in written if where is axes]
        assert not any(box.touches(Box.around(*one, 8, 8)) for one in marks), mark


def test_nothing_to_draw(tmp_path, capsys):
    assert main(["plot", "--results", str(tmp_path)]) == 2
    assert "`python -m bench ratio` first" in capsys.readouterr().err


def test_without_matplotlib(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(pareto.sys.modules, "matplotlib", None)
    accounts(ROWS).save(tmp_path / "ratio.csv")
    assert main(["plot", "--results", str(tmp_path)]) == 2
    assert "drawing needs matplotlib" in capsys.readouterr().err
