"""Who a client says it is: the users file and the Proxy-Authorization field, read; and who has guessed too often.

    users file    htpasswd's form, one `name:hash` a line, hashes by bcrypt ($2y$) or Argon2 ($argon2id$)
    field         Proxy-Authorization: Basic dXNlcjpwYXNz (RFC 7617)

The older forms of htpasswd (MD5, SHA-1, crypt, plain) are refused rather than read: a fast hash in a file that leaks is
a list of passwords. Whether a password is right is not asked here: that takes a twentieth of a second and a thread.
"""

from __future__ import annotations

import base64
import re
from collections import OrderedDict
from dataclasses import dataclass

from towline.types import Secret

MAX_USERS = 10_000
MAX_NAME = 255  # characters of a name
MAX_PASSWORD = 72  # bytes: bcrypt sees no more
MAX_FAILURES = 10
"""Wrong passwords of one client address in FORGIVEN_AFTER seconds, beyond which it is not even asked; our choice."""
FORGIVEN_AFTER = 60.0
MAX_REMEMBERED = 4096  # client addresses that are remembered to have failed

# A cost of 14 takes a second; a salt's 128 bits leave four signs for its last. Argon2's own parameters are the
# operator's affair.
_BCRYPT = r"\$2[aby]\$(?:0[4-9]|1[0-4])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}"
_HASH = re.compile(_BCRYPT + r"|\$argon2id?\$[-,=$+/A-Za-z0-9]{20,500}")
_WEAK = re.compile(r"\$apr1\$|\{SHA\}|\$[156]\$")


class UsersError(ValueError):
    """A line of a users file that cannot be used; `line` counts from 1. The text never repeats what the line says."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client says."""

    name: str
    password: Secret


def read_users(text: str) -> dict[str, Secret]:
    """Name -> hash, of a whole users file; empty lines and comments are passed over. Raises UsersError."""
    users: dict[str, Secret] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        name, colon, hashed = entry.partition(":")
        if not colon or not name or len(name) > MAX_NAME or not name.isprintable():
            raise UsersError(number, "not of the form name:hash")
        if name in users:
            raise UsersError(number, "this name has an entry already")
        if _WEAK.match(hashed):
            raise UsersError(number, "hashed in a way that is guessed too fast: use htpasswd -B")
        if not _HASH.fullmatch(hashed):
            raise UsersError(number, "no bcrypt or Argon2 hash: use htpasswd -B")
        if len(users) >= MAX_USERS:
            raise UsersError(number, f"more than {MAX_USERS} users")
        users[name] = Secret(hashed)
    return users


def read_credentials(value: str) -> Credentials | None:
    """The name and password in a Proxy-Authorization value; None where it is no Basic one, or could not be right."""
    scheme, _, encoded = value.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:  # no Base64, bytes beyond ASCII among it, or no UTF-8 in it
        return None
    name, colon, password = decoded.partition(":")
    if not colon or not name or len(name) > MAX_NAME or len(password.encode()) > MAX_PASSWORD or "\0" in password:
        return None
    return Credentials(name, Secret(password))


class Guesses:
    """Passwords that were tried and not found right, by client address."""

    def __init__(self) -> None:
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def may_try(self, client: str, *, now: float) -> bool:
        """Whether this client has guessed wrong less often than it may."""
        count, since = self._failed.get(client, (0, now))
        return count < MAX_FAILURES or now - since >= FORGIVEN_AFTER

    def tried(self, client: str, *, now: float) -> None:
        """A password is about to be checked; until it is found right it counts as wrong, so that many at once do."""
        count, since = self._failed.pop(client, (0, now))
        if now - since >= FORGIVEN_AFTER:
            count, since = 0, now
        self._failed[client] = (count + 1, since)
        if len(self._failed) > MAX_REMEMBERED:
            self._failed.popitem(last=False)

    def right(self, client: str) -> None:
        """It was found right: that forgives what the client mistyped before."""
        self._failed.pop(client, None)
