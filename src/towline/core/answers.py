"""What a registry's answers say: is it one, where are tokens to be had, and which blob may be read in part.

    why_no_registry(status, headers)   of GET /v2/; None where a registry answered
    challenge(headers)                 of a 401: where to ask for a token, and with what
    link(document)                     of a manifest: the next manifest, or the layer to read

OCI distribution specification 1.1, "Determining Support" and "Pulling manifests"; RFC 6750 section 3 and the token
specification of the CNCF distribution project. Who answers may be broken or hostile: each of these takes anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

API_VERSION = "Docker-Distribution-Api-Version"  # a header that registries need not send; `registry/2.0`
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""Media types of what `link` reads."""
MAX_CHALLENGE = 4096  # characters that are read of one: the longest known has some 200

_ASKED = ("service", "scope")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_BEARER = re.compile(r"bearer +(.*)", re.IGNORECASE)
_PARAMETER = re.compile(r'([a-z_]+)="([^"]*)"', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Challenge:
    """Where a token is to be had."""

    realm: str
    """The URL to ask, as the registry wrote it."""
    parameters: Mapping[str, str]
    """What to ask with: `service` and `scope`, where the registry named them."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a manifest leads to."""

    digest: str
    size: int
    is_layer: bool


def why_no_registry(status: int, headers: Mapping[str, str]) -> str | None:
    """Why an answer to `GET /v2/` is no registry's; None where it is. `headers` finds names in any case."""
    version = headers.get(API_VERSION, "")
    if version and not version.lower().startswith("registry/2"):
        return f"no registry's answer ({status}, another API)"
    if status == HTTPStatus.OK:
        is_page = headers.get("Content-Type", "").lower().startswith("text/html")
        return "a page that is no registry's (200)" if is_page and not version else None
    if status == HTTPStatus.UNAUTHORIZED:
        scheme = headers.get("WWW-Authenticate", "").partition(" ")[0].lower()
        return None if scheme in {"bearer", "basic"} else "no registry's answer (401 without its challenge)"
    if 300 <= status < 400:
        return f"sent to another place ({status}), as by a captive portal"
    return f"no registry's answer ({status})"


def challenge(headers: Mapping[str, str]) -> Challenge | None:
    """Where a 401 sends for a token; None where it does not."""
    found = _BEARER.search(headers.get("WWW-Authenticate", "")[:MAX_CHALLENGE])
    parameters = {name.lower(): value for name, value in _PARAMETER.findall(found[1])} if found else {}
    if "realm" not in parameters:
        return None
    return Challenge(parameters.pop("realm"), {name: parameters[name] for name in _ASKED if name in parameters})


def link(document: object, *, at_least: int) -> Link | None:
    """What an index or a manifest leads to; None where it is neither.

    Of an index: the manifest for amd64 on Linux, which every public image has, else the first. Of a manifest: the
    smallest layer of `at_least` bytes, else the largest.
    """
    if not isinstance(document, dict):
        return None
    if manifests := list(_links(document.get("manifests"), is_layer=False)):
        return next((found for found, entry in manifests if _is_usual(entry.get("platform"))), manifests[0][0])
    layers = sorted((found for found, _ in _links(document.get("layers"), is_layer=True)), key=lambda layer: layer.size)
    return next((layer for layer in layers if layer.size >= at_least), layers[-1] if layers else None)


def _links(entries: object, *, is_layer: bool) -> Iterator[tuple[Link, dict[Any, Any]]]:
    for entry in entries if isinstance(entries, list) else []:
        match entry:
            case {"digest": str(digest), "size": int(size)} if _DIGEST.fullmatch(digest):
                yield Link(digest, size, is_layer), entry


def _is_usual(platform: object) -> bool:
    match platform:
        case {"os": "linux", "architecture": "amd64"}:
            return True
    return False
