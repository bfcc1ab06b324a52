from __future__ import annotations

import pytest

from towline.config.checks import check, leads_home
from towline.config.document import read
from towline.config.validate import validate
from towline.types import Address


def problems(text: str) -> list[str]:
    """The problems between the keys of a file that has no others."""
    document = read(text, place="t")
    keys, found = validate(document)
    assert found == []
    routes = document.names("routes") or {"direct", "wg0"}
    return [str(problem) for problem in check(keys, document, routes=routes, builtin={"dockerhub", "ghcr"})]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        'listen: ["127.0.0.1:3128", "127.0.0.2:3128", "[::1]:3128"]\nadmin: "127.0.0.1:3129"',
        'listen: ["0.0.0.0:3128", "[::]:3128"]\naccess: {clients: [10.0.0.0/8]}',
        'listen: ["0.0.0.0:3128"]\naccess: {clients: ["127.0.0.0/8"]}',
        "routes: {direct: {}, a: {registries: [ghcr, corp]}}\nregistries: {corp: {api: [c.example], routes: [a]}}",
        "registries: {corp: {api: [c.example], routes: [wg0]}}",
        "registries: {dockerhub: {routes: [direct]}}",
        "registries: {a: {api: [x.example], blob: [x.example]}}",
        'routes: {a: {proxy: "http://127.0.0.1:7890"}, b: {proxy: "http://127.0.0.2:3128"}}',
        'routes: {a: {proxy: "https://p:1", username: u, password_file: f, ca_file: c}}',
        'routes: {a: {proxy: "socks5://p:1", username: "u:v"}}',
        "routes: {a: {proxy: null, username: null, password_file: null, password_env: null, ca_file: null}}",
        'routes: {a: {proxy: "socks5://p:1", dns: "https://d.example/q"}}',
        'routes: {a: {dns: "udp://192.0.2.53"}, b: {proxy: "http://p:1", dns: system}}',
        "routes: {direct: {disabled: true}}\npolicy: {unlisted: route}",
        "routes: {vpn: {disabled: true}}",
    ],
)
def test_keys_that_fit(text: str) -> None:
    """These configurations have no problem between their keys."""
    assert problems(text) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('listen: ["127.0.0.1:1", "127.0.0.1:1"]', "t:1: listen[1]: another entry listens there already"),
        ('listen: ["[::1]:1", "[0::1]:1"]', "listen[1]: another entry listens there already"),
        ('access: {clients: [10.0.0.1]}\nlisten: ["127.0.0.1:1", "0.0.0.0:1"]', "t:2: listen[1]: another entry"),
        ('admin: "127.0.0.1:3128"', "t:1: admin: the proxy listens there already"),
        ('admin: "127.0.0.1:8443"', "t:1: admin: policy.ports lets clients ask for this port"),
        ('admin: "127.0.0.1:1"\npolicy: {ports: [443, 1]}', "t:1: admin: policy.ports lets clients ask for this port"),
        ('admin: "0.0.0.0:3128"', "admin: the proxy listens there already"),
        ('admin: "[::]:3128"', "admin: the proxy listens there already"),
        ('listen: ["0.0.0.0:3128"]', "t:1: listen[0]: listens beyond this machine, but access.clients"),
        ('listen: ["127.0.0.1:1", "10.0.0.1:1"]\naccess:', "listen[1]: listens beyond this machine"),
        ('routes: {a: {proxy: "http://127.0.0.1:3128"}}', "routes.a.proxy: this is Towline's own address"),
        ('routes: {a: {proxy: "http://localhost:3128"}}', "routes.a.proxy: this is Towline's own address"),
        ("routes: {a: {username: u}}", "routes.a.username: there is no proxy to log in to"),
        ('routes: {a: {proxy: "http://p:1", username: "u:v"}}', "routes.a.username: a user name for an http proxy"),
        ('routes: {a: {proxy: "socks5://p:1", dns: "udp://192.0.2.53"}}', "routes.a.dns: DNS over UDP does not pass"),
        ('routes: {a: {proxy: "http://p:1", dns: "https://d/q"}}', "dns: names are resolved by the http proxy"),
        (
            'routes: {a: {proxy: "socks5h://p:1", dns: "udp://192.0.2.53"}}',
            "dns: names are resolved by the socks5h proxy",
        ),
        (f'routes: {{a: {{proxy: "socks5://p:1", username: {"u" * 256}}}}}', "username: longer than the 255 bytes"),
        ('routes: {a: {proxy: "http://p:1", password_env: E}}', "password_env: a password without a user name"),
        ('routes: {a: {proxy: "http://p:1", password_file: f}}', "password_file: a password without a user name"),
        (
            'routes: {a: {proxy: "http://p:1", username: u, password_file: f, password_env: E}}',
            "routes.a.password_env: the password is given twice: password_file has it too",
        ),
        ('routes: {a: {proxy: "http://p:1", ca_file: f}}', "routes.a.ca_file: only an https proxy"),
        ("routes: {a: {ca_file: f}}", "routes.a.ca_file: only an https proxy"),
        ("routes: {direct: {disabled: true}}", "routes.direct.disabled: unlisted targets go over this route"),
        ("routes: {a: {registries: [zzz]}}", "registries[0]: there is no registry of this name\n  hint: known: docker"),
        (
            "routes: {a: {registries: [ghcr, gchr]}}",
            "registries[1]: there is no registry of this name\n  hint: did you",
        ),
        ("routes: {vpn: {}}\nregistries: {ghcr: {routes: [vpm]}}", "t:2: registries.ghcr.routes[0]: there is no route"),
        ("routes: {vpn: {}}\nregistries: {ghcr: {routes: [vpm]}}", "hint: did you mean vpn?"),
        ("routes: {vpn: {}}\nregistries: {ghcr: {routes: [direct]}}", "hint: known: vpn"),
        (
            "registries: {a: {api: [x.example]}, b: {blob: [y.example, x.example]}}",
            "t:1: registries.b.blob[1]: this host belongs to a already",
        ),
        ("registries: {a: {api: [X.example]}, b: {api: [x.example.]}}", "registries.b.api[0]: this host belongs to a"),
        ("registries: {dockerhb: {routes: [direct]}}", "registries.dockerhb: no such registry is built in"),
        ("registries: {dockerhb: {routes: [direct]}}", "hint: did you mean dockerhub?"),
        ("registries: {corp: {api: []}}", "registries.corp: no such registry is built in, and no host is given"),
        ("registries: {corp: }", "registries.corp: no such registry is built in, and no host is given"),
    ],
)
def test_keys_that_contradict_each_other(text: str, said: str) -> None:
    """Every contradiction is one problem at the key that has to change."""
    (problem,) = problems(text)

    assert said in problem


def test_keys_with_problems_of_their_own_are_given() -> None:
    """A proxy or user name that is there, but wrong, is not reported as missing on top of it."""
    document = read(
        "routes:\n"
        "  a: {proxy: ftp://p:1, username: u, ca_file: c}\n"
        "  b: {proxy: http://p:1, username: 7, password_env: E}\n",
        place="t",
    )
    keys, found = validate(document)

    assert [problem.key for problem in found] == ["routes.a.proxy", "routes.b.username"]
    assert list(check(keys, document, routes=(), builtin=())) == []


def test_names_with_problems_of_their_own_may_be_referred_to() -> None:
    """A reference to a route or registry that is there, but wrong, is not reported on top of what is wrong with it."""
    document = read("routes: {a: {registries: [corp]}, b: 7}\nregistries: {corp: {api: [7], routes: [b]}}", place="t")
    keys, found = validate(document)

    assert [problem.key for problem in found] == ["routes.b", "registries.corp.api[0]"]
    assert list(check(keys, document, routes=document.names("routes"), builtin={"ghcr"})) == []


@pytest.mark.parametrize(
    ("proxy", "listener", "home"),
    [
        (("127.0.0.1", 3128), ("127.0.0.1", 3128), True),
        (("localhost", 3128), ("127.0.0.1", 3128), True),
        (("localhost", 3128), ("::1", 3128), True),
        (("localhost", 3128), ("0.0.0.0", 3128), True),
        (("127.0.0.9", 3128), ("0.0.0.0", 3128), True),
        (("0.0.0.0", 3128), ("127.0.0.1", 3128), True),
        (("10.0.0.1", 3128), ("10.0.0.1", 3128), True),
        (("127.0.0.1", 3129), ("127.0.0.1", 3128), False),
        (("127.0.0.2", 3128), ("127.0.0.1", 3128), False),
        (("localhost", 3128), ("10.0.0.1", 3128), False),
        (("proxy.corp.example", 3128), ("0.0.0.0", 3128), False),
        (("10.0.0.2", 3128), ("0.0.0.0", 3128), False),
    ],
)
def test_leads_home(proxy: Address, listener: Address, home: bool) -> None:
    """A proxy at our own listener, however its address is written, leads back to Towline."""
    assert leads_home(proxy, [("::1", 9), listener]) is home
