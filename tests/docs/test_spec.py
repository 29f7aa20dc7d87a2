"""SPEC.md: each promise names a test or a benchmark that is there, and says whether it holds."""

import ast
import re

from tests.docs.pages import ROOT

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


def test_every_test_and_benchmark_that_is_named_is_there() -> None:
    missing = []
    for name in set(re.findall(r"`((?:tests|benchmarks|docs|examples|deploy|\.ci)/[^`\s]*|Makefile)`", SPEC)):
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
