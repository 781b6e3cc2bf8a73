"""Installs the example package as pip does: its module, and the metadata by which others find it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

HERE = Path(__file__).parent


def install(folder: Path) -> None:
    """Put it into ``folder``, which is then to be in ``PYTHONPATH``."""
    project = (HERE / "pyproject.toml").read_text(encoding="utf-8")
    name, version = (re.search(rf'^{key} = "(.*)"$', project, re.M)[1] for key in ("name", "version"))  # type: ignore[index]
    group, entries = re.search(r'^\[project.entry-points."(.*)"\]\n(.*)\Z', project, re.M | re.S).groups()  # type: ignore[union-attr]
    shutil.copy(HERE / "zllm_deltas.py", folder)
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{entries}".replace('"', ""))
