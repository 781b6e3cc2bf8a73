"""What joint columns and the index are compressed against. Part of the format: any change is a new version."""

from __future__ import annotations

_HEADERS = (
    b"0000664\x000000600\x000000755\x000000644\x000001000\x000001000\x000000000\x000000000\x00wheel\x00staff\x00users\x00"
    b"www-data\x00root\x00root\x00ustar  \x00ustar\x0000"
    b"PaxHeaders\x00././@LongLink\x00atime\nctime\nSCHILY.xattr.security.selinux\nlinkpath\nuid\ngid\nsize\nhdrcharset\n"
    b"GNU.sparse.major\nGNU.sparse.minor\nGNU.sparse.name\nGNU.sparse.realsize\npath\nmtime\n././@PaxHeader\x00"
)

_MANIFEST = (
    b'{"created_by":"zllm 0.1.0","features":[],"format":1,"level":6,"models":[]}'
    b'{"created_by":"zllm 0.1.0","features":[],"format":1,"level":6,"models":[{"arithmetic":1,"embedded":false,'
    b'"known_answer":\1,"name":"default","origin":"built-in","sha256":\1,"size":1,"tokenizer_sha256":\1}]}'
)


def _profiles() -> bytes:
    """Fields of header blocks that seldom change (``headerunits.Block.profile``), as common writers make them."""
    out = b""
    for magic in (b"ustar  \0", b"ustar\x0000"):
        for mode, owner, kind, user in (
            (b"000000", b"000000", b"x", b""),
            (b"000755", b"000000", b"5", b"root"),
            (b"000644", b"001750", b"0", b"user"),
        ):
            numbers = b"0%s\0" % mode + 2 * (b"0%s\0" % owner)
            out += numbers + kind + magic + 2 * user.ljust(32, b"\0") + 16 * b"\0"
    return out


# Of a section with one small member, GNU's and pax: lengths of columns, and the columns but for names and hashes.
_GNU_MAP = bytes.fromhex(
    "2e040800080400800104040404040404080400 00c403000400040400 2c0404000000000004040404 0000000004040400 00020702804401"
)
_PAX_MAP = bytes.fromhex(
    "2e040800080400800104040404040404080800 0088070404040404 402c0808001c0400 04040404040404040404040400 00020702804401"
)
_PAX_COLUMNS = b"\x00\x01\x17\x10\x00=././@PaxHeader\x00\x00\x00\x00\x00\x00mtime=\x00\x00\x08\x00"

DICTIONARY = _HEADERS + _MANIFEST + _GNU_MAP + _PAX_COLUMNS + _PAX_MAP + _profiles()
