"""Who may use the proxy: networks, and passwords checked by real hashes in real threads."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
from collections.abc import AsyncIterator
from http import HTTPStatus

import argon2
import bcrypt
import pytest

from towline import access as module
from towline.access import Access
from towline.core.policy import AccessPolicy
from towline.core.users import MAX_FAILURES, Credentials
from towline.errors import Refused
from towline.types import Secret

HERE = ipaddress.ip_address("127.0.0.1")
USERS = {
    "ci": Secret(bcrypt.hashpw(b"geheim", bcrypt.gensalt(4)).decode()),
    "old": Secret(argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("anders")),
}


@pytest.fixture
async def access() -> AsyncIterator[Access]:
    """Two users on this machine."""
    made = Access(AccessPolicy(users=USERS))
    yield made
    made.close()


async def refusal(access: Access, name: str, password: str, ip: str = "127.0.0.1") -> Refused:
    """How this login is refused."""
    with pytest.raises(Refused) as caught:
        await access.check(ipaddress.ip_address(ip), Credentials(name, Secret(password)))
    return caught.value


@pytest.mark.parametrize(("name", "password"), [("ci", "geheim"), ("old", "anders")])
async def test_the_right_password_is_let_in(access: Access, name: str, password: str) -> None:
    """By bcrypt and by Argon2."""
    await access.check(HERE, Credentials(name, Secret(password)))


@pytest.mark.parametrize(("name", "password"), [("ci", "anders"), ("old", "geheim"), ("nobody", "geheim")])
async def test_the_wrong_one_is_not(access: Access, name: str, password: str) -> None:
    """Nor is a name that nobody has, with another's password; the words do not say which it was."""
    refused = await refusal(access, name, password)
    assert (refused.status, refused.code) == (HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, "users")
    assert str(refused) == "towline: wrong name or password"


async def test_without_users_nobody_logs_in() -> None:
    """The network alone decides."""
    access = Access(AccessPolicy())
    await access.check(HERE, None)
    with pytest.raises(Refused, match="is not in access"):
        await access.check(ipaddress.ip_address("192.0.2.1"), None)
    access.close()


async def test_no_users_are_nobody() -> None:
    """An empty users file lets no one in."""
    access = Access(AccessPolicy(users={}))
    assert str(await refusal(access, "ci", "geheim")) == "towline: wrong name or password"
    access.close()


async def test_guessing_ends(access: Access) -> None:
    """After ten wrong ones, many at once, the right one is not even tried; what was right before stays so."""
    await access.check(HERE, Credentials("old", Secret("anders")))
    await asyncio.gather(*[refusal(access, "ci", f"guess {n}") for n in range(3 * MAX_FAILURES)])
    assert "too many wrong passwords from 127.0.0.1" in str(await refusal(access, "ci", "geheim"))
    await access.check(HERE, Credentials("old", Secret("anders")))


async def test_one_check_serves_all_that_ask_meanwhile(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six layers at once cost one hash, and later CONNECTs none."""
    checked: list[str] = []
    matches = module._matches

    def counted(hashed: str, password: str) -> bool:
        checked.append(password)
        return matches(hashed, password)

    monkeypatch.setattr(module, "_matches", counted)
    credentials = Credentials("ci", Secret("geheim"))
    await asyncio.gather(*[access.check(HERE, credentials) for _ in range(20)])
    await access.check(HERE, credentials)
    assert checked == ["geheim"]


async def test_a_reload_forsakes_no_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients whose check still waits for a thread are let in, or are not: they get an answer."""
    may_go_on = threading.Event()
    matches = module._matches

    def slow(hashed: str, password: str) -> bool:
        may_go_on.wait(10)
        return matches(hashed, password)

    monkeypatch.setattr(module, "_matches", slow)
    access = Access(AccessPolicy(users=USERS))
    right = asyncio.create_task(access.check(HERE, Credentials("ci", Secret("geheim"))))
    wrong = [asyncio.create_task(refusal(access, "ci", f"guess {n}")) for n in range(module.CHECKERS + 1)]
    for _ in range(3):  # turns of the loop: until each has its task, and that has asked for a thread
        await asyncio.sleep(0)
    assert access._threads._work_queue.qsize() == len(wrong) + 1 - module.CHECKERS
    access.retire()
    may_go_on.set()
    await right
    assert {str(refused) for refused in await asyncio.gather(*wrong)} == {"towline: wrong name or password"}


async def test_what_was_right_is_remembered_within_bounds(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten, and checked again when it is back."""
    monkeypatch.setattr(module, "MAX_REMEMBERED", 1)
    for name, password in (("ci", "geheim"), ("old", "anders"), ("ci", "geheim")):
        await access.check(HERE, Credentials(name, Secret(password)))
    assert len(access._right) == 1
