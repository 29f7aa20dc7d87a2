"""Whether calls are slower where the policy decides: two platforms at once, in turns of a second, over whole minutes.

One leaves everything to keep-alives, the other decides each minute what is warm. On both, one busy function is called
one call after the other, while many others are called now and then: they go, are made ready ahead, and start cold.
"""

import multiprocessing
import random
import time
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from itertools import cycle

from benchmarks.calls import Wire
from benchmarks.contestants.isotherm import Isotherm, isotherm, package, setting
from benchmarks.contestants.peers import Target
from benchmarks.result import Check, Curve, Figure
from benchmarks.samples import Sample, percentile, ratio
from benchmarks.session import Outcome, Session

__all__ = ["measure"]

KEPT, DECIDED = "keep-alive", "policy"
OTHERS = 60
OTHERS_EVERY_S = 0.4  # one call of one of them, on each platform
KEEP_ALIVE_S = 60.0
TURN_S = 1.0  # so that neither has the worse moments: the policy's work comes at the same seconds of each minute
PAUSE_S = 0.002
PART_S = 60.0  # a repeat; minutes of the policy are as long
WARM_CALLS = 200
LEARN_S = 130.0  # before it is measured: some minutes of which the policy knows
PERCENTS = (50, 95, 99)
Times = dict[str, list[float]]  # platform → ms


def measure(session: Session) -> Outcome:
    parts = session.choose(5, 1)
    with ExitStack() as stack:
        platforms = {
            KEPT: _platform(session, KEPT, "keep_alive", stack),
            DECIDED: _platform(session, DECIDED, "foresight", stack),
        }
        for platform in platforms.values():
            _deploy(platform)
        # In a process of its own: a thread here would hold up the clock by the interpreter's lock.
        pool = stack.enter_context(ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")))
        learn_s = session.choose(int(LEARN_S), 20)
        others = {name: [one.by_invoke(_other(n), name) for n in range(OTHERS)] for name, one in platforms.items()}
        background = pool.submit(_call_others, others, learn_s + parts * PART_S + 10)
        wires = {name: Wire(one.by_invoke("busy", name)) for name, one in platforms.items()}
        for wire in wires.values():
            for _ in range(WARM_CALLS):
                wire.call({})
        _in_turns(wires, learn_s, background)
        busy = [_in_turns(wires, PART_S, background) for _ in range(parts)]
        for wire in wires.values():
            wire.close()
        rare = background.result()
    checks = [_check(percent, busy) for percent in PERCENTS]
    for percent in PERCENTS:
        a, b = (percentile(rare[name], percent) for name in (KEPT, DECIDED))
        what = f"calls of {OTHERS} functions called now and then, policy to keep-alives: p{percent}"
        checks.append(Check(what, "≤", 1.1, "x", round(b / a, 3), f"{b:.2f} to {a:.2f} ms", promised=False))
    return Outcome(
        settings={
            "repeats": parts,
            "seconds": PART_S,
            "turn": TURN_S,
            "others": OTHERS,
            "a call of one of them every": OTHERS_EVERY_S,
            "keep-alive": KEEP_ALIVE_S,
        },
        checks=checks,
        figures=[
            Figure(
                "Calls of a busy function: share within",
                "ms",
                distributions=[Curve(name, [x for part in busy for x in part[name]]) for name in (KEPT, DECIDED)],
            ),
            Figure(
                "Calls of functions called now and then, cold ones included: share within",
                "ms",
                distributions=[Curve(name, rare[name]) for name in (KEPT, DECIDED)],
            ),
        ],
        measurements={"busy_ms": busy, "others_ms": rare},
        notes=["minutes are minutes here, as in production: the policy decides once in 60 s"],
    )


def _platform(session: Session, name: str, decides: str, stack: ExitStack) -> Isotherm:
    with setting("ISOTHERM_WARMING", decides):
        return stack.enter_context(isotherm(session.folder / name))


def _other(number: int) -> str:
    return f"other-{number}"


def _deploy(platform: Isotherm) -> None:
    digest = platform.upload(package("echo"))
    for name in ("busy", *(_other(number) for number in range(OTHERS))):
        platform.deploy(name, digest, warm={"keep_alive_s": KEEP_ALIVE_S})


def _check(percent: int, parts: list[Times]) -> Check:
    ours, theirs = (Sample(tuple(percentile(part[name], percent) for part in parts)) for name in (DECIDED, KEPT))
    by_part = ratio(ours, theirs)
    spread = f"{by_part.low:.3f} to {by_part.high:.3f}; {ours.median:.3f} to {theirs.median:.3f} ms"
    what = f"warm calls, policy to keep-alives: p{percent}"
    return Check(what, "≤", 1.05, "x", round(by_part.median, 3), spread)


def _in_turns(wires: dict[str, Wire], seconds: float, background: "Future[Times]") -> Times:
    """Calls of the busy function, now on one platform, now on the other."""
    took_ms: Times = {name: [] for name in wires}
    until = time.perf_counter() + seconds
    for name, wire in cycle(wires.items()):
        turn_ends = time.perf_counter() + TURN_S
        if turn_ends > until:
            return took_ms
        while time.perf_counter() < turn_ends:
            took_ms[name].append(round(wire.call({})[0], 4))
            time.sleep(PAUSE_S)
        if background.done():
            background.result()  # it should not have ended: raises what it failed with
    raise AssertionError


def _call_others(targets: dict[str, list[Target]], seconds: float) -> Times:
    """The same functions at the same moments on each platform; first on the one, then on the other."""
    chance = random.Random(5)
    took_ms: Times = {name: [] for name in targets}
    weights = [1 / (number + 1) for number in range(OTHERS)]
    until = time.perf_counter() + seconds
    order = list(targets)
    while time.perf_counter() < until:
        [number] = chance.choices(range(OTHERS), weights)
        for name in order:
            wire = Wire(targets[name][number])  # anew: one that is idle for long is closed by the platform
            took_ms[name].append(round(wire.call({})[0], 4))
            wire.close()
        order.reverse()
        time.sleep(chance.expovariate(1 / OTHERS_EVERY_S))
    return took_ms
