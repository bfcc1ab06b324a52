from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import trustme

from towline.config.keys import RouteKeys
from towline.config.routes import MAX_SECRET, route_spec
from towline.types import NameServer, RouteKind, RouteSpec, Secret

PROXY = "http://proxy.corp.example:3128"


def build(base: Path, environ: Mapping[str, str] | None = None, **keys: object) -> tuple[RouteSpec, list[str]]:
    """The route of these keys, and its faults as text."""
    spec, faults = route_spec("r", RouteKeys.model_validate(keys), base=base, environ=environ or {})
    return spec, [f"{fault.key}: {fault.error.message}; {fault.error.hint}" for fault in faults]


def test_plain_direct(tmp_path: Path) -> None:
    """A route without keys is the plain connection."""
    assert build(tmp_path) == (RouteSpec("r"), [])


def test_every_key_arrives(tmp_path: Path) -> None:
    """Interface, source and mark apply to the connection to the proxy, so they go together with one."""
    (tmp_path / "secret").write_text("hunter2\n")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")

    spec, faults = build(
        tmp_path,
        interface="wg0",
        source="10.0.0.1",
        mark=32,
        proxy="https://proxy.corp.example:443",
        username="ci",
        password_file="secret",
        ca_file="ca.pem",
        dns="https://192.0.2.53/dns-query",
        cost=1.5,
        registries=["ghcr"],
        disabled=True,
    )

    assert faults == []
    assert spec.kind is RouteKind.HTTPS
    assert spec.proxy == ("proxy.corp.example", 443)
    assert (spec.interface, str(spec.source), spec.mark) == ("wg0", "10.0.0.1", 32)
    assert (spec.username, spec.password) == ("ci", Secret("hunter2"))
    assert spec.ca_file == str(tmp_path / "ca.pem")
    assert spec.dns == NameServer("https", ("192.0.2.53", 443), "/dns-query")
    assert (spec.cost, spec.registries, spec.disabled) == (1.5, ("ghcr",), True)
    assert spec.origin == "configuration"


@pytest.mark.parametrize(
    ("raw", "password"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b" hunter2 ", " hunter2 "),
        ("pässwört\n".encode(), "pässwört"),
    ],
)
def test_password_file_is_one_line(tmp_path: Path, raw: bytes, password: str) -> None:
    """The password is the file's line without its end; spaces belong to it."""
    (tmp_path / "secret").write_bytes(raw)

    spec, faults = build(tmp_path, proxy=PROXY, username="ci", password_file="secret")

    assert faults == []
    assert spec.password == Secret(password)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "the file is empty"),
        (b"\n", "the file is empty"),
        (b"hunter2\nhunter2\n", "more than one line"),
        (b"hunter2\n\n", "more than one line"),
        (b"hunter2\x00", "a control character"),
        (b"hunter2\xff", "not UTF-8 text"),
        (b"hunter2" * MAX_SECRET, "longer than 4096 bytes"),
    ],
)
def test_password_file_that_holds_no_password(tmp_path: Path, raw: bytes, said: str) -> None:
    """An empty, long, binary or many-lined file is a problem that does not show what is in it."""
    (tmp_path / "secret").write_bytes(raw)

    spec, (fault,) = build(tmp_path, proxy=PROXY, username="ci", password_file="secret")

    assert fault.startswith("password_file: ")
    assert said in fault
    assert "hunter2" not in fault
    assert spec.password is None


def test_password_file_that_cannot_be_read(tmp_path: Path) -> None:
    """The reason is given, and where a relative name starts, but not the name: it may be the password itself."""
    _, (fault,) = build(tmp_path, proxy=PROXY, username="ci", password_file="hunter2")

    assert "No such file or directory" in fault
    assert "the folder of the configuration file" in fault
    assert "hunter2" not in fault


def test_password_file_is_a_regular_file(tmp_path: Path) -> None:
    """A folder is refused, and a FIFO is not waited for."""
    os.mkfifo(tmp_path / "fifo")

    for name in ("fifo", "."):
        _, (fault,) = build(tmp_path, proxy=PROXY, username="ci", password_file=name)
        assert "not a regular file" in fault


def test_password_from_the_environment(tmp_path: Path) -> None:
    """The variable that password_env names holds the password."""
    spec, faults = build(tmp_path, {"PROXY_PW": "hunter2"}, proxy=PROXY, username="ci", password_env="PROXY_PW")

    assert faults == []
    assert spec.password == Secret("hunter2")


@pytest.mark.parametrize("environ", [{}, {"hunter2": ""}])
def test_password_env_without_a_value(tmp_path: Path, environ: Mapping[str, str]) -> None:
    """A variable that is unset or empty is a problem; its name is not repeated, as it may be the password itself."""
    _, (fault,) = build(tmp_path, environ, proxy=PROXY, username="ci", password_env="hunter2")

    assert "no such variable" in fault
    assert "hunter2" not in fault


@pytest.mark.parametrize(
    ("name", "said"),
    [("none.pem", "cannot be read: No such file"), ("empty.pem", "no PEM certificates in it"), (".", "ca_file: ")],
)
def test_ca_file_holds_certificates(tmp_path: Path, name: str, said: str) -> None:
    """A CA bundle that is missing or holds no certificate is a problem."""
    (tmp_path / "empty.pem").write_text("no certificate\n")

    _, (fault,) = build(tmp_path, proxy="https://p:1", ca_file=name)

    assert fault.startswith("ca_file: ")
    assert said in fault


def test_long_passwords_are_for_http_only(tmp_path: Path) -> None:
    """The 255 bytes of SOCKS5 are no limit of Basic authentication."""
    environ = {"PW": "x" * 256}

    assert build(tmp_path, environ, proxy=PROXY, username="ci", password_env="PW")[1] == []
    assert build(tmp_path, environ, proxy="socks5h://p:1", username="ci", password_env="PW")[1] == [
        "password_env: the password is longer than the 255 bytes that SOCKS5 carries; "
    ]
