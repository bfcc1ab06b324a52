"""Text of the configuration as values: addresses, networks, names, proxies. Each function raises Invalid.

No message repeats the text: a proxy's URL may hold a password, and anything may be pasted into the wrong place. The
problem's line shows it to the reader.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Collection
from typing import NamedTuple

from towline.core.guard import parse_private_targets
from towline.core.pattern import HostPattern
from towline.types import UNLISTED, Address, IPAddress, IPNetwork, NameServer, RouteKind, Target, TargetError

MAX_INTERFACE = 15  # octets: IFNAMSIZ of linux/if.h is 16, with the final NUL
MAX_SOCKS = 255  # octets of the user name and of the password (RFC 1929 section 2)
SYSTEM = "system"
DNS_PORT = 53
HTTPS_PORT = 443
MAX_IMAGE = 255  # characters of an image's name: what many clients take (the same specification)
_FEW = 16  # names that a hint lists: more than some lines of them helps nobody
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_PATH = re.compile(r"[A-Za-z0-9._~%!$&'()*+,;=:@/-]+")  # RFC 3986 3.3
_IMAGE = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_SCHEMES = tuple(kind.value for kind in RouteKind if kind is not RouteKind.DIRECT)


class Invalid(ValueError):  # noqa: N818 - a statement about the value, like Refused
    """A value that cannot be used: what is wrong, and what to write instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Proxy(NamedTuple):
    """A proxy's protocol and place."""

    kind: RouteKind
    address: Address

    @property
    def is_socks(self) -> bool:
        """True for SOCKS5, wherever it resolves names."""
        return self.kind in {RouteKind.SOCKS5, RouteKind.SOCKS5H}


def listen_address(text: str) -> Address:
    """`ADDRESS:PORT` as (canonical IP address, port)."""
    try:
        target = Target.parse(text)
    except TargetError:
        raise Invalid("expected ADDRESS:PORT", "for example 127.0.0.1:3128, [::1]:3128 or 0.0.0.0:3128") from None
    if target.ip is None:
        # A name may resolve to several addresses, and to others tomorrow; the guard has to know its own listeners.
        raise Invalid("expected an IP address and not a name", "localhost is 127.0.0.1:PORT and [::1]:PORT")
    return target.host, target.port


def host(text: str) -> str:
    """A host name or an IP address as a Host header has it, in canonical form and without a port."""
    try:
        return Target.parse(f"{text}:80").host
    except TargetError:
        raise Invalid("expected a host name or an IP address, without a port", "for example towline or [::1]") from None


def proxy(text: str) -> Proxy:
    """`SCHEME://HOST:PORT`. A port is asked for: programs disagree about the default (curl 1080, Go 80)."""
    scheme, separator, authority = text.partition("://")
    if "@" in text:
        raise Invalid("user and password are not written into the URL", "use username and password_file")
    if not separator or scheme.lower() not in _SCHEMES:
        raise Invalid("expected SCHEME://HOST:PORT", f"the schemes are {', '.join(_SCHEMES)}")
    try:
        target = Target.parse(authority.removesuffix("/"))
    except TargetError:
        raise Invalid("expected SCHEME://HOST:PORT", "for example http://proxy.corp.example:3128") from None
    return Proxy(RouteKind(scheme.lower()), (target.host, target.port))


def name_server(text: str) -> NameServer | None:
    """`system` (None), `udp://IP[:PORT]` or `https://HOST[:PORT]/PATH`."""
    scheme, _, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    try:
        if text == SYSTEM:
            return None
        if scheme == "udp" and not path:
            target = Target.parse(authority, DNS_PORT)
            if target.ip is not None:  # a name would have to be resolved first, by whom?
                return NameServer("udp", (target.host, target.port))
        if scheme == "https" and path and _PATH.fullmatch(path):
            target = Target.parse(authority, HTTPS_PORT)
            return NameServer("https", (target.host, target.port), slash + path)
    except TargetError:
        pass
    hint = "for example udp://192.0.2.53 or https://dns.example/dns-query"
    raise Invalid(f"expected {SYSTEM}, udp://IP[:PORT] or https://HOST[:PORT]/PATH", hint)


def source_address(text: str) -> IPAddress:
    """An address of this machine."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise Invalid("expected an IP address of this machine", "for example 10.20.0.7") from None
    if address.is_unspecified or address.is_multicast:
        raise Invalid("this address belongs to no interface", "for example 10.20.0.7")
    return address


def network(text: str) -> IPNetwork:
    """A network, or one address; host bits that are set are a slip of the pen."""
    try:
        given = ipaddress.ip_interface(text)
    except ValueError:
        raise Invalid("expected a network", "for example 10.0.0.0/8, fd00::/8 or one address") from None
    if given.ip != given.network.network_address:
        raise Invalid("the address has bits set beyond the network's prefix", f"the network is {given.network}")
    return given.network


def interface(text: str) -> str:
    """The name of a network interface, by the kernel's rule (dev_valid_name in net/core/dev.c)."""
    if not 0 < len(text.encode()) <= MAX_INTERFACE:
        raise Invalid(f"the name of an interface has 1 to {MAX_INTERFACE} bytes")
    if text in {".", ".."} or any(c in "/: " for c in text):
        raise Invalid("this cannot be the name of an interface", "`ip link` shows their names")
    return text


def host_pattern(text: str) -> str:
    """A host pattern in canonical form (core/pattern.py)."""
    try:
        return HostPattern.parse(text).text
    except ValueError as error:
        raise _without_value(error, text) from None


def private_target(text: str) -> str:
    """A network, an address or a host pattern that may be private (core/guard.py)."""
    try:
        parse_private_targets([text])
    except ValueError as error:
        raise _without_value(error, text) from None
    return text


def image(text: str) -> str:
    """An image at its registry: `library/alpine`, or with a tag (OCI distribution specification 1.1)."""
    name, _, tag = text.partition(":")
    if len(name) > MAX_IMAGE or not _IMAGE.fullmatch(name) or (":" in text and not _TAG.fullmatch(tag)):
        raise Invalid("expected an image, without its registry's host", "for example team/base or team/base:1.2")
    return text


def _without_value(error: ValueError, text: str) -> Invalid:
    """The core names the value in front of what is wrong with it."""
    return Invalid(str(error).removeprefix(f"{text!r} "))


def name(text: str) -> str:
    """The name of a route or a registry: it stands in logs, metric labels and command lines."""
    if not _NAME.fullmatch(text):
        raise Invalid("a name is 1 to 32 of a-z, 0-9, _ and -, and begins with a letter or digit")
    return text


def registry_name(text: str) -> str:
    """The name of a registry; `unlisted` stands for all the others."""
    if text == UNLISTED:
        raise Invalid(f"{UNLISTED} means the hosts that no registry lists", "choose another name")
    return name(text)


def nearest(word: str, known: Collection[str]) -> str:
    """A hint: the known word that `word` was probably meant to be, else all of them where they are few."""
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(sorted(known))}" if 0 < len(known) <= _FEW else ""
