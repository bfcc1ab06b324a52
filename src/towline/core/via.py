"""A request that has been here before: the Via field (RFC 9110 7.6.3) tells, also over other proxies on the way.

Two Towlines that are each other's route would else pass a CONNECT to and fro for ever. Every process calls itself by a
name that it made up at its start and that says nothing of it; a proxy on the way may add its own, or drop them all,
and then only the limits on tunnels end the circle.

    Via: 1.1 5f0c9d1e, 1.0 squid.corp.example (squid/5.7)    ->    ("5f0c9d1e", "squid.corp.example")
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

MAX_HOPS = 16
"""Names that are passed on, the latest: no sane chain of proxies is as long."""

_PROTOCOL = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+/)?[0-9.]+")
_NAME = re.compile(r"[0-9A-Za-z._:\[\]-]{1,64}")


def read(values: Iterable[str]) -> tuple[str, ...]:
    """The names in the values of a request's Via fields, oldest first; what is none is passed over."""
    entries = (entry.split(maxsplit=2) for value in values for entry in value.split(","))
    names = tuple(
        entry[1].lower()
        for entry in entries
        if len(entry) > 1 and _PROTOCOL.fullmatch(entry[0]) and _NAME.fullmatch(entry[1])
    )
    return names[-MAX_HOPS:]


def write(names: Sequence[str]) -> str:
    """The value of the Via field to send; "" for no name."""
    return ", ".join(f"1.1 {name}" for name in names)
