"""The users file of a configuration, and who may come with it and without."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import bcrypt
import pytest

from towline.config import parse
from towline.config.access import ANYWHERE, access_policy
from towline.config.keys import AccessKeys
from towline.core.policy import LOOPBACK, AccessPolicy
from towline.errors import ConfigError
from towline.types import Secret

HASH = bcrypt.hashpw(b"geheim", bcrypt.gensalt(4)).decode()
TEXT = 'listen: ["0.0.0.0:3128"]\naccess: {users_file: users}'
OFFICE = (ipaddress.ip_network("10.0.0.0/8"),)


def test_without_users() -> None:
    """The networks as they are given, this machine by default."""
    assert access_policy(AccessKeys(), base=Path(), clients_given=False) == (AccessPolicy(LOOPBACK), None)


@pytest.mark.parametrize(("given", "clients"), [(True, OFFICE), (False, ANYWHERE)])
def test_with_users(given: bool, clients: tuple[object, ...], tmp_path: Path) -> None:
    """They may come from anywhere, unless networks were given as well."""
    (tmp_path / "users").write_text(f"ci:{HASH}\n")
    keys = AccessKeys.model_validate({"clients": ["10.0.0.0/8"], "users_file": "users"})
    policy, fault = access_policy(keys, base=tmp_path, clients_given=given)
    assert fault is None
    assert policy == AccessPolicy(clients, {"ci": Secret(HASH)})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ci:geheim\n", "t:2: access.users_file: line 1: no bcrypt or Argon2 hash: use htpasswd -B"),
        (None, "t:2: access.users_file: cannot be read: No such file or directory"),
    ],
)
def test_a_users_file_that_cannot_be_used(text: str | None, says: str, tmp_path: Path) -> None:
    """It is a problem of the configuration, with its place, and never repeats the line."""
    if text is not None:
        (tmp_path / "users").write_text(text)
    with pytest.raises(ConfigError) as caught:
        parse(TEXT, place="t", base=tmp_path, environ={}, discovered=())
    (problem,) = caught.value.problems
    assert str(problem).startswith(says)
    assert "geheim" not in str(problem)


def test_a_listener_beyond_this_machine_starts_with_users(tmp_path: Path) -> None:
    """Either networks or users say for whom it is."""
    (tmp_path / "users").write_text(f"ci:{HASH}\n")
    config = parse(TEXT, place="t", base=tmp_path, environ={}, discovered=())
    assert config.access == AccessPolicy(ANYWHERE, {"ci": Secret(HASH)})
    assert HASH not in repr(config)
