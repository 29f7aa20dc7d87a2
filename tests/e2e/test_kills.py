"""Twenty rounds of `kill -9` at random points under load; `make soak` has two hundred."""

import time
from pathlib import Path

import pytest

from tests.soak.kills import Kills

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.slow]
ROUNDS = 20


def test_nothing_that_was_acknowledged_is_lost(can_isolate: None, data_dir: Path) -> None:
    seed = int(time.time())
    run = Kills(data_dir, seed)
    try:
        account = run.run(ROUNDS)
    finally:
        run.close()
    assert account.problems == [], f"seed {seed}"
    assert account.rounds == ROUNDS
    assert account.accepted > 10 * ROUNDS
    assert account.dead > 0
    assert account.succeeded + account.dead == account.accepted
