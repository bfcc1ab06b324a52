from __future__ import annotations

import pytest

from towline.config.document import MAX_BYTES, MAX_DEPTH, Document, read
from towline.errors import ConfigError, Problem


def refusal(text: str) -> Problem:
    """The one problem for which the text is refused."""
    with pytest.raises(ConfigError) as caught:
        read(text, place="t.yaml")
    (problem,) = caught.value.problems
    return problem


def messages(document: Document) -> list[str]:
    """The problems of a document, without their hints."""
    return [f"{problem.place}: {problem.key}: {problem.message}" for problem in document.problems]


def test_data_keeps_yaml_types_and_lines() -> None:
    """Scalars have the types that YAML gives them, and every key and item has its line."""
    document = read(
        'listen: ["a:1",\n  "b:2"]\nroutes:\n  vpn: {mark: 0x20, cost: 1.5, disabled: true}\nadmin: ~\n', place="t.yaml"
    )

    assert document.data == {
        "listen": ["a:1", "b:2"],
        "routes": {"vpn": {"mark": 32, "cost": 1.5, "disabled": True}},
        "admin": None,
    }
    assert document.lines[("listen", 1)] == 2
    assert document.lines[("routes", "vpn", "mark")] == 4
    assert document.problems == ()


@pytest.mark.parametrize(
    ("path", "place", "key"),
    [
        (("routes", "vpn"), "t.yaml:2", "routes.vpn"),
        (("routes", "vpn", "mark"), "t.yaml:2", "routes.vpn.mark"),
        (("routes", "other"), "t.yaml:1", "routes.other"),
        (("listen", 3), "t.yaml:1", "listen[3]"),
        (("routes", "p\x1b[2J"), "t.yaml:1", "routes.?"),
        (("routes", "http://u:secret@h:1"), "t.yaml:1", "routes.?"),
    ],
)
def test_problem_has_the_nearest_known_line(path: tuple[str | int, ...], place: str, key: str) -> None:
    """A problem stands at its key, or at the nearest key above it; a key that is no plain word is not repeated."""
    problem = read("routes:\n  vpn: {}\n", place="t.yaml").problem(path, "wrong")

    assert (problem.place, problem.key) == (place, key)


def test_names_are_those_under_a_top_level_key() -> None:
    """Names count even where what they stand for has a problem, but not the keys below them."""
    document = read("routes:\n  a: {cost: 1}\n  b: 2001-01-01\npolicy: {ports: [1]}\n", place="t.yaml")

    assert document.names("routes") == {"a", "b"}
    assert document.names("registries") == frozenset()


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", "t.yaml", "the file is empty"),
        ("# nothing but a comment\n", "t.yaml", "the file is empty"),
        ("- a\n- b\n", "t.yaml:1", "the top level has to be"),
        ("# first\ntext\n", "t.yaml:2", "the top level has to be"),
        ("null\n", "t.yaml:1", "the top level has to be"),
        ("routes:\n\tvpn: {}\n", "t.yaml:2", "a tab"),
        ("routes:\n  vpn:\n  \tmark: 1\n", "t.yaml:3", "a tab"),
        ("listen: [\n", "t.yaml:2", "not valid YAML"),
        ("a: b: c\n", "t.yaml:1", "not valid YAML: mapping values are not allowed here"),
        ("a: 1\n---\nb: 2\n", "t.yaml:2", "a second document"),
        ("a: \x07\n", "t.yaml:1", "a character that YAML does not allow"),
        ("a: 1\nb: \ud800\n", "t.yaml:2", "a character that YAML does not allow"),
        ("a: &x 1\n", "t.yaml:1", "anchors"),
        ("a: &x [1]\nb: *x\n", "t.yaml:1", "anchors"),
        ("a: 1\nb: *x\n", "t.yaml:2", "anchors"),
        ("a: !!python/object:os.system x\n", "t.yaml:1", "tags"),
        ("a: !!int x\n", "t.yaml:1", "tags"),
        ("a: !s3cret!x y\n", "t.yaml:1", "tags"),
        ("a: " + "[" * 40 + "]" * 40, "t.yaml:1", f"nested more than {MAX_DEPTH} levels"),
        ('a: 1\nb: "\\UFFFFFFFF"\n', "t.yaml:2", "does not exist"),
        ("%YAML 1." + "9" * 5000 + "\n---\na: 1\n", "t.yaml:1", "does not exist"),
        ("a: 1\n" * (MAX_BYTES // 5) + "#" * 9, "t.yaml", "longer than"),
    ],
)
def test_text_that_gives_no_data_is_refused(text: str, place: str, message: str) -> None:
    """What cannot be read as one plain mapping is one problem with its line."""
    problem = refusal(text)

    assert problem.place == place
    assert message in problem.message
    assert "s3cret" not in str(problem)


def test_deep_flow_does_not_reach_the_recursion_limit() -> None:
    """Half a million opening brackets end at the depth limit, not in a RecursionError."""
    assert "nested" in refusal("a: " + "[" * 500_000).message


@pytest.mark.parametrize(
    ("text", "data", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", {"a": 1, "b": 2}, ["t.yaml:3: a: given twice, first on line 1"]),
        ("r: {x: 1, x: 2}\n", {"r": {"x": 1}}, ["t.yaml:1: r.x: given twice, first on line 1"]),
        ("no: 1\n", {}, ["t.yaml:1: : a key here is not text"]),
        (
            "r:\n  8080: {}\n  [a]: 1\n",
            {"r": {}},
            ["t.yaml:2: r: a key here is not text", "t.yaml:3: r: a key here is not text"],
        ),
        ("<<: {a: 1}\n", {}, ["t.yaml:1: : a key here is not text"]),
        ("a: 2026-01-31\n", {}, ["t.yaml:1: a: YAML reads this as a date or a special word"]),
        ("a: [1, =, 3]\n", {"a": [1, 3]}, ["t.yaml:1: a[1]: YAML reads this as a date or a special word"]),
        ("a: 2026-99-99\n", {}, ["t.yaml:1: a: YAML reads this as a date or a special word"]),
        ("a: 0x_\n", {}, ["t.yaml:1: a: this number cannot be read"]),
        ("a: " + "9" * 5000 + "\n", {}, ["t.yaml:1: a: this number cannot be read"]),
        ('a: "x\\ny"\n', {}, ["t.yaml:1: a: the text has a line break or a control character in it"]),
        ('a: "\\ud800"\n', {}, ["t.yaml:1: a: the text has a line break or a control character in it"]),
    ],
)
def test_entries_with_a_problem_are_left_out(text: str, data: object, expected: list[str]) -> None:
    """A duplicate, a key that is not text, or an unreadable value is a problem, and the rest of the data stays."""
    document = read(text, place="t.yaml")

    assert document.data == data
    assert messages(document) == expected


def test_quotes_make_text() -> None:
    """A date, a boolean and a number in quotes are text."""
    assert read('a: "2026-01-31"\nb: "no"\n"8080": \'1\'\n', place="t").data == {
        "a": "2026-01-31",
        "b": "no",
        "8080": "1",
    }


@pytest.mark.parametrize("text", ["|\u2028\u20280", "{0\u2028\u2028", "'\u2028\u2028"])
def test_line_breaks_that_only_yaml_knows(text: str) -> None:
    """U+2028 ends a line for YAML 1.1 and for no editor: the problem names the line that an editor shows."""
    with pytest.raises(ConfigError) as raised:
        read(text, place="towline.yaml")
    assert [problem.place for problem in raised.value.problems] == ["towline.yaml:1"]
