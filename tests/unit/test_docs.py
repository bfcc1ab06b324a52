"""The documents say what the code has: commands, configuration, files, make targets, and the same in both languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from towline.cli.main import main as command_line

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(path.name for path in ROOT.glob("*.md"))
READMES = ("README.md", "README.zh-CN.md")

_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"(?:^|[\s(])((?:addons|config|src|tests|tools)/[\w./-]*\w)(?:::(\w+))?", re.MULTILINE)
_MAKE = re.compile(r"(?:^|[\s;&])make ([a-z][a-z0-9-]*)", re.MULTILINE)
_TARGET = re.compile(r"^([a-z][a-z0-9-]*):", re.MULTILINE)
_HEADING = re.compile(r"^#+ ", re.MULTILINE)


def read(name: str) -> str:
    """The text of a file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def code_of(text: str) -> str:
    """Everything that `text` sets as code: its blocks, and its spans, one a line."""
    return "\n".join([*_BLOCK.findall(text), *_SPAN.findall(_BLOCK.sub("", text))])


def test_changelog_begins_with_what_is_unreleased() -> None:
    """A change is written down where the next release will be read."""
    sections = re.findall(r"^## (.+)$", read("CHANGELOG.md"), re.MULTILINE)
    assert sections[0] == "[Unreleased]"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_that_are_named_exist(name: str) -> None:
    """A path, and a test that is named with it, can be opened."""
    for path, test in _PATH.findall(code_of(read(name))):
        assert (ROOT / path).exists(), f"{name} names {path}"
        assert not test or f"def {test}(" in read(path), f"{name} names {path}::{test}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_make_targets_that_are_named_exist(name: str) -> None:
    """`make X` in a document is a target of the Makefile."""
    assert set(_MAKE.findall(code_of(read(name)))) <= set(_TARGET.findall(read("Makefile")))


@pytest.mark.parametrize("name", READMES)
@pytest.mark.parametrize("command", sorted(command_line.commands))
def test_every_command_is_in_both_readmes(command: str, name: str) -> None:
    """Whatever `towline --help` lists is shown to readers of either language."""
    assert re.search(rf"\btowline {command}\b", code_of(read(name)))


@pytest.mark.parametrize("name", READMES)
def test_every_section_of_the_configuration_is_in_both_readmes(name: str) -> None:
    """The READMEs name what can be configured; config/towline.yaml has each key."""
    code = code_of(read(name))
    missing = [section for section in yaml.safe_load(read("config/towline.yaml")) if section not in code]
    assert not missing


def test_readmes_have_the_same_headings_and_code() -> None:
    """A translation changes words: the outline and every command in it stay."""
    outlines = [_HEADING.findall(_BLOCK.sub("", read(name))) for name in READMES]
    assert outlines[0] == outlines[1]
    blocks = [_BLOCK.findall(read(name)) for name in READMES]
    assert blocks[0] == blocks[1]
