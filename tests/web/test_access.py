"""Who may ask the admin side: over a real connection, and as a table of Host headers, origins and tokens."""

from __future__ import annotations

import hmac

import pytest
from tests.web.fakes import TOKEN, FakeRunning
from tests.web.http import Answer, ask, raw
from tornado.httputil import HTTPHeaders, HTTPServerRequest

from towline.admin import access
from towline.admin.access import Access, Exposure, is_bearer
from towline.admin.serve import AdminServer
from towline.types import Address, Secret

WRITE = "/api/v1/routes/direct/drain"
BEARER = f"Authorization: Bearer {TOKEN.reveal()}"


async def write(server: AdminServer, *fields: str, host: str | None = None) -> Answer:
    """A POST with these fields."""
    return await ask(server, WRITE, *fields, method="POST", host=host)


def request(remote: str = "127.0.0.1", **fields: str) -> HTTPServerRequest:
    """A request from `remote` to 127.0.0.1:3129."""
    headers = HTTPHeaders({"Host": "127.0.0.1:3129"} | {name.replace("_", "-"): fields[name] for name in fields})
    made = HTTPServerRequest(method="GET", uri="/", headers=headers)
    made.remote_ip = remote
    return made


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "127.0.0.1.:{port}", "a,b", "towline.evil.example"]
)
@pytest.mark.parametrize("path", ["/", "/livez", "/api/v1/status", "/nothing"])
async def test_foreign_host_is_refused(server: AdminServer, host: str, path: str) -> None:
    """A page whose name was rebound to this address gets nothing, wherever it asks."""
    answer = await ask(server, path, host=host.format(port=server.address[1]))
    assert answer.status in {400, 403}
    assert "1.2.3" not in answer.body


async def test_foreign_host_gains_nothing_by_the_token(server: AdminServer) -> None:
    """Nor does it by a second Host."""
    assert (await write(server, BEARER, host="evil.example")).status == 403
    assert (await write(server, BEARER, f"Host: 127.0.0.1:{server.address[1]}", host="evil.example")).status == 400


async def test_missing_host_is_refused(server: AdminServer) -> None:
    """HTTP/1.0 without Host is no way around the check."""
    answer = await raw(server.address, b"GET /api/v1/status HTTP/1.0\r\n\r\n")
    assert answer.status == 403
    assert answer.json == {"error": "the Host header does not name this admin address (admin_hosts)"}


@pytest.mark.parametrize("host", ["towline:{port}", "TOWLINE:9129", "towline"])
async def test_named_host_is_ours(server: AdminServer, host: str) -> None:
    """A name of admin_hosts, under whichever port it is published."""
    assert (await ask(server, "/api/v1/status", host=host.format(port=server.address[1]))).status == 200


@pytest.mark.parametrize(
    "field",
    [
        "X-Nothing: 1",
        "Authorization:",
        "Authorization: Bearer",
        "Authorization: Bearer x",
        f"Authorization: Basic {TOKEN.reveal()}",
        f"Authorization: Bearer {TOKEN.reveal()}x",
        f"Authorization: Bearer {TOKEN.reveal()[:-1]}",
        f"Authorization: {TOKEN.reveal()}",
        f"Cookie: token={TOKEN.reveal()}",
        "Authorization: Bearer \u00fc\u00fc",
    ],
)
async def test_writing_needs_the_token(server: AdminServer, running: FakeRunning, field: str) -> None:
    """401 says how it is sent; nothing was done."""
    answer = await write(server, field)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json == {"error": "this needs the admin token: Authorization: Bearer TOKEN"}
    assert running.drained == []


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_token_opens(server: AdminServer, running: FakeRunning, scheme: str) -> None:
    """The scheme is read in any case (RFC 9110 11.1)."""
    assert (await write(server, f"Authorization: {scheme} {TOKEN.reveal()}")).status == 200
    assert running.drained == ["direct"]


@pytest.mark.parametrize(
    "fields",
    [
        ("Origin: http://evil.example",),
        ("Origin: null",),
        ("Origin: https://127.0.0.1:{port}",),
        ("Origin: http://localhost:{port}",),
        ("Sec-Fetch-Site: cross-site",),
        ("Sec-Fetch-Site: same-site",),
        ("Origin: http://127.0.0.1:{port}", "Sec-Fetch-Site: cross-site"),
    ],
)
async def test_page_of_another_origin_writes_nothing(
    server: AdminServer, running: FakeRunning, fields: tuple[str, ...]
) -> None:
    """Even with the token: a browser says where a request was made."""
    answer = await write(server, BEARER, *(field.format(port=server.address[1]) for field in fields))
    assert (answer.status, answer.json) == (403, {"error": "a page of another origin may not do this"})
    assert running.drained == []


@pytest.mark.parametrize(
    "fields", [("Origin: http://127.0.0.1:{port}", "Sec-Fetch-Site: same-origin"), ("Sec-Fetch-Site: none",)]
)
async def test_our_own_page_writes(server: AdminServer, fields: tuple[str, ...]) -> None:
    """A page of this address has the origin that Host names."""
    assert (await write(server, BEARER, *(field.format(port=server.address[1]) for field in fields))).status == 200


async def test_preflight_is_refused(server: AdminServer) -> None:
    """No page may ask whether it may send the token."""
    answer = await ask(
        server, WRITE, "Origin: http://evil.example", "Access-Control-Request-Method: POST", method="OPTIONS"
    )
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_without_a_token_nothing_is_written(running: FakeRunning) -> None:
    """Not even by an empty one."""
    server = AdminServer.bind(running, ("127.0.0.1", 0))
    await server.serve()
    for fields in ((), ("Authorization: Bearer ",), (BEARER,)):
        answer = await write(server, *fields)
        assert (answer.status, answer.json["error"]) == (
            403,
            "this needs the admin token, and there is none: the log says why",
        )
    await server.stop()
    assert running.drained == []


async def test_reading_from_elsewhere_needs_the_token(server: AdminServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is not on this machine gets health checks, and the rest with the token."""
    monkeypatch.setattr(access, "is_from_here", lambda _request: False)
    statuses = [(await ask(server, path)).status for path in ("/livez", "/readyz", "/", "/api/v1/status", "/nothing")]
    assert statuses == [200, 200, 401, 401, 401]
    assert (await ask(server, "/api/v1/status", BEARER)).status == 200


@pytest.mark.parametrize(
    ("remote", "here"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("10.0.0.5", False),
        ("172.17.0.1", False),
        ("::", False),
    ],
)
def test_who_is_here(remote: str, here: bool) -> None:
    """Loopback is this machine; a container's bridge is not."""
    denial = Access(("127.0.0.1", 3129), token=TOKEN).deny(request(remote), Exposure.READS)
    assert (denial is None) is here


@pytest.mark.parametrize(
    ("header", "bound", "own"),
    [
        ("127.0.0.1:3129", ("127.0.0.1", 3129), True),
        ("127.0.0.2:3129", ("127.0.0.1", 3129), True),
        ("LOCALHOST:3129", ("127.0.0.1", 3129), True),
        ("[::1]:3129", ("127.0.0.1", 3129), True),
        ("localhost", ("127.0.0.1", 80), True),
        ("localhost", ("127.0.0.1", 3129), False),
        ("10.0.0.5:3129", ("127.0.0.1", 3129), False),
        ("10.0.0.5:3129", ("10.0.0.5", 3129), True),
        ("10.0.0.5:3129", ("0.0.0.0", 3129), True),
        ("[2001:db8::5]:3129", ("::", 3129), True),
        ("rebound.example:3129", ("0.0.0.0", 3129), False),
        ("localhost.evil.example:3129", ("127.0.0.1", 3129), False),
        ("", ("127.0.0.1", 3129), False),
        ("127.0.0.1:3129:3129", ("127.0.0.1", 3129), False),
        ("user@127.0.0.1:3129", ("127.0.0.1", 3129), False),
    ],
)
def test_own_host(header: str, bound: Address, own: bool) -> None:
    """Loopback and the bound host with the bound port are ours; a name never is, but localhost and listed ones."""
    assert Access(bound).knows_host(header) is own


def test_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the standard library's function for it."""
    compared = []

    def compare(given: bytes, token: bytes) -> bool:
        compared.append((given, token))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert not is_bearer("Bearer guess", Secret("truth"))
    assert compared == [(b"guess", b"truth")]
