"""7-Zip with the plug-in, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

DEBIAN = Path("/usr/lib/p7zip")
HEADERS = "#include <zstd.h>\n#include <lz4.h>\n#include <zlib.h>\n#include <xxhash.h>\n"


@dataclass(frozen=True)
class SevenZip:
    """``folder``: where the program is, with ``Codecs`` beside it."""

    folder: Path

    @property
    def models(self) -> Path:
        """Where the plug-in looks for models."""
        return self.folder / "Codecs" / "models"

    def __call__(
        self, *words: str | Path, cwd: Path, code: int = 0, model: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it; ``model``: what ``ZLLM_MODEL`` says."""
        environment = {key: value for key, value in os.environ.items() if key != "ZLLM_MODEL"}
        environment |= {"LC_ALL": "C.UTF-8"} | ({} if model is None else {"ZLLM_MODEL": str(model)})
        run = subprocess.run(
            [self.folder / "7z", *words], cwd=cwd, env=environment, capture_output=True, timeout=120, check=False,
            stdin=subprocess.DEVNULL, encoding="utf-8", errors="surrogateescape",
        )  # fmt: skip
        assert run.returncode == code, (run.returncode, run.stdout, run.stderr)
        return run


def program(folder: Path) -> SevenZip:
    """A copy of Debian's 7z, which looks for plug-ins beside itself."""
    for name in ("7z", "7z.so"):
        if not (DEBIAN / name).exists():
            pytest.skip("there is no 7z of p7zip-full")
    (folder / "Codecs" / "models").mkdir(parents=True)
    for name in ("7z", "7z.so"):
        shutil.copy(DEBIAN / name, folder)
    return SevenZip(folder)


def build(checkout: Path, folder: Path) -> Path:
    """The plug-in, compiled."""
    if missing := [tool for tool in ("make", "cc", "ar") if shutil.which(tool) is None]:
        pytest.skip(f"there is no {', '.join(missing)}")
    if subprocess.run(["cc", "-E", "-"], input=HEADERS, text=True, capture_output=True, check=False).returncode:
        pytest.skip("there are no headers of zstd, lz4, zlib and xxhash")
    command = ["make", "-C", str(checkout / "csrc"), "-j2", f"BUILD={folder}", "CFLAGS=-O1", "7zip"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return folder / "7zip" / "zllm.so"
