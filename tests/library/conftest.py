"""The C library and unzllm, built and installed once, and programs that use what is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

TOOLS = ("make", "cc", "ar", "pkg-config")
PREFIX = "usr"


@dataclass(frozen=True)
class Installed:
    """``root``: what ``make install`` was told as DESTDIR. ``build``: where it was built."""

    root: Path
    build: Path

    @property
    def unzllm(self) -> Path:
        """The installed program."""
        return self.root / PREFIX / "bin" / "unzllm"

    def flags(self, *what: str) -> list[str]:
        """What pkg-config says of the installed library."""
        folder = self.root / PREFIX / "lib" / "pkgconfig"
        environment = {**os.environ, "PKG_CONFIG_PATH": str(folder), "PKG_CONFIG_SYSROOT_DIR": str(self.root)}
        run = subprocess.run(
            ["pkg-config", *what, "zllm"], env=environment, capture_output=True, text=True, check=True
        )  # fmt: skip
        return run.stdout.split()


def skip_without(*tools: str) -> None:
    """Skip a test where something is missing that the library is built with."""
    if missing := [tool for tool in tools if shutil.which(tool) is None]:
        pytest.skip(f"there is no {', '.join(missing)}")
    probe = "#include <zstd.h>\n#include <lz4.h>\n#include <zlib.h>\n#include <xxhash.h>\n"
    if subprocess.run(["cc", "-E", "-"], input=probe, text=True, capture_output=True, check=False).returncode:
        pytest.skip("there are no headers of zstd, lz4, zlib and xxhash")


@pytest.fixture(scope="session")
def installed(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The library as a user has it."""
    skip_without(*TOOLS)
    found = Installed(tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("library"))
    command = [
        "make", "-C", str(checkout / "csrc"), "-j2", f"BUILD={found.build}", f"DESTDIR={found.root}",
        f"PREFIX=/{PREFIX}", "CFLAGS=-O1 -g", "install",
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return found
