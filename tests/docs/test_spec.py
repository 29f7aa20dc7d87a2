"""SPEC.md: each promise names what holds it, and says whether it does. What any page names as a test is there."""

import ast
import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, pages

SPEC = (ROOT / "SPEC.md").read_text()


def rows() -> list[list[str]]:
    """The cells of each promise: text, what holds it, state."""
    tables = re.findall(r"^\| promise \|.*?(?=\n\n|\Z)", SPEC, re.MULTILINE | re.DOTALL)
    lines = [line for table in tables for line in table.splitlines()[2:]]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_every_promise_says_what_holds_it_and_whether_it_holds() -> None:
    promises = rows()
    assert len(promises) >= 40
    for row in promises:
        held_by, state = row[-2], row[-1]
        assert re.match(r"(held|not yet held)", state), row
        assert "`" in held_by or state.startswith("not yet held"), row


NAMING = [page for page in pages() if not page.is_relative_to(ROOT / "benchmarks")]  # its page names what a run makes


@pytest.mark.parametrize("page", NAMING, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_and_benchmark_that_a_page_names_is_there(page: Path) -> None:
    missing = []
    named = re.findall(r"`((?:tests|benchmarks|docs|examples|deploy|\.ci)/[^`\s]*|Makefile)`", page.read_text())
    for name in set(named):
        path, _, function = name.partition("::")
        if path.startswith("benchmarks/results"):
            continue  # written by a run
        if not (ROOT / path).exists():
            missing.append(name)
        elif function:
            names = {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if hasattr(node, "name")}
            if function not in names:
                missing.append(name)
    assert missing == []
