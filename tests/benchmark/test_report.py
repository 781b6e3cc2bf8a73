import json

from zllm.benchmark.report import Report, Row, Section

ROWS = (
    Row("zllm -6", 400, 0, 2.0, 1.0, True, 5_000_000),
    Row("zstd -19", 500, 0, 0.5, 0.01, True),
    Row("zpaq -m5", 1400, 1016, 1.0, 1.0, True),
)


def test_facts():
    section = Section("all", 3, 1_000_000, ROWS)
    facts = section.facts(ROWS[2])
    assert facts == {
        "name": "zpaq -m5",
        "size": 1400,
        "fixed": 1016,
        "net_size": 384,
        "model_bytes": 0,
        "bits_per_byte": 0.0112,
        "size_ratio": 2.8,
        "exact": True,
        "encode_mb_s": 1.0,
        "encode_speed_ratio": 0.5,
        "decode_mb_s": 1.0,
        "decode_speed_ratio": 0.01,
    }


def test_without_the_reference_there_are_no_ratios():
    section = Section("all", 1, 100, ROWS[:1])
    assert section.facts(ROWS[0])["size_ratio"] is None
    assert "-" in Report({}, [section]).table()


def test_table():
    table = Report({}, [Section("all", 3, 1_000_000, ROWS)], ["a note"]).table()
    lines = table.splitlines()
    assert lines[0] == "all: 3 files, 1,000,000 bytes"
    assert [line.split()[0] for line in lines[2:5]] == ["zllm", "zstd", "zpaq"]  # by size
    assert "net of fixed" in lines[1]
    assert "384" in lines[4]
    assert lines[-1] == "a note"
    assert "5,000,000" in lines[2]


def test_speeds_have_three_digits_and_one_file_is_one():
    rows = (Row("slow", 50, 0, 80.0, 0.4, True), Row("zstd -19", 60, 0, 0.02, 0.001, True))
    title, _, slow, fast = Report({}, [Section("all", 1, 100_000, rows)]).table().splitlines()
    assert title == "all: 1 file, 100,000 bytes"
    assert slow.split()[-4:] == ["0.00125", "0.000250", "0.250", "0.00250"]
    assert fast.split()[-4:] == ["5.00", "1.00", "100", "1.00"]


def test_columns_nobody_fills_are_left_out():
    table = Report({}, [Section("all", 3, 1000, ROWS[1:2])]).table()
    assert "net of fixed" not in table
    assert "model" not in table


def test_wrong_output_is_said_loudly():
    report = Report({}, [Section("all", 1, 100, (Row("x", 1, 0, 1, 1, False),))])
    assert not report.exact
    assert "WRONG: what x gave back" in report.table()


def test_json():
    report = Report({"level": 6}, [Section("all", 3, 1_000_000, ROWS)], ["a note"])
    loaded = json.loads(report.to_json())
    assert loaded["settings"] == {"level": 6}
    assert loaded["exact"] is True
    assert loaded["notes"] == ["a note"]
    (section,) = loaded["sections"]
    assert (section["title"], section["files"], section["bytes"]) == ("all", 3, 1_000_000)
    assert [row["name"] for row in section["rows"]] == ["zllm -6", "zstd -19", "zpaq -m5"]


def test_empty_workload_divides_by_nothing():
    Report({}, [Section("all", 0, 0, ROWS)]).to_json()
