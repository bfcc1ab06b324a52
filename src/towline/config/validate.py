"""A document against the keys: values of the right types, or a problem in plain words for every key that is wrong.

pydantic finds all of them in one pass; its messages speak of inputs, models and extras, and are put into words here.
"""

from __future__ import annotations

import copy
from itertools import takewhile
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from towline.config.document import Document, KeyPath
from towline.config.keys import FileKeys, RegistryKeys, RouteKeys, Section
from towline.config.values import Invalid, nearest
from towline.errors import Problem


def validate(document: Document) -> tuple[FileKeys, list[Problem]]:
    """The keys of a document, and every problem with them: such a key has its default, so that the checks can go on."""
    try:
        return FileKeys.model_validate(document.data), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
    data = copy.deepcopy(document.data)
    problems: list[Problem] = []
    for details in errors:
        path = tuple(part for part in details["loc"] if part != "[key]")
        problems.append(document.problem(path, *_explain(details, path)))
        _remove(data, path)
    return FileKeys.model_validate(data), problems


def _remove(data: dict[Any, Any], path: KeyPath) -> None:
    """Take the key out that `path` leads to; a list goes as a whole."""
    *parents, last = takewhile(lambda part: isinstance(part, str), path)
    for part in parents:
        data = data.get(part, {})  # a section that is out already
    data.pop(last, None)


_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
}
_BOUNDS = {
    "greater_than": "has to be more than {gt:.10g}",
    "greater_than_equal": "has to be at least {ge:.10g}",
    "less_than_equal": "has to be at most {le:.10g}",
    "finite_number": "has to be a finite number",
    "string_too_short": "the text is empty",
}
_GOT = (
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number with a fraction"),
    (str, "text"),
    (list, "a list"),
    (dict, "a mapping"),
)


def _explain(details: ErrorDetails, path: KeyPath) -> tuple[str, str]:
    """Message and hint for one of pydantic's errors. Never the value: it may be a secret in the wrong place."""
    kind, context = details["type"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return "unknown key", _unknown_key_hint(path)
    if kind == "value_error" and isinstance(context["error"], Invalid):
        return context["error"].message, context["error"].hint
    if kind == "literal_error":
        choices = context["expected"].replace("'", "")
        return f"expected {choices}", ""
    if kind in _BOUNDS:
        return _BOUNDS[kind].format_map(context), ""
    if kind in _EXPECTED:
        given = details["input"]
        got = next((word for type_, word in _GOT if isinstance(given, type_)), "nothing")
        return f"expected {_EXPECTED[kind]}, got {got}", _type_hint(_EXPECTED[kind], given)
    return details["msg"], ""


def _type_hint(expected: str, given: object) -> str:
    if expected == "a list" and isinstance(given, str | int):
        return "write it in brackets: [...]"
    if expected == "text" and isinstance(given, bool):
        return "YAML reads on, off, yes and no so: write text in quotes, and null for nothing"
    if expected == "text" and isinstance(given, int | float):
        return "write it in quotes"
    return ""


def _unknown_key_hint(path: KeyPath) -> str:
    *parents, key = path
    if key == "password":
        return "a password is not written here: use password_file or password_env"
    return nearest(str(key), _section_at(parents).model_fields)


def _section_at(parents: list[str | int]) -> type[Section]:
    """The model whose keys stand at this place."""
    match parents:
        case ["routes", _]:
            return RouteKeys
        case ["registries", _]:
            return RegistryKeys
        case [str(key)]:
            return type(FileKeys.model_fields[key].default)
        case _:
            return FileKeys
