"""Host patterns: how the catalogue and the policies name hosts.

    ghcr.io                         this host alone
    *.gcr.io                        its subdomains at any depth, not gcr.io itself
    api.ecr.*.amazonaws.com         `*` for a label: any one label
    cdn*.quay.io                    `*` inside a label: any characters, also none, but no dot
    10.20.0.7, fd00::7              this address alone

Patterns and hosts are compared in lower case without the final dot. One `*` to a label and none in the last one:
matching stays linear in the length of the host, and no pattern covers every domain by accident.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Self

from towline.types import MAX_HOST

_LABEL = re.compile(r"(?=.{1,63}\Z)[a-z0-9_*]([a-z0-9_*-]*[a-z0-9_*])?")  # as types.Target has it, and `*`


def canonical_host(host: str) -> str:
    """`host` as it is compared: lower case, without the final dot."""
    return host.lower().removesuffix(".")


@dataclass(frozen=True, slots=True)
class HostPattern:
    """One pattern, parsed: `matches()` takes a host in canonical form."""

    text: str
    """The pattern in canonical form."""
    ending: str
    """The labels after the last `*`, joined: what every matching host ends in. The whole text where there is no `*`."""
    _regex: re.Pattern[str] | None
    """None for an exact host."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a pattern. Raises ValueError with a text that names the pattern."""
        canonical = canonical_host(text)
        address = _address(canonical)
        if address is not None:
            return cls(address, address, None)
        _check(text, canonical)
        ending = canonical.rpartition("*")[2].partition(".")[2] if "*" in canonical else canonical
        return cls(canonical, ending, _regex(canonical) if "*" in canonical else None)

    @property
    def exact(self) -> bool:
        """True for a pattern that names one host."""
        return self._regex is None

    @property
    def fixed(self) -> int:
        """How many characters of the pattern a host has to repeat: the more, the more specific it is."""
        return len(self.text) - self.text.count("*")

    def matches(self, host: str) -> bool:
        """True where `host`, in canonical form, is named by this pattern."""
        return host == self.text if self._regex is None else self._regex.fullmatch(host) is not None


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _check(text: str, canonical: str) -> None:
    """Raise ValueError unless `canonical` is a well-formed pattern of names."""
    labels = canonical.split(".")
    if len(canonical) > MAX_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(
            f"{text!r} is not a host pattern: write ghcr.io, *.gcr.io or cdn*.quay.io, without scheme or port"
        )
    if any(label.count("*") > 1 for label in labels):
        raise ValueError(f"{text!r} has more than one * in a label")
    if "*" in labels[-1]:
        raise ValueError(f"{text!r} leaves the last label open: a pattern ends in a fixed name")
    if labels[-1].isdigit():
        raise ValueError(f"{text!r} ends in a number: an address is written whole, a network has no place here")


def _regex(canonical: str) -> re.Pattern[str]:
    prefix, rest = (r"(?:[^.]+\.)+", canonical[2:]) if canonical.startswith("*.") else ("", canonical)
    return re.compile(prefix + re.escape(rest).replace(r"\*", "[^.]*"))
