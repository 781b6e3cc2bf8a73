"""Extended attributes and access control lists of what is packed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass

from zllm.format import extended
from zllm.format.extended import Lookup

_NONE_HERE = (errno.EOPNOTSUPP, errno.ENOSYS)  # a file system, or a system, without them


def _nobody(_: int) -> str:
    return ""


@dataclass
class Extended:
    """What is taken: attributes, lists, or neither. ``user`` and ``group`` give names for the numbers in lists."""

    xattrs: bool = False
    acls: bool = False
    user: Lookup = _nobody
    group: Lookup = _nobody

    @property
    def wanted(self) -> bool:
        """Whether anything is taken."""
        return self.xattrs or self.acls

    def of(self, descriptor: int, problem: Callable[[str], None]) -> tuple[dict[str, str], bool]:
        """The pax records of an open file or folder, and whether it has more than is taken. ``problem`` hears of what
        should have been taken and could not be read.
        """
        try:
            present = sorted(os.listxattr(descriptor)) if hasattr(os, "listxattr") else []
        except OSError as error:
            if error.errno not in _NONE_HERE and self.wanted:
                problem(f"extended attributes: {error.strerror or error}")
            present = []
        lists = {attribute: keyword for keyword, attribute in extended.ACLS.items()}
        records: dict[str, str] = {}
        left = False
        for name in present:
            keyword = lists.get(name)
            if keyword is None and name in extended.PASSED_OVER:
                continue
            if not (self.xattrs if keyword is None else self.acls):
                left = True
                continue
            try:
                value = os.getxattr(descriptor, name)
                if keyword is None:
                    records[extended.XATTR + name] = extended.text_of(value)
                else:
                    records[keyword] = extended.acl_text(value, self.user, self.group)
            except (OSError, ValueError) as error:
                if getattr(error, "errno", None) != errno.ENODATA:  # it was removed meanwhile
                    problem(f"{name}: {getattr(error, 'strerror', None) or error}")
        return records, left

    def left_out(self) -> str:
        """What to say where a file has more than is taken."""
        kinds = {"--xattrs": ("extended attributes", self.xattrs), "--acls": ("access control lists", self.acls)}
        missing = {option: kind for option, (kind, taken) in kinds.items() if not taken}
        return f"{' and '.join(missing.values())} are not packed: pass {' and '.join(missing)}"
