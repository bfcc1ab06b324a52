from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from towline.catalogue import load_catalogue
from towline.config import DEFAULT_ADMIN, DEFAULT_LISTEN, Config, LogPolicy, load, parse
from towline.config.document import MAX_BYTES
from towline.config.keys import FileKeys, RegistryKeys, RouteKeys, Section
from towline.core.policy import AccessPolicy, FailoverPolicy, HealthPolicy, LimitsPolicy, StallPolicy, TargetPolicy
from towline.errors import ConfigError
from towline.types import RouteKind, RouteSpec, Secret

ROOT = Path(__file__).parents[2] / "config"
NO_USERINFO = "use username and password_file"
RELATIVE = "a relative name starts at the folder of the configuration file"
VPN = RouteSpec("wg0", interface="wg0", origin="interface wg0 (WireGuard)")


def parsed(text: str, *discovered: RouteSpec) -> Config:
    """The configuration in `text`."""
    return parse(text, place="t.yaml", base=Path(), environ={}, discovered=discovered)


def problems(text: str) -> list[str]:
    """The problems for which `text` is refused."""
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    return [str(problem) for problem in caught.value.problems]


def test_no_file_is_the_default_of_every_key() -> None:
    """Without a file: direct and what was discovered, and the defaults of every policy."""
    assert load(None, environ={}, discovered=[VPN]) == Config(
        path=None,
        listen=DEFAULT_LISTEN,
        admin=DEFAULT_ADMIN,
        admin_hosts=frozenset(),
        admin_token_file=None,
        state="auto",
        routes=(RouteSpec("direct", origin="default"), VPN),
        offered=True,
        registries=(),
        policy=TargetPolicy(),
        access=AccessPolicy(),
        failover=FailoverPolicy(),
        stall=StallPolicy(),
        health=HealthPolicy(),
        limits=LimitsPolicy(),
        log=LogPolicy(),
    )


def test_file_is_read_with_its_folder_as_base(tmp_path: Path) -> None:
    """The path is kept, and file names in it start at its folder."""
    (tmp_path / "office.secret").write_text("hunter2\n")
    file = tmp_path / "towline.yaml"
    file.write_text("routes: {office: {proxy: 'http://p:1', username: ci, password_file: office.secret}}\n")

    config = load(file, environ={}, discovered=[VPN])

    assert config.path == str(file)
    assert config.routes[0].password == Secret("hunter2")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"log: {level: \xff}\n", ":1: not UTF-8 text"),
        (b"admin: null\nlisten: [\xfe]\n", ":2: not UTF-8 text"),
        (b"\xff\xfea\x00", ":1: not UTF-8 text"),
        (b"#" * (MAX_BYTES + 1), ": the file is longer than"),
        (b"", ": the file is empty"),
    ],
)
def test_file_that_is_no_text(tmp_path: Path, raw: bytes, said: str) -> None:
    """A file that is not UTF-8, endless or empty is one problem with its place."""
    file = tmp_path / "towline.yaml"
    file.write_bytes(raw)

    with pytest.raises(ConfigError) as caught:
        load(file, environ={}, discovered=())

    assert str(caught.value).startswith(f"{file}{said}")


def test_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    """Editors that write one are forgiven."""
    file = tmp_path / "towline.yaml"
    file.write_bytes(b"\xef\xbb\xbfadmin: null\n")

    assert load(file, environ={}, discovered=()).admin is None


@pytest.mark.parametrize(("name", "said"), [("none.yaml", "No such file or directory"), (".", "Is a directory")])
def test_file_that_cannot_be_read(tmp_path: Path, name: str, said: str) -> None:
    """A file that is not there is a problem of the configuration, with its path."""
    with pytest.raises(ConfigError, match=f"cannot be read: {said}") as caught:
        load(tmp_path / name, environ={}, discovered=())

    assert caught.value.problems[0].place == str(tmp_path / name)


def test_discovered_routes_serve_only_without_routes() -> None:
    """Routes in the file are all the routes there are; a null `routes` is none in the file."""
    assert [route.name for route in parsed("routes: {a: {interface: a}}\npolicy: {unlisted: deny}", VPN).routes] == [
        "a"
    ]
    assert [route.name for route in parsed("routes:", VPN).routes] == ["direct", "wg0"]
    assert [route.name for route in parsed("admin: null", VPN).routes] == ["direct", "wg0"]


def test_discovered_proxy_that_is_towline_is_left_out() -> None:
    """A laptop whose HTTPS_PROXY points to Towline already does not make it dial itself."""
    home = RouteSpec("https_proxy", kind=RouteKind.HTTP, proxy=("localhost", 4000))
    other = RouteSpec("all_proxy", kind=RouteKind.HTTP, proxy=("localhost", 7890))

    assert parsed('listen: ["127.0.0.1:4000"]', home, other).routes[1:] == (other,)


def test_unlisted_targets_have_a_direct_route() -> None:
    """Where unlisted targets go direct and no route says how, a plain one is there for them alone."""
    (vpn, direct) = parsed("routes: {vpn: {interface: wg0}}").routes

    assert vpn.name == "vpn"
    assert direct == RouteSpec("direct", registries=(), origin="implicit: for unlisted targets only")
    assert len(parsed("routes: {vpn: {interface: wg0}}\npolicy: {unlisted: route}").routes) == 1
    assert parsed("routes: {direct: {mark: 1}}").routes[0].mark == 1
    assert len(parsed("routes: {direct: {mark: 1}}").routes) == 1


def test_registries_fit_the_catalogue() -> None:
    """The operator's registries can be laid over the built-in ones as they are."""
    config = parsed(
        "registries: {corp: {api: [R.corp.example], routes: [direct]}, ghcr: {blob: [b.x]}, quay: {routes: [wg0]}}",
        VPN,
    )

    catalogue = load_catalogue().with_overrides(config.registries)
    corp = catalogue.registry("corp")
    assert corp is not None
    assert (corp.api, corp.routes) == (("r.corp.example",), ("direct",))


def test_every_problem_at_once_in_the_order_of_the_file() -> None:
    """Syntax of values, unknown keys, references and secrets are all reported together, by line."""
    assert problems(
        "admin: 3129\n"
        "admin: null\n"
        "routes:\n"
        "  office: {proxy: 'http://ci:hunter2@p:1', username: ci, password_file: hunter2}\n"
        "  vpn: {interface: a-very-long-name-for-it, registries: [dockerhubb]}\n"
        "registries: {corp: {api: [c.example], routes: [vnp]}}\n"
        "lisen: []\n"
    ) == [
        "t.yaml:1: admin: expected text, got a whole number\n  hint: write it in quotes",
        "t.yaml:2: admin: given twice, first on line 1",
        f"t.yaml:4: routes.office.proxy: user and password are not written into the URL\n  hint: {NO_USERINFO}",
        f"t.yaml:4: routes.office.password_file: cannot be read: No such file or directory\n  hint: {RELATIVE}",
        "t.yaml:5: routes.vpn.interface: the name of an interface has 1 to 15 bytes",
        "t.yaml:5: routes.vpn.registries[0]: there is no registry of this name\n  hint: did you mean dockerhub?",
        "t.yaml:6: registries.corp.routes[0]: there is no route of this name\n  hint: did you mean vpn?",
        "t.yaml:7: lisen: unknown key\n  hint: did you mean listen?",
    ]


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    """No repr or str of a configuration or its routes has the password."""
    (tmp_path / "secret").write_text("hunter2")
    text = (
        "routes:\n"
        "  a: {proxy: 'http://p:1', username: ci, password_file: secret}\n"
        "  b: {proxy: 'socks5://p:2', username: ci, password_env: PW}\n"
    )

    config = parse(text, place="t", base=tmp_path, environ={"PW": "hunter2"}, discovered=())

    assert [route.password.reveal() for route in config.routes if route.password] == ["hunter2", "hunter2"]
    shown = f"{config!r} {config} {[route.describe() for route in config.routes]}"
    assert "hunter2" not in shown


def uncommented(text: str) -> dict[str, Any]:
    """The file with its commented route and registry, whose lines begin with `#` and two spaces."""
    loaded = yaml.safe_load(re.sub(r"(?m)^#(?=  )", " ", text))
    assert isinstance(loaded, dict)
    return loaded


def in_order(values: dict[str, Any]) -> dict[str, Any]:
    """The values with their lists in order, since some of them are sets in the code."""
    return {key: sorted(value) if isinstance(value, list) else value for key, value in values.items()}


def defaults(section: Section) -> dict[str, Any]:
    """The defaults of a section as YAML has them."""
    return in_order(section.model_dump(mode="json"))


def test_reference_file_is_the_default() -> None:
    """config/towline.yaml changes nothing: it is zero configuration, written out."""
    config = load(ROOT / "towline.yaml", environ={}, discovered=[VPN])

    assert dataclasses.replace(config, path=None) == load(None, environ={}, discovered=[VPN])


def test_reference_file_has_every_key_and_its_default() -> None:
    """config/towline.yaml shows every key that there is, and no other, each with the default of the code."""
    shown = uncommented((ROOT / "towline.yaml").read_text())

    assert set(shown) == set(FileKeys.model_fields)
    assert in_order(shown["routes"]["name"]) == defaults(RouteKeys())
    assert in_order(shown["registries"]["name"]) == defaults(RegistryKeys())
    for name in ("policy", "access", "failover", "health", "limits", "log"):
        section = FileKeys.model_fields[name].default
        assert in_order(shown[name]) == defaults(section), name


def test_reference_file_explains_every_key() -> None:
    """Every line with a value says in a comment what it is."""
    lines = (ROOT / "towline.yaml").read_text().splitlines()
    keys = [line for line in lines if re.match(r"#?  *[a-z_]+: .|[a-z]+: .", line)]

    assert len(keys) > 30
    assert [line for line in keys if not re.search(r"\S +# \S", line)] == []


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda file: file.name)
def test_examples_are_valid(file: Path, tmp_path: Path) -> None:
    """Every example loads where the secrets that it names are there."""
    (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "office.secret").write_text("hunter2\n")

    config = load(tmp_path / file.name, environ={}, discovered=())

    assert len(config.routes) >= 2
