"""YAML text as plain data that remembers the line of every key, so that each problem can be shown at its place.

PyYAML's safe loader parses and composes; its node graph, which has the marks, is walked here. Refused, because a
configuration needs none of it and each has surprised operators: anchors and aliases (a few lines of them expand to
gigabytes), tags, a key given twice (YAML 1.2 3.2.1.1; PyYAML keeps the last silently), a second document, deep nesting.

No message repeats a value of the file, since any may turn out to be a secret in the wrong place; keys are repeated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from towline.errors import ConfigError, Problem

MAX_BYTES = 1 << 20  # bytes: far above any real configuration, low enough to be read at once
MAX_DEPTH = 8  # levels: registries.NAME.api[0] is the deepest value, at 5
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # a key that is shown as it is: no secret, no control character
_STR = "tag:yaml.org,2002:str"
_SCALARS = frozenset({_STR, *(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))})
_TAG = "tags (!) are not accepted: write text in quotes"
_REFUSED = object()  # stands for a value that has its problem already: it is left out of the data

type KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top: `("routes", "office", "proxy")`, `("listen", 0)`."""


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration as plain data, the line of every key in it, and what was wrong with the YAML itself."""

    place: str
    data: dict[str, Any]
    lines: Mapping[KeyPath, int]
    problems: tuple[Problem, ...]

    def problem(self, path: KeyPath, message: str, hint: str = "") -> Problem:
        """A problem at the line of `path`, or of the nearest key above it that the file has."""
        known = next((path[:n] for n in range(len(path), 0, -1) if path[:n] in self.lines), ())
        return Problem(f"{self.place}:{self.lines[known]}", _shown(path), message, hint)

    def names(self, key: str) -> frozenset[str]:
        """The names under a top-level key, whether or not what they stand for is valid."""
        return frozenset(str(path[1]) for path in self.lines if len(path) == 2 and path[0] == key)


def read(text: str, *, place: str) -> Document:
    """Parse `text`; `place` names it in problems. Raises ConfigError where no data can be had from it at all."""
    if len(text) > MAX_BYTES:
        raise ConfigError([too_long(place)])
    try:
        loader = _Loader(text)
        node = _compose(loader)
    except (_Refused, yaml.reader.ReaderError, yaml.MarkedYAMLError) as error:
        raise ConfigError([_syntax_problem(error, text, place)]) from None
    if node is None:
        raise ConfigError([Problem(place, "", "the file is empty", "`{}` alone means the default of every key")])
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError([Problem(f"{place}:{_line(node)}", "", "the top level has to be `key: value` lines")])
    walk = _Walk(loader, place)
    data = walk.mapping(node, ())
    return Document(place, data, walk.lines, tuple(walk.problems))


def too_long(place: str) -> Problem:
    """The problem of a file above MAX_BYTES."""
    return Problem(place, "", f"the file is longer than {MAX_BYTES} bytes: this is no configuration")


class _Refused(yaml.YAMLError):
    """YAML that a configuration has no use for, or that PyYAML cannot cope with."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


class _Loader(yaml.SafeLoader):
    """The safe loader without anchors, aliases, tags and deep nesting."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse by the event, before anything is built from it."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if event.anchor is not None:
            raise _Refused(line, "anchors (&) and aliases (*) are not accepted: write the value out")
        if event.tag is not None:
            raise _Refused(line, _TAG)
        if self._depth == MAX_DEPTH:
            raise _Refused(line, f"nested more than {MAX_DEPTH} levels deep")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _compose(loader: _Loader) -> yaml.Node | None:
    try:
        return loader.get_single_node()
    except (
        ValueError,
        OverflowError,
    ):  # PyYAML leaves chr() and int() unguarded: "\\UFFFFFFFF", %YAML with 5000 digits
        raise _Refused(loader.line + 1, "a number or a character that does not exist") from None


class _Walk:
    """One pass over the node graph: data, lines and problems."""

    def __init__(self, loader: _Loader, place: str) -> None:
        self._loader = loader
        self._place = place
        self.lines: dict[KeyPath, int] = {(): 1}
        self.problems: list[Problem] = []

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        """The mapping, less the entries that have a problem."""
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if here in self.lines:
                self._report(key_node, here, f"given twice, first on line {self.lines[here]}")
                continue
            self.lines[here] = _line(key_node)
            value = self._value(value_node, here)
            if value is not _REFUSED:
                data[key] = value
        return data

    def _key(self, node: yaml.Node, path: KeyPath) -> str | None:
        if node.tag == _STR:
            return str(node.value)
        # YAML 1.1 reads a route called `no` or `on` as a boolean, and 8080 as a number.
        self._report(node, path, "a key here is not text", "write it in quotes")
        return None

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        match node:
            case yaml.MappingNode():
                return self.mapping(node, path)
            case yaml.SequenceNode():
                return self._sequence(node, path)
            case _:
                return self._scalar(node, path)

    def _sequence(self, node: yaml.SequenceNode, path: KeyPath) -> list[Any]:
        items: list[Any] = []
        for item_node in node.value:
            here = (*path, len(items))
            self.lines[here] = _line(item_node)
            item = self._value(item_node, here)
            if item is not _REFUSED:
                items.append(item)
        return items

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        if node.tag not in _SCALARS:
            self._report(node, path, "YAML reads this as a date or a special word", "write text in quotes")
            return _REFUSED
        try:
            value = self._loader.construct_object(node)
        except ValueError:  # `0x_`, and integers above the interpreter's limit of digits
            self._report(node, path, "this number cannot be read")
            return _REFUSED
        if isinstance(value, str) and not value.isprintable():  # no key has a use for it, paths and names least of all
            self._report(node, path, "the text has a line break or a control character in it")
            return _REFUSED
        return value

    def _report(self, node: yaml.Node, path: KeyPath, message: str, hint: str = "") -> None:
        self.problems.append(Problem(f"{self._place}:{_line(node)}", _shown(path), message, hint))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _shown(path: KeyPath) -> str:
    """`routes.office.proxy`, `listen[0]`; a key that could be a secret or a control character is `?`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if _PLAIN_KEY.fullmatch(part) else "?"
            text += f".{shown}" if text else shown
    return text


def _syntax_problem(error: _Refused | yaml.reader.ReaderError | yaml.MarkedYAMLError, text: str, place: str) -> Problem:
    """What PyYAML stumbled over, in words for somebody who does not know its grammar."""
    match error:
        case _Refused():
            return Problem(f"{place}:{error.line}", "", str(error))
        case yaml.reader.ReaderError():
            line = text.count("\n", 0, error.position) + 1
            return Problem(f"{place}:{line}", "", "a character that YAML does not allow: is this a text file?")
        case yaml.MarkedYAMLError():
            # Not the mark's own line: YAML 1.1 ends lines also at U+0085, U+2028 and U+2029, and editors do not.
            line = text.count("\n", 0, error.problem_mark.index) if error.problem_mark else 0
            return Problem(f"{place}:{line + 1}", "", *_explain(error.problem or "", text, line))


def _explain(problem: str, text: str, line: int) -> tuple[str, str]:
    if "'\\t'" in problem or _indented_by_tab(text, line):
        return "a tab: YAML is indented by spaces", "replace it by two spaces"
    if "another document" in problem:
        return "a second document begins here (---): a file is one configuration", ""
    if "tag handle" in problem:  # PyYAML repeats the handle, which is a word of the file
        return _TAG, ""
    return f"not valid YAML: {problem}", "look at the indentation, colons and quotes here and just before"


def _indented_by_tab(text: str, line: int) -> bool:
    content = (*text.split("\n"), "")[line]
    return "\t" in content[: len(content) - len(content.lstrip())]
