"""Text from the wire made safe for a reader: host names, addresses and error texts may hold anything.

A line break would forge a log line, an ANSI sequence would drive the terminal, a right-to-left mark would reorder what
is read. `escape` turns all of them into visible backslash forms; log.py and the command line print nothing else.
"""

from __future__ import annotations

MAX_TEXT = 256  # characters shown of one value; a host name has 253 at most (types.MAX_HOST)


def escape(text: str, limit: int = MAX_TEXT) -> str:
    """`text` in at most `limit` printable characters: others as `\\n`, `\\x1b`, `\\u202e`; a cut ends in `...`.

    Printable is str.isprintable: no control or format character, no lone surrogate, no space but U+0020.
    """
    shown = text[: limit + 1]  # what is longer is cut in any case, so that a megabyte costs no more than this
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."
