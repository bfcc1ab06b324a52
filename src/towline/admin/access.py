"""Who may ask the admin side for what. Decided from the request's head and where it comes from, before anything else.

    Host       has to name the admin address or one of `admin_hosts`: a page that was rebound to 127.0.0.1 does not
    reading    free from this machine (loopback), with the token from elsewhere; what is OPEN is free for all
    writing    with the token, and never for a page of another origin

The token is a bearer's (RFC 6750): no browser sends it by itself, as it would a cookie or a password that it knows.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from towline.types import Address, Secret, Target, TargetError

if TYPE_CHECKING:
    from tornado.httputil import HTTPServerRequest


class Exposure(Enum):
    """What an answer gives away, or does."""

    OPEN = auto()
    """Names no client and no host: health checks, which a kubelet asks without a token."""
    READS = auto()
    WRITES = auto()


class Denial(NamedTuple):
    """Why a request is not answered."""

    status: HTTPStatus
    why: str


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of one admin address."""

    address: Address
    """Where it is bound: the real port, not 0."""
    hosts: frozenset[str] = frozenset()
    """Further names that Host may have."""
    token: Secret | None = None
    """None: nothing that needs it is answered."""

    def deny(self, request: HTTPServerRequest, exposure: Exposure) -> Denial | None:
        """Why the request is not to be answered; None where it is."""
        if not self.knows_host(request.headers.get("Host", "")):
            return Denial(HTTPStatus.FORBIDDEN, "the Host header does not name this admin address (admin_hosts)")
        if exposure is Exposure.WRITES and is_cross_site(request):
            return Denial(HTTPStatus.FORBIDDEN, "a page of another origin may not do this")
        if exposure is Exposure.OPEN or (exposure is Exposure.READS and is_from_here(request)):
            return None
        if self.token is None:
            return Denial(HTTPStatus.FORBIDDEN, "this needs the admin token, and there is none: the log says why")
        if not is_bearer(request.headers.get("Authorization", ""), self.token):
            return Denial(HTTPStatus.UNAUTHORIZED, "this needs the admin token: Authorization: Bearer TOKEN")
        return None

    def knows_host(self, header: str) -> bool:
        """True where a Host header names the admin address: loopback or the bound address, with the bound port.

        Where it is bound to every address, any address literal will do, as in a kubelet's probe: rebinding needs a
        name. Names of `hosts` come with any port, since a container's may be published under another.
        """
        host, port = self.address
        try:
            target = Target.parse(header, 80)  # RFC 9110 4.2.1: a port that Host leaves out is 80
        except TargetError:
            return False
        if target.host in self.hosts:
            return True
        if target.port != port:
            return False
        if target.ip is None:
            return target.host == "localhost"
        bound = ipaddress.ip_address(host)
        return target.ip.is_loopback or target.ip == bound or bound.is_unspecified


def is_cross_site(request: HTTPServerRequest) -> bool:
    """True where a browser says that a page of another origin asks (Fetch 3.2, Fetch Metadata 2.2)."""
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site", "none")
    return (origin is not None and origin != f"http://{request.headers['Host']}") or site not in ("same-origin", "none")


def is_from_here(request: HTTPServerRequest) -> bool:
    """True for a client on this machine, by its address: a container's that is published comes from its bridge."""
    return request.remote_ip is not None and ipaddress.ip_address(request.remote_ip).is_loopback


def is_bearer(header: str, token: Secret) -> bool:
    """True where an Authorization header has the token. The time it takes tells nothing about it."""
    scheme, _, given = header.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.reveal().encode())
