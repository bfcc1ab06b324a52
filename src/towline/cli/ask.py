"""Asks the running Towline over its admin address.

http.client, because it never looks at the environment's proxy variables: urllib would follow them into Towline itself.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from towline import __version__
from towline.admin.text import escape
from towline.errors import AdminError
from towline.types import Address, Target

TIMEOUT = 5.0  # seconds for the connection and for each read: the other side is most often this machine
MAX_ANSWER = 16 * 1024 * 1024  # bytes; status.json takes about 300 for a tunnel, and limits.tunnels is 4096


def ask(address: Address, path: str) -> dict[str, Any]:
    """The JSON object that `GET path` gives. Raises AdminError where nothing, a stranger or a refusal answers."""
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT)
    try:
        with reading(address):
            connection.request("GET", path)
            with connection.getresponse() as response:
                answer: dict[str, Any] = dict(json.loads(response.read(MAX_ANSWER)))
    except OSError as error:
        text = f"no Towline answers at {Target(*address).authority}: {error.strerror or error}"
        raise AdminError(
            f"{text}\nhint: start it with `towline run`, or name its admin address with --admin"
        ) from error
    finally:
        connection.close()
    if response.status != HTTPStatus.OK:
        raise AdminError(escape(str(answer.get("error", f"the admin address answered {response.status}"))))
    return answer


@contextmanager
def reading(address: Address) -> Iterator[None]:
    """Around code that takes an answer of `address` apart: raises AdminError where it is not what Towline answers."""
    try:
        yield
    except (http.client.HTTPException, LookupError, TypeError, ValueError) as error:
        text = f"what answers at {Target(*address).authority} is not a Towline {__version__}"
        raise AdminError(
            f"{text}\nhint: restart it after an upgrade, or name its admin address with --admin"
        ) from error
