"""The line of every key, table and element of an array of a TOML file."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from magnoscope.studies import shipped, study_text
from magnoscope.studies.lines import line_of

SQUARE = (Path(__file__).parents[1] / "cli" / "square.toml").read_text("utf-8")

TRICKY = (
    """\
a.b = 1            # a comment with [brackets] and "quotes" = 3
"c d" = [ 1, # one
  [2, 3,
  ],
  "]" ]
e = { f = { g = '}' }, h = [ { i = 1 }, { i = 2 } ] }
j = '''
[k]
l = 1'''
m = """
    + '"""\nx = 1 \\""" = ]\n"""'
    + """

  [ n . "o" ]
p = 2020-01-01T00:00:00Z
[[q]]
r = 1
[q.s]
t = 1
[[q]]
[[q.u]]
v = 1
[[q.u]]
v = '2'
[n]
w = -inf"""
)


def paths(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from paths(value, (*path, key))


@pytest.mark.parametrize("text", [SQUARE, *(study_text(name)[0] for name in shipped())], ids=["square", *shipped()])
def test_every_key_is_on_its_line(text: str) -> None:
    lines = text.splitlines()
    for path in paths(tomllib.loads(text)):
        line = line_of(text, path)
        assert line is not None
        if isinstance(path[-1], str):
            assert path[-1] in lines[line - 1]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a", "b"), 1),
        (("c d",), 2),
        (("c d", 1), 3),
        (("c d", 1, 1), 3),
        (("c d", 2), 5),
        (("e", "f", "g"), 6),
        (("e", "h", 1, "i"), 6),
        (("e", "h", 1, "missing"), 6),
        (("j",), 7),
        (("m",), 10),
        (("n", "o"), 14),
        (("n", "o", "p"), 15),
        (("q",), 16),
        (("q", 0), 16),
        (("q", 0, "r"), 17),
        (("q", 0, "s", "t"), 19),
        (("q", 1), 20),
        (("q", 1, "r"), 20),
        (("q", 1, "u", 0, "v"), 22),
        (("q", 1, "u", 1), 23),
        (("q", 1, "u", 1, "v"), 24),
        (("n", "w"), 26),
        (("k",), None),
        ((), None),
    ],
)
def test_tricky_file(path: tuple[str | int, ...], line: int | None) -> None:
    tomllib.loads(TRICKY)
    assert line_of(TRICKY, path) == line
