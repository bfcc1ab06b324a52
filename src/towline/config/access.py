"""The `access` section as an AccessPolicy, with the users file that it names."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from towline.config.files import read_text
from towline.config.keys import AccessKeys
from towline.config.values import Invalid
from towline.core.policy import AccessPolicy
from towline.core.users import UsersError, read_users

MAX_USERS_FILE = 1 << 20  # bytes: 10,000 users need less
ANYWHERE = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


def access_policy(keys: AccessKeys, *, base: Path, clients_given: bool) -> tuple[AccessPolicy, Invalid | None]:
    """The policy, and what is wrong with its users file; then it is not to be used.

    With a users file clients may come from anywhere, unless `access.clients` was given: they say who they are.
    """
    if keys.users_file is None:
        return AccessPolicy(keys.clients), None
    clients = keys.clients if clients_given else ANYWHERE
    try:
        return AccessPolicy(clients, read_users(read_text(base / keys.users_file, limit=MAX_USERS_FILE))), None
    except UsersError as error:
        return AccessPolicy(clients, {}), Invalid(str(error))
    except Invalid as error:
        return AccessPolicy(clients, {}), error
