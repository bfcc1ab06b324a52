"""Reads the files that the configuration names, with errors for the reader that never repeat what is in them."""

from __future__ import annotations

import stat
from pathlib import Path

from towline.config.values import Invalid

RELATIVE = "a relative name starts at the folder of the configuration file"


def read_text(path: Path, *, limit: int) -> str:
    """The text of a file of at most `limit` bytes. Raises Invalid. Who may read it is the operator's affair."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a FIFO, once opened, would be waited for
            raise Invalid("not a regular file")
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise Invalid(f"cannot be read: {error.strerror}", RELATIVE) from None
    if len(raw) > limit:
        raise Invalid(f"longer than {limit} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Invalid("not UTF-8 text") from None
