"""Mermaid's pictures, as far as a slip in them breaks the whole picture: a forge then shows an error in its place.

All were parsed by Mermaid itself when they were written. It takes a minute to install, so this knows the part of its
grammar that the pages use, and refuses the rest.
"""

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, pages

PICTURES = [
    (page, match.start(), match[1].splitlines())
    for page in pages()
    for match in re.finditer(r"^```mermaid\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
]
_message = re.compile(r"(\w+)(->>|-->>)(\w+): [^;#]+")
_note = re.compile(r"Note over (\w+)(?:,(\w+))?: [^;#]+")
_block = re.compile(r"(alt|loop|opt|par) [^;#]+")


def problems_of_sequence(lines: list[str]) -> list[str]:
    known: set[str] = set()
    found, depth = [], 0
    for line in (line.strip() for line in lines):
        if declared := re.fullmatch(r"participant (\w+) as [^;#]+", line):
            known.add(declared[1])
        elif said := _message.fullmatch(line) or _note.fullmatch(line):
            names = {name for name in said.groups() if name and name.isalnum()}
            found += [f"{line}: who is {name}?" for name in names - known]
        elif _block.fullmatch(line):
            depth += 1
        elif line == "end" and depth:
            depth -= 1
        elif not (re.fullmatch(r"else [^;#]+", line) and depth):
            found.append(line)
    return found + ["a block has no end"] * depth


def unbalanced(text: str) -> bool:
    return any(text.count(opening) != text.count(closing) for opening, closing in ("()", "[]", "{}"))


def problems_of_flowchart(lines: list[str]) -> list[str]:
    found, depth = [], 0
    for line in (line.strip() for line in lines):
        bare = re.sub(r'"[^"]*"', "", line)
        if re.fullmatch(r"subgraph \w+(\[\])?", bare):
            depth += 1
        elif line == "end":
            depth -= 1
        elif re.search('[";]', bare) or not re.match(r"\w", bare) or unbalanced(bare):
            found.append(line)
    return found + ["subgraphs and ends do not match"] * (depth != 0)


@pytest.mark.parametrize(
    ("page", "place", "lines"), PICTURES, ids=[f"{page.relative_to(ROOT)}:{place}" for page, place, _ in PICTURES]
)
def test_a_picture_can_be_drawn(page: Path, place: int, lines: list[str]) -> None:
    kind, *rest = lines
    if kind == "sequenceDiagram":
        assert problems_of_sequence(rest) == []
    else:
        assert re.fullmatch(r"flowchart (TB|LR)", kind)
        assert problems_of_flowchart(rest) == []


def test_slips_are_found() -> None:
    assert problems_of_sequence(["participant A as a", "A->>A: one; two"]) == ["A->>A: one; two"]
    assert problems_of_sequence(["participant A as a", "A->>B: x"]) == ["A->>B: x: who is B?"]
    assert problems_of_sequence(["loop each"]) == ["a block has no end"]
    assert problems_of_flowchart(['a["x" --> b']) == ['a["x" --> b']
    assert problems_of_flowchart(["subgraph a", "x --> y"]) == ["subgraphs and ends do not match"]
