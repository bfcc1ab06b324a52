"""Answers by example: what is a registry's, where a token is to be had, what a manifest leads to."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from towline.core.answers import Challenge, Link, challenge, link, why_no_registry

DIGESTS = [f"sha256:{n:064x}" for n in range(4)]
KIB = 1024


def layers(*sizes: int) -> dict[str, Any]:
    """A manifest with layers of these sizes."""
    return {"layers": [{"digest": digest, "size": size} for digest, size in zip(DIGESTS, sizes, strict=False)]}


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (
            401,
            {
                "WWW-Authenticate": 'Bearer realm="https://auth.test/token"',
                "Docker-Distribution-Api-Version": "registry/2.0",
            },
        ),
        (401, {"www-authenticate": "basic realm=x"}),
        (200, {}),
        (200, {"Content-Type": "application/json"}),
        (200, {"Content-Type": "text/html", "docker-distribution-api-version": "registry/2.0"}),
    ],
)
def test_a_registry(status: int, headers: dict[str, str]) -> None:
    """It says 200, or 401 with a challenge that clients can meet."""
    assert why_no_registry(status, httpx.Headers(headers)) is None


@pytest.mark.parametrize(
    ("status", "headers", "why"),
    [
        (200, {"Content-Type": "text/html; charset=utf-8"}, "a page that is no registry's (200)"),
        (401, {}, "no registry's answer (401 without its challenge)"),
        (401, {"WWW-Authenticate": "Negotiate"}, "no registry's answer (401 without its challenge)"),
        (
            401,
            {"WWW-Authenticate": "Basic", "Docker-Distribution-Api-Version": "1"},
            "no registry's answer (401, another API)",
        ),
        (302, {"Location": "https://login.test/"}, "sent to another place (302), as by a captive portal"),
        (403, {}, "no registry's answer (403)"),
        (404, {}, "no registry's answer (404)"),
        (429, {}, "no registry's answer (429)"),
    ],
)
def test_no_registry(status: int, headers: dict[str, str], why: str) -> None:
    """Everything else is told from it, in words for the reader."""
    assert why_no_registry(status, httpx.Headers(headers)) == why


def test_where_a_token_is_to_be_had() -> None:
    """The realm, and what to ask it with; other parameters are not passed on."""
    text = 'Bearer realm="https://auth.test/token",service="registry.test",scope="repository:a/b:pull",error="x"'
    parameters = {"service": "registry.test", "scope": "repository:a/b:pull"}
    assert challenge(httpx.Headers({"WWW-Authenticate": text})) == Challenge("https://auth.test/token", parameters)


@pytest.mark.parametrize(
    "text", ["", 'Basic realm="https://auth.test"', "Bearer", "bearer realm=none", 'Bearer scope="x"']
)
def test_no_token(text: str) -> None:
    """Other challenges, and broken ones, send for none."""
    assert challenge(httpx.Headers({"WWW-Authenticate": text})) is None


def test_a_challenge_is_read_in_part() -> None:
    """A hostile one costs no more than a long one."""
    assert challenge({"WWW-Authenticate": "Bearer " + "a" * 1_000_000 + 'realm="https://auth.test"'}) is None


def test_an_index_leads_to_the_usual_manifest() -> None:
    """That of amd64 on Linux, else the first."""
    manifests: list[dict[str, Any]] = [
        {"digest": DIGESTS[0], "size": 7, "platform": {"os": "linux", "architecture": "arm64"}},
        {"digest": DIGESTS[1], "size": 8, "platform": {"os": "linux", "architecture": "amd64"}},
    ]
    assert link({"manifests": manifests}, at_least=KIB) == Link(DIGESTS[1], 8, is_layer=False)
    assert link({"manifests": manifests[:1]}, at_least=KIB) == Link(DIGESTS[0], 7, is_layer=False)


def test_a_manifest_leads_to_a_layer() -> None:
    """The smallest that is large enough, else the largest."""
    assert link(layers(9 * KIB, 300 * KIB, 256 * KIB), at_least=256 * KIB) == Link(DIGESTS[2], 256 * KIB, is_layer=True)
    assert link(layers(9 * KIB, 30 * KIB, 1), at_least=256 * KIB) == Link(DIGESTS[1], 30 * KIB, is_layer=True)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "text",
        {},
        {"manifests": {}, "layers": 3},
        {
            "layers": [
                None,
                {"digest": "sha256:x", "size": 1},
                {"digest": DIGESTS[0]},
                {"digest": DIGESTS[0], "size": "9"},
            ]
        },
        {"layers": [{"digest": f"{DIGESTS[0]}/../..", "size": 1}]},
    ],
)
def test_what_is_no_manifest_leads_nowhere(document: object) -> None:
    """Whatever a host sends in its place; a digest that is none never becomes part of a URL."""
    assert link(document, at_least=KIB) is None
