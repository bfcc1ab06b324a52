from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, replace

import pytest
from tests.web.fakes import EXPLAINED, SNAPSHOT, FakeRunning
from tests.web.http import ask, raw

from towline.admin.serve import AdminServer


async def test_livez_answers(server: AdminServer) -> None:
    """The loop turns: 200 and `ok`."""
    answer = await ask(server, "/livez")
    assert (answer.status, answer.body) == (200, "ok\n")


@pytest.mark.parametrize(
    ("ready", "draining", "status", "body"),
    [(True, False, 200, "ready\n"), (False, False, 503, "starting\n"), (True, True, 503, "draining\n")],
)
async def test_readyz_says_why_not(
    server: AdminServer, running: FakeRunning, ready: bool, draining: bool, status: int, body: str
) -> None:
    """503 before the listeners are open and while tunnels are drained, each with its word."""
    running.shown = replace(SNAPSHOT, ready=ready, draining=draining)
    answer = await ask(server, "/readyz")
    assert (answer.status, answer.body) == (status, body)


async def test_status_is_the_snapshot(server: AdminServer) -> None:
    """status.json holds every field of the snapshot, nested as the types are."""
    answer = await ask(server, "/api/v1/status")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == json.loads(json.dumps(asdict(SNAPSHOT)))


async def test_status_has_the_promised_keys(server: AdminServer) -> None:
    """The keys that design.md section 8 promises are there; scripts rely on them."""
    status = (await ask(server, "/api/v1/status")).json
    assert {"version", "ready", "uptime_seconds", "routes", "tunnels", "totals"} <= status.keys()
    route, tunnel = status["routes"][0], status["tunnels"][0]
    assert {"name", "circuit", "draining", "tunnels", "bytes_in", "bytes_out", "attempts", "failures"} <= route.keys()
    known = {"registry", "success", "first_byte_seconds", "rate_bytes_per_second", "expected_seconds", "reason"}
    assert known | {"probed_seconds_ago"} <= route["registries"][0].keys()
    assert {"id", "client", "target", "registry", "role", "route", "phase"} <= tunnel.keys()
    assert {"bytes_in", "bytes_out", "age_seconds", "idle_seconds"} <= tunnel.keys()
    assert {"tunnels", "refused", "failovers", "bytes_in", "bytes_out"} <= status["totals"].keys()


@pytest.mark.parametrize(
    ("asked", "target"),
    [("ghcr.io", "ghcr.io:443"), ("ghcr.io:5000", "ghcr.io:5000"), ("[2001:db8::1]:443", "[2001:db8::1]:443")],
)
async def test_explain_takes_host_and_port(server: AdminServer, asked: str, target: str) -> None:
    """The port is 443 where none is given; the answer is the service's own."""
    answer = await ask(server, f"/api/v1/explain?host={asked}")
    assert (answer.status, answer.json) == (200, EXPLAINED | {"target": target})


@pytest.mark.parametrize("query", ["", "?host=", "?host=127.1", "?host=a%0ab", "?host=user:secret@ghcr.io"])
async def test_explain_refuses_bad_hosts(server: AdminServer, query: str) -> None:
    """400 with the reason as JSON, and nothing of the query in it."""
    answer = await ask(server, f"/api/v1/explain{query}")
    assert answer.status == 400
    assert answer.json.keys() == {"error"}
    assert "secret" not in answer.body


async def test_explain_refuses_broken_encoding(server: AdminServer) -> None:
    """A host that is not UTF-8 is 400 with a fixed text."""
    answer = await ask(server, "/api/v1/explain?host=%ff")
    assert (answer.status, answer.json) == (400, {"error": "bad request"})


async def test_page_says_where_status_is(server: AdminServer) -> None:
    """A browser that comes to / is told what this is and where to look."""
    answer = await ask(server, "/")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "/api/v1/status" in answer.body


@pytest.mark.parametrize("path", ["/", "/livez", "/api/v1/status", "/api/v1/explain", "/nothing"])
async def test_every_answer_is_hardened(server: AdminServer, path: str) -> None:
    """Answers and errors alike: not cached, not sniffed, no scripts, no CORS, no name of the library."""
    headers = (await ask(server, path)).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert not {name for name in headers if name.startswith("access-control-")}
    assert not {"server", "etag"} & headers.keys()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_only_reading_is_allowed(server: AdminServer, method: str) -> None:
    """405 names what is allowed; OPTIONS too, so that no preflight succeeds."""
    answer = await ask(server, "/api/v1/status", method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_head_has_no_body(server: AdminServer) -> None:
    """HEAD answers as GET does, without the body."""
    answer = await ask(server, "/api/v1/status", method="HEAD")
    assert (answer.status, answer.body) == (200, "")
    assert int(answer.headers["content-length"]) > 0


async def test_unknown_path_is_fixed_text(server: AdminServer) -> None:
    """404 does not echo what was asked for."""
    answer = await ask(server, "/<script>")
    assert (answer.status, answer.body) == (404, "there is nothing here; / lists what is\n")


async def test_fault_is_fixed_text(server: AdminServer, running: FakeRunning, caplog: pytest.LogCaptureFixture) -> None:
    """A value without a JSON form is 500, logged, and shows nothing of its insides."""
    running.shown = replace(SNAPSHOT, uptime_seconds=float("nan"))
    answer = await ask(server, "/api/v1/status")
    assert (answer.status, answer.json) == (500, {"error": "internal server error"})
    assert "Uncaught exception" in caplog.text


async def test_long_head_is_refused(server: AdminServer) -> None:
    """A head beyond 8 KiB ends the connection without an answer from the application."""
    host = f"Host: 127.0.0.1:{server.address[1]}\r\n".encode()
    request = b"GET /livez HTTP/1.1\r\n" + host + b"X-Long: " + b"a" * 9000 + b"\r\n\r\n"
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(request)
        try:
            answer = await reader.read()
        except ConnectionResetError:
            answer = b""
        writer.close()
    assert b"ok" not in answer


async def test_long_body_is_refused(server: AdminServer) -> None:
    """A body beyond 1 KiB is not read."""
    host = f"127.0.0.1:{server.address[1]}"
    answer = await raw(server.address, f"GET /livez HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4096\r\n\r\n".encode())
    assert answer.status == 400
