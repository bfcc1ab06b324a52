"""Asks the running Towline over its admin address, with its token where it wants one.

http.client, because it never looks at the environment's proxy variables: urllib would follow them into Towline itself.
It is imported where something is asked (25 ms, with the email package): the other commands start without it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from towline import __version__
from towline.admin.text import escape
from towline.cli.configuration import AdminSide
from towline.errors import AdminError
from towline.types import Address, Secret, Target

TIMEOUT = 5.0  # seconds for the connection and for each read: the other side is most often this machine
MAX_ANSWER = 16 * 1024 * 1024  # bytes; status.json takes about 300 for a tunnel, and limits.tunnels is 4096


def ask(side: AdminSide, path: str, *, method: str = "GET", timeout: float = TIMEOUT) -> dict[str, Any]:
    """The JSON object that `method path` gives. Raises AdminError where nothing, a stranger or a refusal answers.

    The token is looked for when it is asked for: status and explain need none on this machine.
    """
    exchange = partial(_exchange, side.address, method, path, timeout)
    status, answer = exchange(None)
    if status == HTTPStatus.UNAUTHORIZED:
        for token in _tokens(side):
            status, answer = exchange(token)
            if status != HTTPStatus.UNAUTHORIZED:
                break
    if status != HTTPStatus.OK:
        raise AdminError(escape(str(answer.get("error", f"the admin address answered {status}"))))
    return answer


def _exchange(
    address: Address, method: str, path: str, timeout: float, token: Secret | None
) -> tuple[int, dict[str, Any]]:
    """One request: the status and the JSON object of its answer."""
    import http.client

    headers = {} if token is None else {"Authorization": f"Bearer {token.reveal()}"}
    connection = http.client.HTTPConnection(*address, timeout=timeout)
    try:
        with reading(address):
            connection.request(method, path, headers=headers)
            with connection.getresponse() as response:
                return response.status, dict(json.loads(response.read(MAX_ANSWER)))
    except http.client.HTTPException as error:
        raise _stranger(address) from error
    except OSError as error:
        text = f"no Towline answers at {Target(*address).authority}: {error.strerror or error}"
        raise AdminError(
            f"{text}\nhint: start it with `towline run`, or name its admin address with --admin"
        ) from error
    finally:
        connection.close()


def _tokens(side: AdminSide) -> Iterator[Secret]:
    """Each token that this user has for that Towline; whoever needs one more is told why it is missing."""
    from towline.system import admin_token

    places = admin_token.places(side.address[1]) if side.token_file is None else (side.token_file,)
    closed: list[Path] = []
    for place in places:
        try:
            yield admin_token.read(place)
        except PermissionError:
            closed.append(place)
        except OSError:  # not there
            continue
    where = Target(*side.address).authority
    hint = "run this as the user that Towline runs as (sudo -u USER), and in its container if it has one"
    if closed:
        raise AdminError(
            f"the admin token of {where} may not be read by this user: {closed[0]}\nhint: {hint}, or as root"
        )
    looked = ", ".join(map(str, places))
    raise AdminError(f"no admin token opens {where}; looked for in {looked}\nhint: {hint}")


@contextmanager
def reading(address: Address) -> Iterator[None]:
    """Around code that takes an answer of `address` apart: raises AdminError where it is not what Towline answers."""
    try:
        yield
    except (LookupError, TypeError, ValueError) as error:
        raise _stranger(address) from error


def _stranger(address: Address) -> AdminError:
    text = f"what answers at {Target(*address).authority} is not a Towline {__version__}"
    return AdminError(f"{text}\nhint: restart it after an upgrade, or name its admin address with --admin")
