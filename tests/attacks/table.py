"""The table of attacks: what each is, and for those that are no bytes to be sent (rows.py), the tests that hold it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attack:
    """One line of the table."""

    what: str
    tests: tuple[str, ...] = ()
    """`file::test`, below tests/attacks."""


ATTACKS: dict[int, Attack] = {
    1: Attack("no port, or none that exists"),
    2: Attack("a port with leading zeros"),
    3: Attack("a port in digits of other scripts"),
    4: Attack("user information in the target"),
    5: Attack("a path, a query or a scheme on CONNECT"),
    6: Attack("hosts that are none: empty, too long, wildcards, percent signs, NUL"),
    7: Attack("hosts that look like an option"),
    8: Attack("hosts beyond ASCII"),
    9: Attack("other spellings of an IPv4 address"),
    10: Attack("loopback and unspecified addresses"),
    11: Attack("IPv4 inside IPv6"),
    12: Attack("link-local addresses and metadata services"),
    13: Attack("private and reserved addresses"),
    14: Attack("NAT64, 6to4 and Teredo addresses around private ones"),
    15: Attack("a name that leads to a private address"),
    16: Attack("DNS rebinding", ("test_ways.py::test_a_name_that_moves",)),
    17: Attack("a name with public and private addresses", ("test_ways.py::test_a_name_with_addresses_of_both_kinds",)),
    18: Attack("other spellings of a name"),
    19: Attack("names that end or begin like a good one"),
    20: Attack("other ports of a good host"),
    21: Attack("the proxy itself"),
    22: Attack("two proxies as each other's route", ("test_ways.py::test_each_others_route",)),
    23: Attack("the admin side through the proxy"),
    24: Attack("other methods and forms"),
    25: Attack("heads without end", ("test_load.py::test_heads_without_end",)),
    26: Attack("slow heads", ("test_load.py::test_slow_heads",)),
    27: Attack("silent connections", ("test_load.py::test_silent_connections",)),
    28: Attack("line ends before the request"),
    29: Attack("line ends and blanks where none may be"),
    30: Attack("malformed fields"),
    31: Attack("ambiguous lengths"),
    32: Attack("CONNECT with a body"),
    33: Attack("Host twice, missing, or another"),
    34: Attack("other versions"),
    35: Attack("bytes behind the head"),
    36: Attack("other protocols"),
    37: Attack(
        "guessing passwords, and passing them on",
        (
            "test_people.py::test_who_is_not_let_in",
            "test_people.py::test_guessing",
            "test_people.py::test_a_password_goes_no_further",
        ),
    ),
    38: Attack("secrets in any output", ("test_secrets.py::test_no_output_has_a_secret",)),
    39: Attack("routes that misbehave", ("test_ways.py::test_a_hostile_route",)),
    40: Attack("the admin side by a browser or a stranger", ("test_people.py::test_admin_side",)),
    41: Attack("text that forges the log", ("test_secrets.py::test_nothing_from_the_wire_forges_the_log",)),
    42: Attack(
        "listening for everybody",
        ("test_start.py::test_listening_for_everybody", "test_start.py::test_clients_of_other_networks"),
    ),
    43: Attack(
        "configuration files",
        ("test_start.py::test_hostile_configuration", "test_start.py::test_a_reload_is_whole_or_nothing"),
    ),
    44: Attack("descriptors that somebody else was passed", ("test_start.py::test_descriptors_of_another_process",)),
}
