"""The users file and what clients say, read; and who has guessed too often."""

from __future__ import annotations

import base64

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.core.users import (
    FORGIVEN_AFTER,
    MAX_FAILURES,
    MAX_REMEMBERED,
    MAX_USERS,
    Credentials,
    Guesses,
    UsersError,
    read_credentials,
    read_users,
)
from towline.types import Secret

HASH = bcrypt.hashpw(b"geheim", bcrypt.gensalt(4)).decode()
ARGON2 = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b2dWRWJTmaaJObG"


def test_a_users_file() -> None:
    """htpasswd's form, with comments, empty lines and both kinds of hash."""
    users = read_users(f"# who\n\nci:{HASH}\r\nj\u00fcrgen:{ARGON2}\n")
    assert users == {"ci": Secret(HASH), "j\u00fcrgen": Secret(ARGON2)}
    assert HASH not in repr(users)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ci", "line 1: not of the form name:hash"),
        (f":{HASH}", "line 1: not of the form name:hash"),
        (f"\nci:{HASH}\nci:{HASH}", "line 3: this name has an entry already"),
        ("ci:$apr1$abc$def", "guessed too fast"),
        ("ci:{SHA}0DPiKuNIrrVmD8IUCuw1hQxNqZc=", "guessed too fast"),
        ("ci:geheim", "no bcrypt or Argon2 hash"),
        ("ci:$2y$31$" + "u" * 53, "no bcrypt or Argon2 hash"),
        ("ci:$2y$05$" + "a" * 53, "no bcrypt or Argon2 hash"),  # no salt ends so: bcrypt itself would raise
    ],
)
def test_lines_that_cannot_be_used(text: str, says: str) -> None:
    """The line is named and never repeated: it may be a password."""
    with pytest.raises(UsersError, match=says) as caught:
        read_users(text)
    assert "geheim" not in str(caught.value)


def test_a_users_file_is_bounded() -> None:
    """One that grew by mistake is refused."""
    with pytest.raises(UsersError, match="more than"):
        read_users("".join(f"u{n}:{HASH}\n" for n in range(MAX_USERS + 1)))


def basic(text: bytes) -> str:
    """The field's value."""
    return "Basic " + base64.b64encode(text).decode()


def test_credentials() -> None:
    """RFC 7617: the first colon divides, the scheme's case does not matter, UTF-8 is meant."""
    assert read_credentials(basic("j\u00fcrgen:ge:heim".encode())) == Credentials("j\u00fcrgen", Secret("ge:heim"))
    assert read_credentials(basic(b"ci:x").replace("Basic", "bASIC")) == Credentials("ci", Secret("x"))


@pytest.mark.parametrize(
    "value",
    ["", "Basic", "Bearer abc", "Basic ***", "Basic \xff\xff", basic(b"\xff:x"), basic(b"ci"), basic(b":x"),
     basic(b"ci:a\0b"), basic(b"ci:" + b"x" * 73), basic(b"n" * 256 + b":x")],
)  # fmt: skip
def test_what_cannot_be_right_is_none(value: str) -> None:
    """Another scheme, no Base64, no UTF-8, no name, and what bcrypt would cut."""
    assert read_credentials(value) is None


@given(st.text(max_size=300))
def test_any_value_is_read_or_none(value: str) -> None:
    """No value ends in an error."""
    credentials = read_credentials(value)
    assert credentials is None or credentials.name


def test_guesses_run_out_and_come_back() -> None:
    """Ten in a minute of one address; another is not touched, and a minute later it may try again."""
    guesses = Guesses()
    for _ in range(MAX_FAILURES):
        assert guesses.may_try("a", now=100.0)
        guesses.tried("a", now=100.0)
    assert not guesses.may_try("a", now=100.0 + FORGIVEN_AFTER - 1)
    assert guesses.may_try("b", now=100.0)
    assert guesses.may_try("a", now=100.0 + FORGIVEN_AFTER)
    guesses.tried("a", now=100.0 + FORGIVEN_AFTER)
    assert guesses.may_try("a", now=100.0 + FORGIVEN_AFTER)


def test_a_right_one_forgives() -> None:
    """Who has found it was only mistyping."""
    guesses = Guesses()
    for _ in range(MAX_FAILURES):
        guesses.tried("a", now=0.0)
    guesses.right("a")
    assert guesses.may_try("a", now=0.0)


def test_addresses_that_guess_are_bounded() -> None:
    """The oldest is forgotten."""
    guesses = Guesses()
    for number in range(MAX_REMEMBERED + 1):
        for _ in range(MAX_FAILURES):
            guesses.tried(str(number), now=0.0)
    assert guesses.may_try("0", now=0.0)
    assert not guesses.may_try("1", now=0.0)
