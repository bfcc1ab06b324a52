"""Who may use the proxy: the client's network, and where there is a users file, its name and password.

A password is checked in a thread, two at a time, so that guessing takes no more than that from the rest. One that was
right is remembered by its keyed hash for some minutes: Docker sends it with every CONNECT, made slow by bcrypt.
A name that nobody has costs as long as a wrong password. Neither is passed on (core/head.py drops Proxy-*), or logged.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import argon2
import bcrypt

from towline.core.policy import AccessPolicy
from towline.core.users import Credentials, Guesses
from towline.errors import Refused
from towline.types import IPAddress

CHECKERS = 2  # threads
REMEMBERED = 300.0  # seconds for which a right password is not checked again; a reload forgets all
MAX_REMEMBERED = 1024

CHALLENGE = 'Basic realm="towline", charset="UTF-8"'
"""What a 407 asks for (RFC 9110 11.7.1, RFC 7617)."""


class Access:
    """Decides on clients. One per configuration; `retire()` when the next is in its place, `close()` at the end."""

    def __init__(self, policy: AccessPolicy) -> None:
        self._policy = policy
        self._guesses = Guesses()
        self._key = os.urandom(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        """Keyed hash of a right name and password -> when it was checked."""
        self._checks: dict[bytes, asyncio.Task[bool]] = {}
        """Under way, by the same hash: one serves all that ask with the same name and password meanwhile."""
        self._threads = ThreadPoolExecutor(CHECKERS, "password")

    async def check(self, client: IPAddress, credentials: Credentials | None) -> None:
        """Return for a client that may use the proxy. Raises Refused."""
        if not any(client in network for network in self._policy.clients):
            raise Refused(HTTPStatus.FORBIDDEN, "client", f"towline: {client} is not in access.clients")
        if self._policy.users is None:
            return
        if credentials is None:
            raise _unauthorized("towline: a name and password are asked for (access.users_file)")
        now = asyncio.get_running_loop().time()
        digest = self._digest(credentials)
        if now - self._right.get(digest, -REMEMBERED) < REMEMBERED:
            return
        if digest not in self._checks:
            if not self._guesses.may_try(str(client), now=now):
                raise _unauthorized(f"towline: too many wrong passwords from {client}, try again in a minute")
            self._guesses.tried(str(client), now=now)
            self._begin(digest, credentials)
        if not await asyncio.shield(self._checks[digest]):
            raise _unauthorized("towline: wrong name or password")
        self._guesses.right(str(client))
        self._right[digest] = now
        if len(self._right) > MAX_REMEMBERED:
            self._right.popitem(last=False)

    def retire(self) -> None:
        """Nobody asks any more. Checks that wait for a thread are made all the same: clients wait for them."""
        self._threads.shutdown(wait=False)

    def close(self) -> None:
        """Begin no more checks: those that wait for a thread are cancelled."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _digest(self, credentials: Credentials) -> bytes:
        text = f"{credentials.name}:{credentials.password.reveal()}"
        return hmac.digest(self._key, text.encode(), "sha256")

    def _begin(self, digest: bytes, credentials: Credentials) -> None:
        task = asyncio.get_running_loop().create_task(self._is_right(credentials), name="password")
        self._checks[digest] = task
        task.add_done_callback(lambda _: self._checks.pop(digest, None))

    async def _is_right(self, credentials: Credentials) -> bool:
        users = self._policy.users or {}
        # For a name that nobody has another's hash is tried, in vain: the time it takes tells nothing then.
        hashed = users.get(credentials.name) or next(iter(users.values()), None)
        if hashed is None:
            return False
        loop = asyncio.get_running_loop()
        matches = await loop.run_in_executor(self._threads, _matches, hashed.reveal(), credentials.password.reveal())
        return matches and credentials.name in users


def _matches(hashed: str, password: str) -> bool:
    """Whether a password has this bcrypt or Argon2 hash."""
    if hashed.startswith("$argon2"):
        try:
            return argon2.PasswordHasher().verify(hashed, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
    return bcrypt.checkpw(password.encode(), hashed.encode())


def _unauthorized(message: str) -> Refused:
    return Refused(HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, "users", message)
