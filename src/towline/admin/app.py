"""The admin side over HTTP: what the running Towline knows, for the CLI, for health checks and for a look in a browser.

    GET /                              a page that says what this is
    GET /livez                         200 `ok` while the event loop turns
    GET /readyz                        200 `ready`, or 503 with why not: `starting`, `draining`
    GET /api/v1/status                 the Snapshot as JSON
    GET /api/v1/explain?host=HOST[:PORT]   which route a target would take, and why (port 443 where none is given)

It only reads, and only this machine should reach it. A browser here could be used against it, so a request must name
the admin address in Host (a page elsewhere whose name is rebound to 127.0.0.1 cannot), no answer carries CORS headers
(no page may read one), and error texts are fixed.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from http import HTTPStatus
from typing import Protocol, override

import structlog
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, MissingArgumentError, RequestHandler

from towline.types import Address, Target, TargetError
from towline.views import Snapshot

log = structlog.get_logger(__name__)

HTTPS = 443  # the port of a registry that was asked about without one

SECURITY_HEADERS = {
    "Cache-Control": "no-store",  # an answer is true for its moment only
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

PAGE = """<!doctype html>
<html lang="en">
<title>Towline</title>
<h1>Towline</h1>
<p>A forward proxy for container pulls. This is its admin address; the proxy listens on another.</p>
<ul>
<li><a href="/api/v1/status">/api/v1/status</a>: routes, tunnels and totals (<code>towline status</code>)
<li><a href="/api/v1/explain?host=registry-1.docker.io">/api/v1/explain?host=registry-1.docker.io</a>:
which route a host would take, and why (<code>towline explain HOST</code>)
<li><a href="/readyz">/readyz</a>, <a href="/livez">/livez</a>: health checks
</ul>
</html>
"""


class Running(Protocol):
    """The composed proxy, as far as the admin side asks it."""

    def snapshot(self) -> Snapshot:
        """The ledger at this moment."""
        ...

    def explain(self, host: str, port: int) -> dict[str, object]:
        """JSON-ready: target, registry, role, rule, why, refused, candidates and excluded. Raises TargetError."""
        ...


def application(running: Running, address: Address) -> Application:
    """The tornado application for what is bound to `address` (the real port, not 0)."""
    given = {"running": running, "address": address}
    return Application(
        [
            ("/", Page, given),
            ("/livez", Live, given),
            ("/readyz", Ready, given),
            ("/api/v1/status", Status, given),
            ("/api/v1/explain", Explain, given),
        ],
        default_handler_class=Unknown,
        default_handler_args=given,
        log_function=_log_request,
    )


class Base(RequestHandler):
    """What every answer has in common: the Host check, the security headers, fixed error texts."""

    SUPPORTED_METHODS: tuple[str, ...] = ("GET", "HEAD")

    @override
    def initialize(self, running: Running, address: Address) -> None:
        self.running = running
        self.address = address

    @override
    def set_default_headers(self) -> None:
        self.clear_header("Server")  # which library answers is nobody's business
        for name, value in SECURITY_HEADERS.items():
            self.set_header(name, value)

    @override
    def prepare(self) -> None:
        if not is_own_host(self.request.headers.get("Host", ""), self.address):
            self.refuse(HTTPStatus.FORBIDDEN, "the Host header does not name this admin address")

    # tornado declares its methods as attributes that may be assigned, which no method overrides to mypy's satisfaction.
    @override
    def get(self) -> None:  # type: ignore[mutable-override]
        self.answer()

    @override
    def head(self) -> None:  # type: ignore[mutable-override]
        self.answer()  # tornado leaves the body out

    def answer(self) -> None:
        """Finish with what this path shows."""
        raise NotImplementedError

    def text(self, body: str) -> None:
        """Answer with one line of plain text."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{body}\n")

    def json(self, body: object) -> None:
        """Answer with JSON. NaN has no JSON form: such a value is a fault to be seen as 500, not a broken document."""
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(body, allow_nan=False))

    def refuse(self, status: HTTPStatus, why: str) -> None:
        """Answer with `status` and `why`, as JSON below /api."""
        self.set_status(status)
        if self.request.path.startswith("/api/"):
            self.json({"error": why})
        else:
            self.text(why)

    @override
    def write_error(self, status_code: int, **kwargs: object) -> None:
        status = HTTPStatus(status_code)
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(self.SUPPORTED_METHODS))  # RFC 9110 15.5.6
        self.refuse(status, status.phrase.lower())

    @override
    def compute_etag(self) -> None:
        """None: what may not be stored needs no validator."""


class Page(Base):
    """The page."""

    @override
    def answer(self) -> None:
        self.finish(PAGE)


class Live(Base):
    """The loop turns, or this would not answer."""

    @override
    def answer(self) -> None:
        self.text("ok")


class Ready(Base):
    """Whether new tunnels are taken."""

    @override
    def answer(self) -> None:
        snapshot = self.running.snapshot()
        if snapshot.ready and not snapshot.draining:
            self.text("ready")
        else:
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "draining" if snapshot.draining else "starting")


class Status(Base):
    """The snapshot."""

    @override
    def answer(self) -> None:
        self.json(dataclasses.asdict(self.running.snapshot()))


class Explain(Base):
    """The ranking of one target."""

    @override
    def answer(self) -> None:
        try:
            target = Target.parse(self.get_query_argument("host"), HTTPS)
            self.json(self.running.explain(target.host, target.port))
        except MissingArgumentError:
            self.refuse(HTTPStatus.BAD_REQUEST, "the host is missing: /api/v1/explain?host=HOST[:PORT]")
        except TargetError as error:
            self.refuse(HTTPStatus.BAD_REQUEST, str(error))


class Unknown(Base):
    """Any other path."""

    @override
    def answer(self) -> None:
        self.refuse(HTTPStatus.NOT_FOUND, "there is nothing here; / lists what is")


def is_own_host(header: str, address: Address) -> bool:
    """True where a Host header names the admin address: loopback or the bound IP address, with the bound port.

    Where it is bound to every address, any address literal will do, as in a kubelet's probe: rebinding needs a name.
    """
    host, port = address
    try:
        target = Target.parse(header, 80)  # RFC 9110 4.2.1: a port that Host leaves out is 80
    except TargetError:
        return False
    if target.port != port:
        return False
    if target.ip is None:
        return target.host == "localhost"
    bound = ipaddress.ip_address(host)
    return target.ip.is_loopback or target.ip == bound or bound.is_unspecified


def _log_request(handler: RequestHandler) -> None:
    """One line at debug: status is polled, and a poll is not news."""
    request: HTTPServerRequest = handler.request
    log.debug("admin_request", client=request.remote_ip, method=request.method, path=request.path)
