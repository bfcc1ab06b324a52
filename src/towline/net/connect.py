"""HTTP and HTTPS proxies: CONNECT (RFC 9110 section 9.3.6), and TLS to the proxy where the route says https.

    resolve and connect to the proxy -> TLS, verified -> CONNECT host:port -> 2xx -> the bytes are the target's

The name of the target goes to the proxy as it is; what the proxy resolves it to, no guard of ours sees (core/guard.py
judges the name). An https proxy is never spoken to in plain text.

Who is to blame for a reply that is not 2xx? With 500, 502, 503 and 504 the proxy reports that it did not reach the
target: tinyproxy 1.11 says 500 for every cause, squid 5.7 says 503 for every cause, others 502 and 504, so that no code
tells a dead target from a proxy without network. Squid stopped blaming its peers for them (squid PR 1772). They blame
the target here; where another route reaches the same target, the ledger counts them against this one all the same. All
else (403, 404, 405, 407, 429) is the proxy's own will: a route of no use for this target.
"""

from __future__ import annotations

import base64
import ssl
from http import HTTPStatus
from typing import NoReturn

import h11

from towline.core.via import write as write_via
from towline.errors import ConfigError, DialError, Problem
from towline.net.addresses import Admit, check_literal
from towline.net.dialer import Dialed
from towline.net.edge import brief, dialing
from towline.net.hop import VIA, Exchange, connect_to_proxy, converse, proxy_of
from towline.net.resolve import Resolver
from towline.net.wire import handshake
from towline.types import Blame, OutcomeKind, Phase, RouteKind, RouteSpec, Target

MAX_REPLY = 16384
"""Bytes of a reply's head, interim 1xx heads counted in: as much as the gate allows a client's head."""

_AUTH_WANTED = {
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
    HTTPStatus.UNAUTHORIZED,
}  # 401: tinyproxy, for a wrong password
_TARGET_NOT_REACHED = {
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


class ConnectDialer:
    """Opens connections to targets through an HTTP or HTTPS proxy."""

    def __init__(self, spec: RouteSpec, *, resolver: Resolver, admit: Admit) -> None:
        """Raises ConfigError where the CA file of an HTTPS proxy cannot be used."""
        self._spec = spec
        self._proxy = proxy_of(spec)
        self._resolver = resolver
        self._admit = admit
        self._tls = tls_context(spec.ca_file) if spec.kind is RouteKind.HTTPS else None

    async def dial(self, target: Target, *, deadline: float) -> Dialed:
        """Reach `target` through the proxy; see Dialer."""
        check_literal(target, self._admit)
        async with dialing(deadline, to="proxy") as progress:
            sock, endpoint = await connect_to_proxy(self._spec, self._resolver, progress, deadline=deadline)
            try:
                if self._tls is not None:
                    progress.phase = Phase.TLS
                    # Raises after a reset, as wrap_socket would; but there CPython 3.12.1 loses the descriptor.
                    sock.getpeername()
                    host = self._proxy[0]
                    # From here on `sock` is the SSLSocket: it has taken the descriptor out of the plain one.
                    sock = self._tls.wrap_socket(sock, do_handshake_on_connect=False, server_hostname=host)
                    await handshake(sock)
                progress.phase = Phase.PROXY
                early = await converse(sock, connect_exchange(target, _authorization(self._spec)))
            except BaseException:
                sock.close()
                raise
        return Dialed(sock, peer=str(endpoint), early=early)


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """A context that verifies certificate and host name against `ca_file`, or the system's roots where it is None.

    Raises ConfigError.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError too: the file holds no certificate
        message = f"cannot be used as a CA bundle: {error.strerror or error}"
        hint = "ca_file is a file of certificates in PEM form"
        raise ConfigError([Problem(place=str(ca_file), key="ca_file", message=message, hint=hint)]) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _authorization(spec: RouteSpec) -> str | None:
    """Basic credentials in UTF-8 (RFC 7617), sent without waiting for a 407, as Go does (clients.md A.7)."""
    if spec.username is None:
        return None
    password = spec.password.reveal() if spec.password is not None else ""
    return "Basic " + base64.b64encode(f"{spec.username}:{password}".encode()).decode()


def connect_exchange(target: Target, authorization: str | None) -> Exchange:
    """CONNECT to `target`, without I/O (see hop.py): returns what came after the reply's head."""
    headers = [("Host", target.authority), ("User-Agent", "towline")]
    if via := write_via(VIA.get()):
        headers.append(("Via", via))
    if authorization is not None:
        headers.append(("Proxy-Authorization", authorization))
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2 * MAX_REPLY)  # the bound is checked below
    request = h11.Request(method="CONNECT", target=target.authority, headers=headers)
    data = yield (connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b"")
    received = 0
    while True:
        received += len(data)
        response = _response(connection, data, authorization)
        head = received if response is None else received - len(connection.trailing_data[0])
        if head > MAX_REPLY:
            raise _protocol_error(f"reply head over {MAX_REPLY} bytes")
        if response is not None:
            break
        data = yield b""
    if not 200 <= response.status_code < 300:
        _refused(response, authorization)
    return connection.trailing_data[0]


def _response(connection: h11.Connection, data: bytes, authorization: str | None) -> h11.Response | None:
    """The final reply, once `data` completes it; interim ones are passed over (RFC 9110 section 15.2)."""
    try:
        connection.receive_data(data)
        while isinstance(event := connection.next_event(), h11.InformationalResponse):
            pass
    except h11.RemoteProtocolError as error:
        if data.startswith((b"\x15\x03", b"\x16\x03")):  # a TLS alert or handshake record
            raise _protocol_error("answers in TLS (https:// instead of http://?)") from error
        # h11 quotes what it could not read, in which the credentials that it was sent may be in any form.
        quoted = "" if authorization else f": {brief(str(error))}"
        raise _protocol_error(f"not an HTTP reply{quoted}") from error
    return event if isinstance(event, h11.Response) else None


def _refused(response: h11.Response, authorization: str | None) -> NoReturn:
    status = response.status_code
    text = f"{status} from proxy"
    if status in _AUTH_WANTED:
        raise DialError(OutcomeKind.PROXY_AUTH, Phase.PROXY, Blame.ROUTE, text)
    reason = _reason(response, authorization)
    if reason and reason.casefold() != _standard_phrase(status):
        text += f": {reason}"
    blame = Blame.TARGET if status in _TARGET_NOT_REACHED else Blame.ROUTE
    raise DialError(OutcomeKind.PROXY_REFUSED, Phase.PROXY, blame, text)


def _reason(response: h11.Response, authorization: str | None) -> str:
    """A proxy's own words, unless they repeat the credentials that it was sent: clients and the log would see them."""
    said = response.reason.lower()
    if authorization is not None:
        token = authorization.partition(" ")[2].encode()
        password = base64.b64decode(token).partition(b":")[2]
        if any(secret.lower() in said for secret in (token, password) if secret):
            return "(it repeats the password)"
    return brief(response.reason.decode("latin-1"))


def _standard_phrase(status: int) -> str:
    """The phrase that says no more than the code; "" for a code without one."""
    try:
        return HTTPStatus(status).phrase.casefold()
    except ValueError:
        return ""


def _protocol_error(detail: str) -> DialError:
    return DialError(OutcomeKind.PROXY_PROTOCOL, Phase.PROXY, Blame.ROUTE, f"proxy: {detail}")
