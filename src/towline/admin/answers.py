"""What all answers of the admin side have in common: who may have them, security headers, fixed error texts.

    Reading    GET and HEAD: `answer` shows something
    Writing    POST: `perform` does something

An answer has no CORS header, so that no page of another origin can read it, and names no software.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import ClassVar, cast, override

import structlog
from tornado.http1connection import HTTP1Connection
from tornado.web import RequestHandler

from towline.admin.access import Access, Exposure
from towline.admin.running import Reload, Running

log = structlog.get_logger(__name__)

HTTPS = 443  # the port of a registry that was asked about without one
ANSWER_TIMEOUT = 10.0  # seconds that a client may take to read its answer: here it is a loopback's few milliseconds

SECURITY_HEADERS = {
    "Cache-Control": "no-store",  # an answer is true for its moment only
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
}


class Base(RequestHandler):
    """One request and its answer."""

    exposure: ClassVar[Exposure]

    @override
    def initialize(self, running: Running, reload: Reload, access: Access) -> None:
        self.running = running
        self.reload = reload
        self.access = access

    @override
    def set_default_headers(self) -> None:
        self.clear_header("Server")  # which library answers is nobody's business
        for name, value in SECURITY_HEADERS.items():
            self.set_header(name, value)

    @override
    def prepare(self) -> None:
        if (denial := self.access.deny(self.request, self.exposure)) is not None:
            self.refuse(denial.status, denial.why)

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
        if status is HTTPStatus.UNAUTHORIZED:
            self.set_header("WWW-Authenticate", "Bearer")  # RFC 9110 15.5.2
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
    def finish(self, chunk: str | bytes | dict[str, object] | None = None) -> asyncio.Future[None]:
        """Send the answer. A client that does not read it does not keep its connection."""
        sent = super().finish(chunk)
        stream = cast("HTTP1Connection", self.request.connection).stream
        timer = asyncio.get_running_loop().call_later(ANSWER_TIMEOUT, stream.close)
        sent.add_done_callback(lambda _: timer.cancel())
        return sent

    @override
    def compute_etag(self) -> None:
        """None: what may not be stored needs no validator."""


class Reading(Base):
    """Shows something."""

    SUPPORTED_METHODS: tuple[str, ...] = ("GET", "HEAD")
    exposure = Exposure.READS

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


class Writing(Base):
    """Changes what Towline does. Every request with the token stands in the log."""

    SUPPORTED_METHODS: tuple[str, ...] = ("POST",)
    exposure = Exposure.WRITES

    @override
    async def post(self, *groups: str) -> None:  # type: ignore[mutable-override]
        log.info("admin_write", client=self.request.remote_ip, path=self.request.path)
        await self.perform(*groups)

    async def perform(self, *groups: str) -> None:
        """Do it, and finish with what came of it. `groups` are those of the path's pattern."""
        raise NotImplementedError
