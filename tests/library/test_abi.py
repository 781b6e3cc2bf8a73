"""What programs that are linked with the library rely on is as it was when the baseline was made."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest
from library.conftest import Installed, skip_without

BASELINE = Path("csrc", "abi", "libzllm-x86_64.abi")


@pytest.fixture(scope="module")
def interface(installed: Installed, checkout: Path) -> Path:
    """That of the library as it is, which has what debuggers need."""
    skip_without("abidw", "abidiff")
    if platform.machine() != "x86_64":
        pytest.skip("the baseline is of x86_64")
    target = installed.build / "libzllm.abi"
    words = ["make", "-C", str(checkout / "csrc"), f"BUILD={installed.build}", "CFLAGS=-O1 -g", str(target)]
    subprocess.run(words, capture_output=True, check=True)
    return target


def compared(baseline: Path, interface: Path) -> subprocess.CompletedProcess[str]:
    words = ["abidiff", "--harmless", str(baseline), str(interface)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_the_interface_is_that_of_the_baseline(checkout: Path, interface: Path) -> None:
    done = compared(checkout / BASELINE, interface)
    assert done.returncode == 0, f"make -C csrc abi, if this is meant:\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("'zllm_archive_find'", "'zllm_archive_gone'"),
        ("name='generation'", "name='other'"),
        ("value='19'", "value='20'"),
    ],
)
def test_a_change_is_seen(checkout: Path, tmp_path: Path, interface: Path, old: str, new: str) -> None:
    text = (checkout / BASELINE).read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "other.abi").write_text(text.replace(old, new))
    assert compared(tmp_path / "other.abi", interface).returncode & 4
