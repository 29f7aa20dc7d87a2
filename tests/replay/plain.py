"""The call-by-call simulation, the slow way: one unit, lists, no cleverness."""

from isotherm.warming.model import KEEP

__all__ = ["simulate_plainly"]


def simulate_plainly(  # noqa: C901 - in one piece, so that it can be read against the compiled one
    calls: list[tuple[float, float]],
    plane: list[int],
    keep_s: float | None,
    start_s: float,
    linger_s: float,
) -> dict[str, float]:
    """`calls`: (seconds, duration in seconds), in order."""
    idle: list[float] = []  # when each became idle
    running: list[float] = []  # when each ends
    told = {"cold": 0, "first": 0, "scale_out": 0, "prewarmed": 0, "idle_s": 0.0, "busy_s": 0.0}
    moments = [(minute * 60.0, 0, minute) for minute in range(len(plane))] if keep_s is None else []
    moments += [(at_s, 1, number) for number, (at_s, _) in enumerate(calls)]
    moments.append((len(plane) * 60.0, 2, 0))
    for at_s, kind, number in sorted(moments):
        for end in sorted(each for each in running if each <= at_s):
            running.remove(end)
            idle.append(end)
        if kind == 0:
            held = plane[number]
            if held == KEEP:
                continue
            wanted = max(0, held - len(running)) if held > 0 else 0
            for since in sorted(idle):
                if len(idle) > wanted and (held <= 0 or since + linger_s <= at_s):
                    idle.remove(since)
                    told["idle_s"] += at_s - since
            while len(idle) < wanted:
                idle.append(at_s)
                told["prewarmed"] += 1
                told["idle_s"] += start_s
            continue
        if keep_s is not None:
            for since in sorted(idle):
                if since + keep_s < at_s:
                    idle.remove(since)
                    told["idle_s"] += keep_s
        if kind == 2:
            told["idle_s"] += sum(at_s - since for since in idle)
            break
        waited = 0.0
        if idle:
            latest = max(idle)
            idle.remove(latest)
            told["idle_s"] += at_s - latest
        else:
            waited = start_s
            told["cold"] += 1
            told["first"] += number == 0
            told["scale_out"] += number > 0 and bool(running)
        running.append(at_s + waited + calls[number][1])
        told["busy_s"] += waited + calls[number][1]
    return told
