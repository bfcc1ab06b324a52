"""What name servers answered, kept for as long as they said that it holds (RFC 1035 section 3.2.1).

That a name has no address of a family is an answer too, with a time of its own (RFC 2308 section 5): without it every
lookup of a name that has no IPv6 would ask again. A failure to answer is none, and is not kept.
"""

from __future__ import annotations

from typing import NamedTuple

from towline.types import IPAddress

MAX_ANSWERS = 512
"""Answers that are kept, two for each name: a pull asks for three names, and unlisted hosts come and go."""
MAX_TTL = 3600.0
"""Seconds that an answer is kept at most: whoever says days does not know of a network that changes unseen."""


class Answer(NamedTuple):
    """The addresses of one family that a name has, none perhaps, and for how many seconds that holds."""

    addresses: tuple[IPAddress, ...]
    ttl: float


class _Kept(NamedTuple):
    addresses: tuple[IPAddress, ...]
    until: float


class Answers:
    """Answers by name and IP version. When it is full, the one that was learned first goes."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], _Kept] = {}

    def known(self, host: str, version: int, *, now: float) -> tuple[IPAddress, ...] | None:
        """The addresses of `host`; None where nothing is known that still holds."""
        kept = self._kept.get((host, version))
        return kept.addresses if kept is not None and now < kept.until else None

    def learn(self, host: str, version: int, answer: Answer, *, now: float) -> None:
        """Keep an answer, in the place of an older one."""
        self._kept.pop((host, version), None)
        self._kept[host, version] = _Kept(answer.addresses, now + min(answer.ttl, MAX_TTL))
        if len(self._kept) > MAX_ANSWERS:
            del self._kept[next(iter(self._kept))]
