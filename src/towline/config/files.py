"""Reads the files that the configuration names, with errors for the reader that never repeat what is in them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from towline.config.values import Invalid

RELATIVE = "a relative name starts at the folder of the configuration file"
OPEN_TO_ALL = "every user of this machine can write to it"
CLOSE_IT = "chmod o-w: who writes it decides where everybody's connections go"


def is_open_to_all(descriptor: int) -> bool:
    """Whether any user may write to an open file, as to no pipe or device; on a read-only mount nobody can.

    Container mounts of other systems' folders show mode 0777; read-only is how a configuration is mounted.
    """
    mode = os.fstat(descriptor).st_mode
    is_read_only = os.fstatvfs(descriptor).f_flag & os.ST_RDONLY
    return stat.S_ISREG(mode) and bool(mode & stat.S_IWOTH) and not is_read_only


def read_text(path: Path, *, limit: int) -> str:
    """The text of a file of at most `limit` bytes. Raises Invalid. Who may read it is the operator's affair."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a FIFO, once opened, would be waited for
            raise Invalid("not a regular file")
        with path.open("rb") as file:
            if is_open_to_all(file.fileno()):
                raise Invalid(OPEN_TO_ALL, CLOSE_IT)
            raw = file.read(limit + 1)
    except OSError as error:
        raise Invalid(f"cannot be read: {error.strerror}", RELATIVE) from None
    if len(raw) > limit:
        raise Invalid(f"longer than {limit} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Invalid("not UTF-8 text") from None
