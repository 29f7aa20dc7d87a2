"""Memory of 50 idle instances that have scikit-learn imported, against 50 processes: the sum of PSS."""

import subprocess

from benchmarks.contestants.isotherm import Isotherm, isotherm, package
from benchmarks.contestants.peers import peers as peers_folder
from benchmarks.contestants.process import wait_for
from benchmarks.environments import environment_python
from benchmarks.machine import descendants, private_megabytes, proportional_megabytes
from benchmarks.result import Bar, Check, Figure
from benchmarks.session import Outcome, Session

__all__ = ["measure"]

START_TIMEOUT_S = 120.0


def measure(session: Session) -> Outcome:
    count = session.choose(50, 10)
    ours, own, processes = _instances(session, count)
    session.say(f"{count} instances: {ours:.0f} MB in all, {own:.0f} MB of it their own, in {processes} processes")
    theirs = _plain(count)
    session.say(f"{count} plain processes: {theirs:.0f} MB")
    share = ours / theirs
    return Outcome(
        settings={"instances": count},
        checks=[
            Check(
                f"memory of {count} idle scikit-learn instances to {count} processes", "≤", 0.125, "x", round(share, 4)
            )
        ],
        figures=[
            Figure(
                f"{count} idle with scikit-learn: sum of PSS",
                "MB",
                [
                    Bar("instances, template and keeper", ours, ours, ours),
                    Bar("plain processes", theirs, theirs, theirs),
                ],
                target=theirs / 8,
            )
        ],
        measurements={"instances_mb": ours, "private_mb": own, "processes": processes, "plain_mb": theirs},
        notes=[
            "instances: every process that the deploy added below the warden: keeper, template, parked spare, instances"
        ],
    )


def _instances(session: Session, count: int) -> tuple[float, float, int]:
    with isotherm(session.folder / "isotherm") as platform:
        before = set(descendants(platform.pid))
        digest = platform.upload(package("sklearn"))
        platform.deploy("idle", digest, warm={"min_instances": count + 1, "max_instances": count + 1})
        wait_for(f"{count} instances", lambda: _all_there(platform, count), START_TIMEOUT_S)
        platform.invoke("idle", {})
        added = sorted(set(descendants(platform.pid)) - before)
        return proportional_megabytes(added), private_megabytes(added), len(added)


def _all_there(platform: Isotherm, count: int) -> bool:
    return platform.instances("idle").get("warm", 0) >= count  # one more is parked as the spare


def _plain(count: int) -> float:
    python = environment_python("sklearn")
    command = [str(python), str(peers_folder / "idle_sklearn.py")]
    running = []
    try:
        for _ in range(count):
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            running.append(process)
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise RuntimeError("a plain process with scikit-learn did not come up")
        return proportional_megabytes([process.pid for process in running])
    finally:
        for process in running:
            process.communicate(b"\n", timeout=30)
