"""What may stand in whose budget."""

import pytest

from isotherm.base.errors import Invalid
from isotherm.warming.budgets import Budget, namespace_budget, platform_budget, workload_budget


def test_a_budget_is_for_whom_it_belongs_to() -> None:
    assert workload_budget("p_cold <= 1%") == Budget("p_cold", 0.01, "workload")
    assert namespace_budget("idle <= 0.5 GBh/day") == Budget("idle", 0.5, "namespace")
    assert platform_budget("idle <= 2 GBh/day per namespace") == Budget("idle", 2.0, "namespace")
    assert platform_budget("host <= 4 GB") == Budget("host", 4.0, "host")
    assert platform_budget(" ") is None


@pytest.mark.parametrize("parse", [workload_budget, namespace_budget])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("host <= 4 GB", "no say over a host's memory"),
        ("p_cold <= 1% per workload", "leave out 'per"),
        ("p_cold <= 1%per workload", "leave out 'per"),
        ("idle <= 1 GBh per  namespace ", "leave out 'per"),
        ("cold <= 1%", "was expected"),
        ("", "was expected"),
    ],
)
def test_what_makes_no_sense_there_is_refused_in_words(parse: object, text: str, says: str) -> None:
    assert callable(parse)
    with pytest.raises(Invalid, match=says):
        parse(text)
