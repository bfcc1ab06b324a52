from __future__ import annotations

from pathlib import Path

import pytest

from towline.config import Config, parse
from towline.config.changes import AT_START, SETTINGS, compare
from towline.config.keys import FileKeys

BEFORE = """
routes:
  direct: {}
  vpn: {interface: wg0}
  office: {proxy: "http://proxy.example:3128"}
"""


def parsed(text: str) -> Config:
    """The configuration in `text`."""
    return parse(text, place="t.yaml", base=Path(), environ={"SECRET": "one", "OTHER": "two"}, discovered=())


def test_nothing_differs_from_itself() -> None:
    """Every route is kept, and nothing else is told."""
    changes = compare(parsed(BEFORE), parsed(BEFORE))
    assert changes.kept == ("direct", "vpn", "office")
    assert (changes.added, changes.left, changes.forgotten, changes.settings, changes.restart) == ((), (), (), (), ())


def test_routes_by_name() -> None:
    """Added, removed, changed, kept: each in the order of the file that has it."""
    after = "routes: {direct: {}, tagged: {mark: 7}, office: {proxy: 'http://other.example:3128'}}"
    changes = compare(parsed(BEFORE), parsed(after))
    assert (changes.added, changes.removed, changes.changed, changes.kept) == (
        ("tagged",),
        ("vpn",),
        ("office",),
        ("direct",),
    )
    assert changes.left == ("vpn", "office")


@pytest.mark.parametrize(
    ("route", "is_forgotten"),
    [
        ("{interface: wg1}", True),
        ("{interface: wg0, mark: 7}", True),
        ("{proxy: 'http://p.example:1'}", True),
        ("{interface: wg0, cost: 2.0}", False),
        ("{interface: wg0, registries: [ghcr]}", False),
        ("{interface: wg0, disabled: true}", False),
    ],
)
def test_health_holds_for_the_same_way_out(route: str, is_forgotten: bool) -> None:
    """What the operator thinks of a route changes it, but not what was measured on it."""
    changes = compare(parsed("routes: {vpn: {interface: wg0}}"), parsed(f"routes: {{vpn: {route}}}"))
    assert changes.changed == ("vpn",)
    assert changes.forgotten == (("vpn",) if is_forgotten else ())


def test_password_is_part_of_a_route() -> None:
    """A secret that was replaced in its place changes the route that logs in with it."""
    text = "routes: {{office: {{proxy: 'http://p.example:1', username: ci, password_env: {}}}}}"
    assert compare(parsed(text.format("SECRET")), parsed(text.format("OTHER"))).changed == ("office",)


@pytest.mark.parametrize(
    ("text", "section"),
    [
        ("listen: ['127.0.0.1:1']", "listen"),
        ("registries: {corp: {api: [registry.corp.example]}}", "registries"),
        ("policy: {unlisted: deny}", "policy"),
        ("access: {clients: ['10.0.0.0/8']}", "access"),
        ("failover: {max_parallel: 2}", "failover"),
        ("limits: {drain: 1}", "limits"),
        ("log: {level: debug}", "log"),
    ],
)
def test_sections_are_told(text: str, section: str) -> None:
    """A section that differs is named, alone."""
    changes = compare(parsed("{}"), parsed(text))
    assert (changes.settings, changes.restart) == ((section,), ())


def test_no_section_is_forgotten() -> None:
    """Whatever the file can say is compared: as routes, as a section, or as what is taken at the start."""
    assert {*SETTINGS, *AT_START, "routes"} == set(FileKeys.model_fields)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("admin: null", "admin"),
        ("admin_hosts: [towline]", "admin_hosts"),
        ("admin_token_file: t", "admin_token_file"),
        ("state: null", "state"),
    ],
)
def test_what_waits_for_a_restart_is_told_apart(text: str, key: str) -> None:
    """The admin side and the state folder are no settings that a reload applies."""
    changes = compare(parsed("{}"), parsed(text))
    assert (changes.settings, changes.restart) == ((), (key,))
