"""What column sets and the index are compressed against. Part of the format: a change is a new version."""

from __future__ import annotations

_HEADERS = (
    b"0000664\x000000600\x000000755\x000000644\x000001000\x000001000\x000000000\x000000000\x00wheel\x00staff\x00users\x00"
    b"www-data\x00root\x00root\x00ustar  \x00ustar\x0000"
    b"PaxHeaders\x00././@LongLink\x00atime\nctime\nSCHILY.xattr.security.selinux\nlinkpath\nuid\ngid\nsize\nhdrcharset\n"
    b"GNU.sparse.major\nGNU.sparse.minor\nGNU.sparse.name\nGNU.sparse.realsize\npath\nmtime\n././@PaxHeader\x00"
)

_MANIFEST = (
    b'{"created_by":"zllm 0.1.0","features":[],"format":1,"models":[]}'
    b'{"created_by":"zllm 0.1.0","features":[],"format":1,"models":[{"arithmetic":1,"embedded":false,"known_answer":"'
    b'","name":"default","origin":"built-in","sha256":"","size":1,"tokenizer_sha256":"'
)

DICTIONARY = _HEADERS + _MANIFEST
