"""The error tree is total: what its docstring draws is what the classes say, and each error survives the wire."""

import re

import msgspec
import pytest

from isotherm.base import errors
from isotherm.base.errors import Invalid, IsothermError, all_errors, error_from_problem

_drawn = re.compile(
    r"^    (?P<stem>[│├└─ ]*)(?P<name>[A-Z]\w+) +(?P<code>[a-z_]+) +(?P<status>\d{3})  exit (?P<exit>\d+)$"
)


def drawn_tree() -> dict[str, tuple[str, int, int, str]]:
    """Class name → (code, status, exit code, parent's name), as the module's docstring draws it."""
    tree: dict[str, tuple[str, int, int, str]] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = _drawn.match(line)
        if found is None:
            continue
        depth = len(found["stem"])
        above = [each for each in above if each[0] < depth]
        tree[found["name"]] = (found["code"], int(found["status"]), int(found["exit"]), above[-1][1] if above else "")
        above.append((depth, found["name"]))
    return tree


def test_the_docstring_draws_every_class_as_it_is() -> None:
    real = {
        kind.__name__: (kind.code, kind.status, kind.exit_code, kind.__bases__[0].__name__)
        for kind in all_errors().values()
    }
    real["IsothermError"] = (IsothermError.code, IsothermError.status, IsothermError.exit_code, "")
    assert drawn_tree() == real


def test_every_class_is_exported_and_has_a_code_of_its_own() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, IsothermError)]
    assert {kind.__name__ for kind in kinds} <= set(errors.__all__)
    assert len({kind.code for kind in kinds}) == len(kinds) == len(all_errors())
    assert all(kind.title and 400 <= kind.status <= 599 and 1 <= kind.exit_code <= 78 for kind in kinds)


@pytest.mark.parametrize("code", sorted(all_errors()))
def test_an_error_survives_the_wire(code: str) -> None:
    sent = all_errors()[code]("it broke at /x; do y", retry_after_s=1.5, name="hello", tries=3)
    problem = msgspec.json.decode(msgspec.json.encode(sent.problem("req-1")))
    assert problem["status"] == sent.status
    assert problem["instance"] == "req-1"
    assert problem["type"].endswith("/" + code)

    got = error_from_problem(problem)
    assert type(got) is type(sent)
    assert (got.message, got.retry_after_s, got.data) == (sent.message, 1.5, {"name": "hello", "tries": 3})


def test_a_problem_says_nothing_that_was_not_given() -> None:
    assert Invalid("bad").problem().keys() == {"type", "title", "status", "code", "detail"}


def test_a_problem_from_elsewhere_becomes_the_root() -> None:
    got = error_from_problem({"title": "Teapot", "status": 418, "data": "not an object", "retry_after_s": "soon"})
    assert type(got) is IsothermError
    assert (got.message, got.retry_after_s, got.data) == ("Teapot", None, {})
