"""Public images: how an anonymous client gets at a layer of one, by the token and the redirects of its registry.

    layer = await image.layer()                once in a run, by its manifests
    response, host = await image.fetch(path)   with a token where one is wanted, from wherever the registry sends

A token goes to the registry that asked for it and to nobody else, and is fetched from a host of that registry alone.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import httpx

from towline.core.answers import MANIFESTS, Challenge, Link, challenge, link
from towline.core.probes import READ_SIZE
from towline.net.asking import Asking, UnreadableError
from towline.net.sought import Name, PublicImages
from towline.types import Target

ASK_TIME = 4.0  # seconds for each request, with its dial
LEAST = 16 * 1024  # bytes of a layer that tell anything
MAX_REQUESTS = 4  # for one thing: the first, with a token, and two redirects
MAX_TOKEN = 8192  # characters of a token: what servers take of a header field
TOKEN_LIFE = 60.0  # seconds that a token holds at least (the CNCF distribution project's token specification)
LONGEST_LIFE = 3600.0  # seconds for which one is believed to hold; registries give 300 (Docker Hub, GHCR)
PASSED_OVER = 3600.0  # seconds for which an image is left alone that cannot be read from; our choice


class Image:
    """One image, asked for over one route."""

    def __init__(self, registry: Target, name: str, asking: Asking, known: PublicImages) -> None:
        self._registry = registry
        self._asking = asking
        self._known = known
        self._name: Name = (registry, name)
        self._repository, _, tag = name.partition(":")
        self._tag = tag or "latest"

    @property
    def is_passed_over(self) -> bool:
        """Whether it could not be had a while ago."""
        return self._asking.clock() < self._known.passed_over.get(self._key, 0.0)

    def pass_over(self) -> None:
        """It cannot be had; it will not be tried again soon."""
        self._known.passed_over[self._key] = self._asking.clock() + PASSED_OVER

    @property
    def _key(self) -> tuple[str, Name]:
        return self._asking.route, self._name

    async def part(self) -> tuple[httpx.Response, Target]:
        """The first READ_SIZE bytes of a layer, still to come, and the host that they come from.

        Raises DialError and UnreadableError, as everything here.
        """
        layer = self._known.layers.get(self._name) or await self._find_layer()
        size = min(layer.size, READ_SIZE)
        response, host = await self._fetch(f"blobs/{layer.digest}", {"Range": f"bytes=0-{size - 1}"})
        if not response.is_success and host == self._registry:
            self._known.layers.pop(self._name, None)
            raise UnreadableError(f"no blob ({response.status_code})")
        if response.is_success and int(response.headers.get("Content-Length", size + 1)) > size:
            self._asking.transport.in_order = False
            raise UnreadableError("the whole blob is sent where a part was asked for")
        return response, host

    async def _find_layer(self) -> Link:
        """Follow the manifests to a layer, and remember it."""
        reference = self._tag
        for _ in range(2):  # an index, and the manifest that it leads to
            response, host = await self._fetch(f"manifests/{reference}", {"Accept": ", ".join(MANIFESTS)})
            async with self._asking.of(host, ASK_TIME):
                found = link(_json(await self._asking.body(response)), at_least=READ_SIZE)
            if not response.is_success or found is None:
                raise UnreadableError(f"no manifest of {self._repository}:{self._tag} ({response.status_code})")
            if found.is_layer and found.size >= LEAST:
                self._known.layers[self._name] = found
                return found
            reference = found.digest
        raise UnreadableError(f"no layer in {self._repository}:{self._tag}")

    async def _fetch(self, path: str, headers: dict[str, str]) -> tuple[httpx.Response, Target]:
        """An answer with its body still to come, and who gave it."""
        url = httpx.URL(f"https://{self._registry.authority}/v2/{self._repository}/{path}")
        has_asked = False  # for a token
        for _ in range(MAX_REQUESTS):
            host = self._asking.admit(url)
            own = host == self._registry
            async with self._asking.of(host, ASK_TIME):
                response = await self._asking.send(url, headers | (self._authorization() if own else {}))
                onward = response.next_request
                wanted = None
                if own and not has_asked and response.status_code == HTTPStatus.UNAUTHORIZED:
                    wanted = challenge(response.headers)
                if onward is None and wanted is None:
                    return response, host
                await self._asking.body(response)  # so that the connection can be used again
            if onward is not None:
                url = onward.url
            elif wanted is not None:
                has_asked = True
                await self._get_token(wanted)
        raise UnreadableError("sent on and on")

    def _authorization(self) -> dict[str, str]:
        token, until = self._known.tokens.get(self._key, ("", 0.0))
        return {"Authorization": f"Bearer {token}"} if self._asking.clock() < until else {}

    async def _get_token(self, wanted: Challenge) -> None:
        """Get a token without logging in, where the registry sends for it."""
        try:
            url = httpx.URL(wanted.realm).copy_merge_params(wanted.parameters)
        except httpx.InvalidURL:
            raise UnreadableError("sent for a token to what is no URL") from None
        host = self._asking.admit(url)
        if self._asking.registry(host) != self._asking.registry(self._registry):
            raise UnreadableError(f"sent for a token to {host}, a host of another registry")
        async with self._asking.of(host, ASK_TIME):
            response = await self._asking.send(url)
            token, life = _token(_json(await self._asking.body(response)))
        if not token:
            raise UnreadableError(f"no token from {host} ({response.status_code})")
        self._known.tokens[self._key] = token, self._asking.clock() + life - ASK_TIME
        if host != self._registry:
            self._asking.tell(host, f"gives tokens ({response.status_code})")


def _token(document: Any) -> tuple[str, float]:
    """The token in an answer, and for how many seconds it holds; "" where there is none that a header can carry."""
    match document:
        case {"token": str(token)} | {"access_token": str(token)}:
            life = document.get("expires_in")
            usable = len(token) <= MAX_TOKEN and token.isascii() and token.isprintable()
            believed = isinstance(life, int | float) and TOKEN_LIFE <= life <= LONGEST_LIFE  # not NaN, nor True
            return token if usable else "", float(life) if believed else TOKEN_LIFE
        case _:
            return "", 0.0


def _json(text: bytes) -> Any:
    """JSON, None for what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
