"""When a request is sent again: only where it cannot be done twice by that, ever later, and within a budget."""

from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import IsothermError, TooManyRequests, Unavailable, all_errors
from isotherm.client.policy import LONGEST_PAUSE_S, Attempts
from isotherm.client.request import Request

READ = Request(method="GET", path="/", repeatable=True)
CALL = Request(method="POST", path="/")
chances = st.floats(0, 1)


@given(chances, st.lists(chances, min_size=8, max_size=8))
def test_pauses_grow_up_to_a_limit_and_half_of_each_is_chance(first: float, rest: list[float]) -> None:
    attempts = Attempts(READ, 1e9)
    pauses = [attempts.pause_s(Unavailable("away"), 0.0, chance) for chance in [first, *rest]]
    for number, pause in enumerate(pauses):
        doubled = min(0.1 * 2**number, LONGEST_PAUSE_S)
        assert pause is not None
        assert doubled / 2 <= pause <= doubled


@given(st.floats(0, 100), chances)
def test_no_pause_is_shorter_than_the_platform_asks_for(asked_s: float, chance: float) -> None:
    pause = Attempts(CALL, 1e9).pause_s(TooManyRequests("slow", retry_after_s=asked_s), 0.0, chance)
    assert pause is not None
    assert pause >= asked_s


@given(st.floats(0, 20), st.floats(0, 20), chances)
def test_the_last_attempt_is_within_the_budget(budget_s: float, elapsed_s: float, chance: float) -> None:
    pause = Attempts(READ, budget_s).pause_s(Unavailable("away"), elapsed_s, chance)
    assert pause is None or elapsed_s + pause <= budget_s


def test_only_what_passes_is_waited_for() -> None:
    waited = {
        code for code, kind in all_errors().items() if Attempts(READ, 1e9).pause_s(kind("so"), 0.0, 0.5) is not None
    }
    assert waited == {"unavailable", "too_many_requests"}


def test_what_may_have_begun_is_repeated_only_where_it_may_be() -> None:
    def repeated(request: Request, error: IsothermError) -> bool:
        return Attempts(request, 1e9).pause_s(error, 0.0, 0.5) is not None

    assert repeated(READ, Unavailable("away"))
    assert not repeated(CALL, Unavailable("away"))
    assert not repeated(CALL, Unavailable("away", begun=True))
    assert repeated(CALL, Unavailable("away", begun=False))
    assert repeated(CALL, TooManyRequests("slow"))


def test_it_is_known_whether_an_attempt_may_have_been_done() -> None:
    attempts = Attempts(READ, 1e9)
    attempts.pause_s(TooManyRequests("slow"), 0.0, 0.5)
    assert not attempts.maybe_done
    attempts.pause_s(Unavailable("away"), 0.0, 0.5)
    assert attempts.maybe_done
