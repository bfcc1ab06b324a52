"""The admin side over HTTP: what the running Towline knows and can be told, for the CLI, health checks and browsers.

    GET /                              a page that says what this is
    GET /livez                         200 `ok` while the event loop turns
    GET /readyz                        200 `ready`, or 503 with why not: `starting`, `draining`
    GET /api/v1/status                 the Snapshot as JSON
    GET /api/v1/explain?host=HOST[:PORT]   which route a target would take, and why (port 443 where none is given)
    POST /api/v1/probe?host=HOST[:PORT]    probe it now over every route; without host, all that is in use
    POST /api/v1/routes/NAME/drain     give the route no new tunnels; `resume` ends it
    POST /api/v1/reload                read the configuration again

access.py says who may ask.
"""

from __future__ import annotations

import dataclasses
from http import HTTPStatus
from typing import override

import structlog
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, MissingArgumentError, RequestHandler

from towline.admin.access import Access, Exposure
from towline.admin.answers import HTTPS, Reading
from towline.admin.control import Probe, Reloading, Steer
from towline.admin.running import Reload, Running
from towline.types import Target, TargetError

log = structlog.get_logger(__name__)

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


def application(running: Running, reload: Reload, access: Access) -> Application:
    """The tornado application: what is asked, of whom, and by which rules."""
    given = {"running": running, "reload": reload, "access": access}
    return Application(
        [
            ("/", Page, given),
            ("/livez", Live, given),
            ("/readyz", Ready, given),
            ("/api/v1/status", Status, given),
            ("/api/v1/explain", Explain, given),
            ("/api/v1/probe", Probe, given),
            ("/api/v1/routes/([^/]+)/(drain|resume)", Steer, given),
            ("/api/v1/reload", Reloading, given),
        ],
        default_handler_class=Unknown,
        default_handler_args=given,
        log_function=_log_request,
    )


class Page(Reading):
    """The page."""

    @override
    def answer(self) -> None:
        self.finish(PAGE)


class Live(Reading):
    """The loop turns, or this would not answer."""

    exposure = Exposure.OPEN

    @override
    def answer(self) -> None:
        self.text("ok")


class Ready(Reading):
    """Whether new tunnels are taken."""

    exposure = Exposure.OPEN

    @override
    def answer(self) -> None:
        snapshot = self.running.snapshot()
        if snapshot.ready and not snapshot.draining:
            self.text("ready")
        else:
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "draining" if snapshot.draining else "starting")


class Status(Reading):
    """The snapshot."""

    @override
    def answer(self) -> None:
        self.json(dataclasses.asdict(self.running.snapshot()))


class Explain(Reading):
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


class Unknown(Reading):
    """Any other path."""

    @override
    def answer(self) -> None:
        self.refuse(HTTPStatus.NOT_FOUND, "there is nothing here; / lists what is")


def _log_request(handler: RequestHandler) -> None:
    """One line at debug: status is polled, and a poll is not news."""
    request: HTTPServerRequest = handler.request
    log.debug("admin_request", client=request.remote_ip, method=request.method, path=request.path)
