"""What changes the running Towline, over HTTP."""

from __future__ import annotations

from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from tests.web.fakes import SNAPSHOT, TOKEN, FakeRunning
from tests.web.http import Answer, ask

from towline.admin.serve import AdminServer
from towline.views import ReloadView


async def post(server: AdminServer, path: str) -> Answer:
    """A POST with the token."""
    return await ask(server, path, f"Authorization: Bearer {TOKEN.reveal()}", method="POST")


async def test_route_is_drained_and_resumed(server: AdminServer, running: FakeRunning) -> None:
    """The answer has the route as status.json shows it, and which routes are left."""
    drained = await post(server, "/api/v1/routes/direct/drain")
    status = await ask(server, "/api/v1/status")
    assert drained.json == {"route": status.json["routes"][0], "in_use": ["vpn"]}
    assert drained.json["route"]["draining"] is True
    resumed = await post(server, "/api/v1/routes/direct/resume")
    assert (resumed.json["route"]["draining"], resumed.json["in_use"]) == (False, ["direct", "vpn"])
    assert running.drained == []


@pytest.mark.parametrize("name", ["other", "DIRECT", "direct%0a", "..%2fdirect", "%ff", "x" * 4000])
async def test_route_that_does_not_exist(server: AdminServer, running: FakeRunning, name: str) -> None:
    """404, and where their names are; a name that is no text is 400."""
    answer = await post(server, f"/api/v1/routes/{name}/drain")
    assert (answer.status, answer.json) in [
        (404, {"error": "there is no route of this name; `towline status` lists them"}),
        (400, {"error": "bad request"}),
    ]
    assert not any(route.draining for route in running.shown.routes)


@pytest.mark.parametrize("path", ["/api/v1/routes/direct/stop", "/api/v1/routes//drain", "/api/v1/routes/direct"])
async def test_path_that_does_not_exist(server: AdminServer, path: str) -> None:
    """There is nothing to POST to."""
    assert (await post(server, path)).status == 405


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_only_post_changes_anything(server: AdminServer, running: FakeRunning, method: str) -> None:
    """A link that is followed, or an image that is fetched, drains no route."""
    answer = await ask(server, "/api/v1/routes/direct/drain", method=method)
    assert (answer.status, answer.headers["allow"], running.drained) == (405, "POST", [])


async def test_writing_stands_in_the_log_without_its_token(server: AdminServer) -> None:
    """Who asked for what; a request without the token leaves no line above debug."""
    with capture_logs() as logs:
        await ask(server, "/api/v1/routes/vpn/drain", method="POST")
        await post(server, "/api/v1/routes/direct/drain")
    told = [{"client": "127.0.0.1", "path": "/api/v1/routes/direct/drain", "event": "admin_write", "log_level": "info"}]
    assert [entry for entry in logs if entry["log_level"] != "debug"] == told
    assert TOKEN.reveal() not in str(logs)


@pytest.mark.parametrize(
    ("came", "status", "error"),
    [
        (ReloadView(1, ok=True, added=("vpn",)), 200, None),
        (ReloadView(1, ok=False, problems=("t:1: x: unknown key",)), 422, "nothing was changed: see `problems`"),
        (ReloadView(), 500, "the reload broke: the log says where"),
        (None, 503, "no reload now: Towline is starting or stopping"),
    ],
)
async def test_reload_tells_what_came_of_it(
    running: FakeRunning, came: ReloadView | None, status: int, error: str | None
) -> None:
    """Changed, or every problem and nothing changed; one that did not happen is none that did."""

    async def reload() -> bool:
        if came is not None:
            running.shown = replace(SNAPSHOT, reload=came)
        return came is not None

    server = AdminServer.bind(running, ("127.0.0.1", 0), obtain_token=lambda: TOKEN, reload=reload)
    await server.serve()
    answer = await post(server, "/api/v1/reload")
    await server.stop()
    assert (answer.status, answer.json.get("error")) == (status, error)
    if came is not None and came.count:
        told = {name: answer.json[name] for name in ("count", "ok", "added", "problems")}
        assert told == {"count": 1, "ok": came.ok, "added": list(came.added), "problems": list(came.problems)}


async def test_reload_needs_the_token(running: FakeRunning) -> None:
    """And nothing is read without it."""
    asked = []

    async def reload() -> bool:
        asked.append(1)
        return True

    server = AdminServer.bind(running, ("127.0.0.1", 0), obtain_token=lambda: TOKEN, reload=reload)
    await server.serve()
    assert (await ask(server, "/api/v1/reload", method="POST")).status == 401
    await server.stop()
    assert asked == []


async def test_host_is_probed(server: AdminServer) -> None:
    """The port is 443 where none is given; the answer has what was found over each route."""
    answer = await post(server, "/api/v1/probe?host=ghcr.io")
    assert answer.status == 200
    (probed,) = answer.json["probed"]
    assert probed["target"] == "ghcr.io:443"
    assert [found["route"] for found in probed["findings"]] == ["vpn", "vpn", "direct"]
    assert (await post(server, "/api/v1/probe?host=ghcr.io:5000")).json["probed"][0]["target"] == "ghcr.io:5000"


async def test_what_is_in_use_is_probed(server: AdminServer) -> None:
    """Without a host."""
    answer = await post(server, "/api/v1/probe")
    assert (answer.status, answer.json) == (200, {"probed": []})


@pytest.mark.parametrize(
    ("query", "status", "why"),
    [
        ("?host=", 400, "the target has no host"),
        ("?host=127.1", 400, "the IPv4 address is not in its canonical form"),
        ("?host=%ff", 400, "bad request"),
        ("?host=denied.test", 403, "towline: denied.test is no registry's host"),
    ],
)
async def test_host_that_is_not_probed(server: AdminServer, query: str, status: int, why: str) -> None:
    """What no client may ask for is not probed either."""
    answer = await post(server, f"/api/v1/probe{query}")
    assert (answer.status, answer.json) == (status, {"error": why})


async def test_a_probe_needs_the_token(server: AdminServer) -> None:
    """It spends bytes and time of others."""
    assert (await ask(server, "/api/v1/probe?host=ghcr.io", method="POST")).status == 401
    assert (await ask(server, "/api/v1/probe?host=ghcr.io")).status == 405
