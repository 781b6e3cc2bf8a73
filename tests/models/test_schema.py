"""The schema of model files: the tables of docs/model-format.md are C's, and Python has no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from models import tiny, variants

from zllm._native import modelfile
from zllm.errors import ModelError
from zllm.models import zlm


def _missing(row: modelfile.Field) -> str:
    return "refused" if row.fallback is None else str(row.fallback)


def _tensor(row: modelfile.Field) -> str:
    shape = f"[{row.rows}, {row.columns}]" if row.columns else f"[{row.rows}]"
    exponent = f"`{row.exponent}`, {row.low} to {row.high}" if row.exponent else ""
    exponent += f"; {row.fallback} if missing" if row.exponent and row.fallback is not None else ""
    when = row.when if row.when in ("always", "optional") else f"`{row.when}`"
    return f"| `{row.name}` | {row.type} | `{shape}` | {when} | {exponent} | {row.meaning} |"


def tables() -> dict[str, list[str]]:
    """Lines of each table of the page, by the part of the schema."""
    found: dict[str, list[str]] = {
        "config": ["| field of `config` | if missing | meaning |", "|---|---|---|"],
        "layers": ["| field of a layer | range | if missing | meaning |", "|---|---|---|---|"],
        "tensors": ["| tensor | type | shape | when | exponent | meaning |", "|---|---|---|---|---|---|"],
    }
    for row in modelfile.schema():
        line = {
            "config": f"| `{row.name}` | {_missing(row)} | {row.meaning} |",
            "layers": f"| `{row.name}` | {row.low} to {row.high} | {_missing(row)} | {row.meaning} |",
            "tensors": _tensor(row),
        }[row.part]
        found[row.part].append(line)
    return found


@pytest.mark.parametrize("part", ["config", "layers", "tensors"])
def test_the_page_has_the_schema(part: str, checkout: Path) -> None:
    text = (checkout / "docs" / "model-format.md").read_text(encoding="utf-8")
    table = "\n".join(tables()[part])
    assert f"\n\n{table}\n\n" in text, table


def test_every_tensor_of_every_network_is_in_it() -> None:
    known = {row.name: row for row in modelfile.schema() if row.part == "tensors"}
    seen = set()
    for kind in ({}, *variants.FAMILIES.values()):
        _, tensors = variants.tensors_of(**kind)
        for name, (dtype, shape, _) in tensors.items():
            row = re.sub(r"^layers\.\d+\.", "layers.N.", name)
            assert (known[row].type, 1 + bool(known[row].columns)) == (dtype, len(shape))
            seen.add(row)
    assert seen == set(known)


def test_unknown_families_have_none() -> None:
    assert modelfile.schema("perceptron") == ()


@pytest.mark.parametrize(("name", "dtype"), [("head.r", "I8"), ("layers.N.o.q", "I8"), ("layers.01.o.q", "I8"),
                                             ("head.q", "U8"), ("layers.0.o", "I8")])  # fmt: skip
def test_only_what_is_in_it_is_written(name: str, dtype: str, tmp_path: Path) -> None:
    description, tensors = tiny.tensors_of(layers=1, dim=32)
    with pytest.raises(ModelError, match=re.escape(f"no tensor {name} of type {dtype}")):
        zlm.write(tmp_path / "m.zlm", description, {**tensors, name: (dtype, (1,), memoryview(b"\1"))})
    assert not (tmp_path / "m.zlm").exists()
