"""Makes the page, with everything in it: ``python tools/wasm/page.py zllm.wasm unzllm.html``."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def page(wasm: bytes) -> str:
    """The page of ``index.html``, with the script and the module in it."""
    text = (HERE / "index.html").read_text(encoding="utf-8")
    for mark, content in (
        ("/* zllm.js */", (HERE / "zllm.js").read_text(encoding="utf-8")),
        ("/* zllm.wasm */", base64.b64encode(wasm).decode()),
    ):
        before, found, after = text.partition(mark)
        if not found:
            raise ValueError(f"index.html has no place for {mark}")
        text = before + content + after
    return text


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(page(Path(sys.argv[1]).read_bytes()), encoding="utf-8")
