from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from towline.config import Config, load, parse
from towline.config.keys import FileKeys, RegistryKeys, RouteKeys, Section
from towline.errors import ConfigError

SECRET = "hunter2"  # as a value anywhere in a configuration it may be a secret in the wrong place
TEXTS = [
    *(
        "127.0.0.1:3128",
        "[::1]:3128",
        "0.0.0.0:1",
        "localhost:3128",
        "10.20.0.7",
        "10.0.0.0/8",
        "10.0.0.5/8",
        "fe80::1%1/64",
    ),
    *("http://p.example:3128", "socks5h://127.0.0.1:7890", "http://127.0.0.1:3128", "*.corp.example", "ghcr.io", "wg0"),
    *("direct", "vpn", "deny", "json", ".", "/dev/null", "SET"),
]
SECRETS = [
    *(SECRET, f"http://u:{SECRET}@p:1", f"u:{SECRET}@p:1", f"https://{SECRET}", f"{SECRET}://p:1", f"{SECRET}:3128"),
    *(f"{SECRET}.*", f"a*b*.{SECRET}", f"{SECRET}/8", f"/{SECRET}/{SECRET}", f"-{SECRET}", f"{SECRET}\n"),
]
SECTIONS = {name: type(field.default) for name, field in FileKeys.model_fields.items()}
KEYS = sorted({key for model in (FileKeys, RouteKeys, RegistryKeys) for key in model.model_fields} | {"password"})

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(TEXTS),
    st.sampled_from(SECRETS),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["direct", "vpn", "dockerhub", "corp", "unlisted", "Bad Name"])


def section(keys: Iterable[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Mappings with some of these keys and any value for each."""
    return st.dictionaries(st.sampled_from(sorted(keys)), VALUES, max_size=4)


FILES = st.fixed_dictionaries(
    {},
    optional={
        "listen": VALUES,
        "admin": VALUES,
        "routes": st.dictionaries(NAMES, section(RouteKeys.model_fields), max_size=3),
        "registries": st.dictionaries(NAMES, section(RegistryKeys.model_fields), max_size=3),
        **{name: section(model.model_fields) for name, model in SECTIONS.items() if issubclass(model, Section)},
        "other": VALUES,
    },
)


def outcome(text: str) -> Config | ConfigError:
    """The configuration, or the problems with it; anything else that is raised fails the test."""
    try:
        return parse(text, place="t.yaml", base=Path("/nonexistent"), environ={"SET": SECRET}, discovered=())
    except ConfigError as error:
        return error


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place for one file after the other."""
    return tmp_path_factory.mktemp("config") / "towline.yaml"


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=200))
def test_any_bytes(file: Path, raw: bytes) -> None:
    """Any bytes as a file are a configuration or a ConfigError with its problems at their places."""
    file.write_bytes(raw)
    places: list[str] = []
    try:
        load(file, environ={}, discovered=())
    except ConfigError as error:
        places = [problem.place for problem in error.problems]

    assert all(place.startswith(str(file)) for place in places)


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet=st.sampled_from("abxU:-[]{}&*!#|>'\"%@`,?09F_.=<~\n\t \\\u2028\ufeff"), max_size=60))
def test_any_yaml_signs(text: str) -> None:
    """Any heap of YAML's own signs is a configuration or a ConfigError."""
    outcome(text)


@settings(max_examples=100, deadline=None)
@given(data=FILES)
def test_any_values_under_any_keys(data: dict[str, Any]) -> None:
    """Values of any type under any key make a configuration or problems, and neither shows a secret."""
    result = outcome(yaml.safe_dump(data, allow_unicode=True))

    if isinstance(result, ConfigError):
        assert SECRET not in str(result)
        assert all(problem.place.startswith("t.yaml:") for problem in result.problems)
    else:
        assert all(SECRET not in repr(route.password) for route in result.routes)
        assert result.policy.unlisted != "direct" or "direct" in {route.name for route in result.routes}


@settings(max_examples=60, deadline=None)
@given(
    data=FILES,
    cut=st.floats(0, 1),
    junk=st.sampled_from([":", "\t", "- ", "&a", "*a", "!t ", "'", "}", "\n---\n", "\0"]),
)
def test_broken_files(data: dict[str, Any], cut: float, junk: str) -> None:
    """A file with something stuck into it is a configuration or a ConfigError."""
    text = yaml.safe_dump(data, allow_unicode=True)
    at = int(len(text) * cut)

    outcome(f"{text[:at]}{junk}{text[at:]}")
