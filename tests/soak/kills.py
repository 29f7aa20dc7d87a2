"""`kill -9` at random points under load, and then an account of everything that was acknowledged.

    python -m tests.soak.kills [--rounds 200] [--seed N] [--json FILE]

Each round kills one process (host, control, warden) or all of them, after a random time. Meanwhile calls are accepted
asynchronously, functions are called and deployed. At the end every acknowledged call has succeeded or is a dead letter
that never ran again, every acknowledged deploy is there, and the projections are what the log makes of them.
"""

import argparse
import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.conftest import Platform, wait_until

__all__ = ["Account", "Kills"]

WORK = """
def handler(event, context):
    print("run")
    if event["fail"]:
        raise ValueError("as asked")
    return event["n"]
"""
CHECKS = {"projections disagree with the log": ("rebuild", "--check"), "the chain of events is broken": ("verify",)}
TARGETS = ("host", "control", "warden", "all")
LONGEST_S = 0.6  # from one round to its kill
SETTLE_S = 120.0
LOOKED_INTO = 100
FAILING = 10  # each so-manieth call is one that fails for good
SKEW_MS = 50  # the host's clock is read after the handler's line was written
ROUND_DEPLOYS = 5  # a deploy in each so-manieth round


@dataclass
class Account:
    """What was promised to clients, and what came of it."""

    rounds: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    accepted: int = 0
    refused: int = 0
    calls: int = 0
    deploys: int = 0
    succeeded: int = 0
    dead: int = 0
    slowest_return_s: float = 0.0
    problems: list[str] = field(default_factory=list)


class Kills:
    """One run in `folder`. `run` is called once."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.account = Account()
        self._folder = folder
        self._random = random.Random(seed)
        self._platform = Platform(folder)
        self._accepted: dict[str, tuple[int, bool]] = {}  # by id: the number, and whether it fails
        self._deployed: dict[int, str] = {}
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._numbers = iter(range(1 << 30))

    def run(self, rounds: int) -> Account:
        self._platform.function(
            "job", WORK, asynchronous={"retries": 0, "concurrency": 4}, warm={"max_instances": 4}, memory_mb=64
        )
        threads = [threading.Thread(target=each, daemon=True) for each in (self._events, self._events, self._calls)]
        for thread in threads:
            thread.start()
        try:
            for number in range(rounds):
                self._round(number)
        finally:
            self._ended.set()
            for thread in threads:
                thread.join(60)
        self._settle()
        self._check_calls()
        self._check_deploys()
        self._platform.stop()
        self._check_projections()
        return self.account

    def close(self) -> None:
        self._ended.set()
        self._platform.stop(signal.SIGKILL)

    # -- load ----------------------------------------------------------------------------------------------------------

    def _events(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(httpx.HTTPError), self._platform.http() as http:
                while not self._ended.is_set():
                    self._send(http)
                    time.sleep(0.004)
            time.sleep(0.02)

    def _send(self, http: httpx.Client) -> None:
        with self._lock:
            number = next(self._numbers)
        fail = number % FAILING == 0
        answer = http.post(
            "/2015-03-31/functions/job/invocations",
            json={"n": number, "fail": fail},
            headers={"X-Amz-Invocation-Type": "Event"},
        )
        with self._lock:
            if answer.status_code == httpx.codes.ACCEPTED:
                self._accepted[answer.headers["x-amzn-requestid"]] = (number, fail)
                self.account.accepted += 1
            else:
                self.account.refused += 1

    def _calls(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(httpx.HTTPError), self._platform.http() as http:
                while not self._ended.is_set():
                    http.post("/2015-03-31/functions/job/invocations", json={"n": -1, "fail": False})
                    self.account.calls += 1
                    time.sleep(0.01)
            time.sleep(0.02)

    # -- rounds --------------------------------------------------------------------------------------------------------

    def _round(self, number: int) -> None:
        if number % ROUND_DEPLOYS == 0:
            self._deploy(number)
        time.sleep(self._random.uniform(0.0, LONGEST_S))
        target = self._random.choice(TARGETS)
        self.account.kills[target] = self.account.kills.get(target, 0) + 1
        self.account.rounds += 1
        began_s = time.monotonic()
        if target == "all":
            self._platform.cut_power()
            self._platform = Platform(self._folder)
        else:
            self._platform.kill(target)
        wait_until(self._serves, f"calls to be served after {target} was killed", 30.0)
        self.account.slowest_return_s = max(self.account.slowest_return_s, time.monotonic() - began_s)

    def _serves(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            answer = self._platform.invoke("job", {"n": -2, "fail": False})
            return answer.status_code == httpx.codes.OK and answer.text == "-2"
        return False

    def _deploy(self, number: int) -> None:
        """Acknowledged once the command says so."""
        folder = self._folder / "code" / "other"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "app.py").write_text(f"def handler(event, context):\n    return {number}\n")
        (folder / "isotherm.toml").write_text('name = "other"\nmemory_mb = 64\n')
        ran = self._platform.cli("deploy", str(folder), "--json")
        if ran.code == 0:
            self._deployed[ran.json["number"]] = str(number)
            self.account.deploys += 1

    # -- the account ---------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        def empty() -> bool:
            ran = self._platform.cli("queue", "ls", "--json")
            return ran.code == 0 and not any(queue["queued"] or queue["running"] for queue in ran.json["queues"])

        wait_until(empty, "the queue to be empty", SETTLE_S)

    def _check_calls(self) -> None:
        with self._platform.http() as http:
            runs, calls = self._last_runs(http), self._all_calls(http)
            for call_id, (_, fail) in self._accepted.items():
                call = calls.get(call_id)
                if call is None:
                    self._problem(f"call {call_id}, which was accepted, is lost")
                else:
                    self._check_call(call, fail, runs.get(call_id, 0))
            done = [one for one in self._accepted if calls.get(one, {}).get("state") == "succeeded"]
            for call_id in self._random.sample(done, min(LOOKED_INTO, len(done))):
                found = read(http, f"calls/{call_id}")
                if found["result"] != self._accepted[call_id][0]:
                    self._problem(f"call {call_id} has the result {found['result']!r}")

    def _all_calls(self, http: httpx.Client) -> dict[str, Any]:
        found: dict[str, Any] = {}
        cursor = None
        while True:
            parameters: dict[str, Any] = {"limit": 1000, "function": "job"} | ({"cursor": cursor} if cursor else {})
            page = read(http, "calls", **parameters)
            found |= {call["id"]: call for call in page["items"]}
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def _check_call(self, call: Any, fail: bool, last_run_ms: int) -> None:
        if call["state"] == "dead":
            self.account.dead += 1
            if last_run_ms > call["finished_at_ms"] + SKEW_MS:
                self._problem(f"call {call['id']} ran {last_run_ms - call['finished_at_ms']} ms after it was dead")
            if not fail and call["error_code"] != "instance_crashed":  # with the warden that was killed
                self._problem(f"call {call['id']} is dead: {call['condition']} {call['error_code']}")
        elif call["state"] == "succeeded":
            self.account.succeeded += 1
            if fail:
                self._problem(f"call {call['id']} succeeded though it fails")
        else:
            self._problem(f"call {call['id']} is {call['state']} though the queue is empty")

    def _last_runs(self, http: httpx.Client) -> dict[str, int]:
        """When each call wrote its last line, as far as its lines were shipped."""
        found: dict[str, int] = {}
        cursor = None
        while True:
            parameters: dict[str, Any] = {"limit": 1000, "since_ms": 0} | ({"cursor": cursor} if cursor else {})
            page = read(http, "functions/job/logs", **parameters)
            for line in page["items"]:
                if line["invocation_id"] and line["message"] == "run":
                    found[line["invocation_id"]] = max(found.get(line["invocation_id"], 0), line["at_ms"])
            if len(page["items"]) < 1000:
                return found
            cursor = page["next_cursor"]

    def _check_deploys(self) -> None:
        ran = self._platform.cli("versions", "other", "--limit", "1000", "--json")
        states = {revision["number"]: revision["state"] for revision in ran.json["items"]} if ran.code == 0 else {}
        for number in self._deployed:
            if states.get(number) != "ready":
                self._problem(f"revision {number}, which was deployed, is {states.get(number, 'lost')}")

    def _check_projections(self) -> None:
        """The platform has stopped: the commands read its folder."""
        for what, words in CHECKS.items():
            argv = [sys.executable, "-m", "isotherm", "audit", *words, "--data", str(self._folder / "data")]
            ran = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
            if ran.returncode:
                self._problem(f"{what}: {ran.stdout}{ran.stderr}")

    def _problem(self, text: str) -> None:
        self.account.problems.append(text)


def read(http: httpx.Client, path: str, **parameters: Any) -> Any:
    """What the API says of something in the namespace, as soon as its limit of rate lets us ask."""
    while True:
        answer = http.get(f"/api/v1/namespaces/default/{path}", params=parameters)
        if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
            return answer.raise_for_status().json()
        time.sleep(float(answer.headers.get("retry-after", "1")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="isotherm-kills-", dir="/tmp"))
    run = Kills(folder, options.seed)
    try:
        account = run.run(options.rounds)
    finally:
        run.close()
    report = {"seed": options.seed, **asdict(account)}
    print(json.dumps(report, indent=2))
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if not account.problems:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if account.problems else 0


if __name__ == "__main__":
    sys.exit(main())
