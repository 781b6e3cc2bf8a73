"""Write zllm/format/dictionary.bin, which joint columns and directories are deflated against.

    python tools/make_dictionary.py

The dictionary is part of the format: any change of it is a new version. This says what is in it and why, for anyone who
makes the next one.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "zllm" / "format" / "dictionary.bin"

_WORDS = (
    b"0000664\x000000600\x000000755\x000000644\x000001000\x000001000\x000000000\x000000000\x00wheel\x00staff\x00users\x00"
    b"www-data\x00root\x00root\x00ustar  \x00ustar\x0000"
    b"PaxHeaders\x00././@LongLink\x00atime\nctime\nSCHILY.xattr.security.selinux\nlinkpath\nuid\ngid\nsize\nhdrcharset\n"
    b"GNU.sparse.major\nGNU.sparse.minor\nGNU.sparse.name\nGNU.sparse.realsize\npath\nmtime\n././@PaxHeader\x00"
)
# Texts of directories with one small section right behind the header: generation, time, distance back, one row; no
# other parts, nothing deleted; the manifest.
_DIRECTORIES = b"".join(b'\0\0\0\1\x10\0\1\0\0\0{"created_by":"zllm 0.1.0","level":%d}' % level for level in (9, 3, 6))


def _profile(mode: bytes, owner: bytes, kind: bytes, magic: bytes, user: bytes) -> bytes:
    """Fields of a header block that seldom change (``headerunits.Block.profile``)."""
    return b"0%s\0" % mode + 2 * (b"0%s\0" % owner) + kind + magic + 2 * user.ljust(32, b"\0") + 16 * b"\0"


# Lengths of the columns of a section with one member (``columns``): shapes and places, its hash or none, frames, their
# hash or none; then the headers.
_SMALL = bytes.fromhex("2f040400080400000404080804040408 20")
_LARGE = bytes.fromhex("2f0404000804008001040408080404040c00")
_LARGER = bytes.fromhex("2f0404000804008001040408 0c04040408 00")
_GNU = bytes.fromhex("040000c4030004000404002404040000000000040404040000000004 0404")
_PAX = bytes.fromhex("0800008807040404040440240808001c040004040404040404040404040000")
# The columns themselves, as far as most sections have them: one record, one group; parts and profiles of its headers.
_FRONT = b"\0\0\1\1\xf7\1\0\1"
_FRAME = b"\3\1\x08\xaa\x10"
_PAX_END = b"\0\1\x17\x10\0=././@PaxHeader\0.txt\0\0\0\0\0mtime=\0\0\7"
_GNU_END = b"\6\0.txt\0\0\0"
_OWNERS = ((b"000644", b"001750", b"user"), (b"000644", b"000000", b"root"), (b"000644", b"000000", b""))


def _samples() -> bytes:
    """Sections of one member as common writers make them, the commonest last."""
    out = b""
    for mode, owner, user in _OWNERS:
        out += _GNU + _FRONT + _FRAME + b"\1" + _profile(mode, owner, b"0", b"ustar  \0", user) + _GNU_END
    out += _profile(b"000755", b"000000", b"5", b"ustar\x0000", b"root")
    for mode, owner, user in _OWNERS:
        extended = _profile(b"000000", b"000000", b"x", b"ustar\x0000", b"")
        member = _profile(mode, owner, b"0", b"ustar\x0000", user)
        out += _PAX + _FRONT + _FRAME + b"\2\1" + extended + member + _PAX_END
    return out


def main() -> int:
    """Write it, and say what has to be in the documentation."""
    data = _WORDS + _DIRECTORIES + _LARGER + _LARGE + _SMALL + _samples()
    TARGET.write_bytes(data)
    print(f"{len(data):,} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
