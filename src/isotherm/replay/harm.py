"""What kills and rollouts came to: which errors a kill excuses, how soon there was service again. Pure."""

from collections import Counter

import numpy as np
import numpy.typing as npt

from isotherm.replay.drive import Outcomes
from isotherm.replay.kills import Kill
from isotherm.replay.model import Way
from isotherm.replay.report import KillReport, RolloutReport
from isotherm.replay.rollouts import RolloutRun
from isotherm.replay.sketch import spread

__all__ = ["excuse", "kill_report", "rollout_report"]

NOTICED_S = 1.0  # within which the platform sees that an instance is gone; a call sent meanwhile may still go to it
AFTER_S = 5.0  # so long after a kill errors are told with it
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int32]
Excuses = npt.NDArray[np.int32]


def excuse(kills: list[Kill], outcomes: Outcomes, rows: Rows, names: list[str]) -> Excuses:
    """For each call the number, from 1, of the kill that excuses its error; 0 for none. `rows` is by call, `names` is
    the functions' by row.

    An instance has one call at a time, so that it excuses one at most, of its own function; one that was not called
    yet when it was looked at, of any function. Killing control excuses nothing. Each kill, in their order, excuses
    those in flight that ended first: so no call is left over that a later kill could not excuse.
    """
    given = np.zeros(len(outcomes.failed), dtype=np.int32)
    by_end = np.argsort(outcomes.done_s, kind="stable")
    for named in (True, False):
        for number, kill in enumerate(kills, 1):
            if kill.what != "instances":
                continue
            left = Counter(name for name in kill.functions if (name is not None) == named)
            in_flight = (outcomes.sent_s <= kill.until_s + NOTICED_S) & (outcomes.done_s >= kill.at_s)
            for index in by_end[(outcomes.crashed & in_flight & (given == 0))[by_end]].tolist():
                name = names[rows[index]] if named else None
                if left[name] > 0:
                    left[name] -= 1
                    given[index] = number
    return given


def kill_report(
    number: int, kill: Kill, outcomes: Outcomes, rows: Rows, names: list[str], excuses: Excuses
) -> KillReport:
    """`number` is the kill's in `excuses`."""
    near = (outcomes.sent_s <= kill.until_s + AFTER_S) & (outcomes.done_s >= kill.at_s)
    hit = Counter(name for name in kill.functions if name is not None)
    again = [_served_again_ms(rows == names.index(name), kill, outcomes) for name in hit]
    return KillReport(
        what=kill.what,
        at_s=round(kill.at_s or kill.due_s, 3),
        found=kill.found,
        killed=len(kill.functions) if kill.what == "instances" else int(kill.until_s > 0 and kill.found > 0),
        unnamed=kill.functions.count(None),
        functions=dict(hit.most_common()),
        excused=int((excuses == number).sum()),
        not_excused=int((outcomes.failed & (excuses == 0) & near).sum()),
        failed=_by_status(outcomes, outcomes.failed & ((excuses == number) | ((excuses == 0) & near))),
        back_s=None if kill.back_s is None else round(kill.back_s, 3),
        served_again_ms=spread(np.array([ms for ms in again if ms is not None and ms >= 0])),
        not_called_again=sum(ms is None for ms in again),
        not_served_again=sum(ms is not None and ms < 0 for ms in again),
        problem=kill.problem,
    )


def _by_status(outcomes: Outcomes, these: Bools) -> dict[str, int]:
    pairs = zip(outcomes.way[these].tolist(), outcomes.status[these].tolist(), strict=True)
    return dict(Counter(f"{Way(way).name.lower()} {status}" for way, status in pairs).most_common())


def _served_again_ms(mine: Bools, kill: Kill, outcomes: Outcomes) -> float | None:
    """Of a function whose calls are `mine`. None where it was not called again; negative where no call was answered
    well."""
    after = mine & (outcomes.sent_s > kill.until_s)
    if not after.any():
        return None
    good = after & ~outcomes.failed
    if not good.any():
        return -1.0
    return float(outcomes.done_s[good].min() - outcomes.sent_s[after].min()) * 1000


def rollout_report(run: RolloutRun, outcomes: Outcomes, mine: Bools, excused: Bools) -> RolloutReport:
    """`mine`: the calls of its function."""
    end_s = np.inf if run.ended_s is None else run.ended_s
    during = mine & (outcomes.done_s >= run.began_s) & (outcomes.sent_s <= end_s)
    versions = Counter(outcomes.version[during & (outcomes.version > 0)].tolist())
    return RolloutReport(
        function=run.function,
        strategy=run.strategy,
        revision=run.revision,
        state=run.state,
        step=run.step,
        rule=run.rule,
        problem=run.problem,
        began_s=round(run.began_s, 3),
        deploy_s=None if run.ready_s is None else round(run.ready_s - run.began_s, 3),
        open_s=None if run.ended_s is None or run.ready_s is None else round(run.ended_s - run.ready_s, 3),
        requests=int(during.sum()),
        by_revision={str(version): count for version, count in sorted(versions.items())},
        errors=int((during & outcomes.failed & ~excused).sum()),
        excused=int((during & excused).sum()),
    )
