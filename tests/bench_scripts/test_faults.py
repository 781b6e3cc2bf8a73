"""`bench faults` on a few files: nothing wrong is left, nothing is silent, one flip costs no file."""

import csv

from bench.__main__ import main


def test_faults(tmp_path, capsys):
    options = ["--files", "8", "--flips", "5", "--bursts", "1", "--results", str(tmp_path)]
    assert main(["faults", "--only", "zllm -3", *options]) == 0
    with (tmp_path / "faults.csv").open() as file:
        rows = {row["format"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"zllm -3", *(f"zllm -3 --parity {share}%" for share in (1, 2, 5))}
    for name, row in rows.items():
        assert (row["worst_flip"], row["wrong_of_all"], row["silent_of_all"]) == ("8", "0", "0"), name
    assert rows["zllm -3 --parity 5%"]["worst_burst"] == "8"
    assert main(["faults", "--only", "tar", "--quick", "--files", "8", "--results", str(tmp_path)]) == 0
    assert main(["faults", "--only", "nothing", "--results", str(tmp_path)]) == 2
    capsys.readouterr()
