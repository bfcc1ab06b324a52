"""The smallest values of the vocabulary: those that others are made of. `towline.types` gives them to everyone."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

type Address = tuple[str, int]
type IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
type IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_USUAL_PORTS = {"udp": 53, "https": 443}


class Secret:
    """Text that no repr, log line or error shows; `reveal()` where it goes on the wire.

    Not a dataclass: dataclasses.asdict() would look inside one.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True)
class NameServer:
    """Whom names are asked of: `udp://192.0.2.53`, or `https://dns.example/dns-query` (RFC 8484)."""

    scheme: str
    address: Address
    path: str = ""

    def __str__(self) -> str:
        host, port = self.address
        authority = f"[{host}]" if ":" in host else host
        usual = port == _USUAL_PORTS[self.scheme]
        return f"{self.scheme}://{authority}{'' if usual else f':{port}'}{self.path}"
