"""What a client does, whichever proxy it goes through: how long it waits, and when it tries again.

It is dockerd with its classic store, the client that bears least (clients.md A.2). Its calls (api, auth) are made once
and end after 15 s. Its layers (blob) are begun five times and go on where they were.
"""

from __future__ import annotations

import math

from towline.types import Role

CONNECT_LIMIT = 60.0  # seconds that Go waits for the answer to its CONNECT (clients.md A.7)
HANDSHAKE_LIMIT = 10.0  # seconds from the 200 to the server's answer: TLSHandshakeTimeout (clients.md A.2)
CALL_LIMIT = 15.0  # seconds for a ping or a token in all: Client.Timeout (clients.md A.2); here for every call
SILENCE_LIMIT = 300.0  # seconds without a byte after which the user is taken to give up: CRI's limit (clients.md A.3)
LIMIT = 3600.0  # seconds after which the user gives up in any case; our choice
ATTEMPTS = 5  # of a layer; the failure of the fifth ends the pull (clients.md A.2)
PAUSE = 5.0  # seconds for each failure so far, before the next attempt (clients.md A.2)
PENALTY = 60.0
"""Seconds added to the time that a failed transfer took: for the user to see it and pull again. Our choice; a failure
has to cost more than any success would have, or to fail fast would be the best policy."""


def gives_up(role: Role, asked: float) -> float:
    """When a client gives a transfer up that it asked for at `asked`."""
    return asked + (LIMIT if role is Role.BLOB else CALL_LIMIT)


def pause(role: Role, failures: int) -> float:
    """Seconds until it tries again after so many failures; infinite where it does not."""
    return PAUSE * failures if role is Role.BLOB and failures < ATTEMPTS else math.inf
