"""What joint columns and directories are deflated against. Part of the format: any change is a new version."""

from __future__ import annotations

from pathlib import Path

DICTIONARY = Path(__file__).with_name("dictionary.bin").read_bytes()
