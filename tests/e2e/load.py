"""Constant load on one function from a few threads, counting every answer that is not as expected."""

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any

import httpx

from tests.e2e.conftest import Platform


class Load:
    """Use as a context: calls go on until it is left. `answers` counts bodies, `failures` has all that went wrong."""

    def __init__(self, platform: Platform, name: str, threads: int = 4, pause_s: float = 0.002) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._platform, self._name, self._pause_s = platform, name, pause_s
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(70)

    def wait_for_more(self, count: int, deadline_s: float = 30.0) -> None:
        """Until that many more calls were answered."""
        goal = self.total() + count
        deadline = time.monotonic() + deadline_s
        while self.total() < goal:
            assert time.monotonic() < deadline, f"no answers under load; failures: {self.failures[:5]}"
            time.sleep(0.01)

    def total(self) -> int:
        with self._lock:
            return sum(self.answers.values())

    def _run(self) -> None:
        with self._platform.http() as http:
            while not self._ended.is_set():
                self._call(http)
                time.sleep(self._pause_s)

    def _call(self, http: httpx.Client) -> None:
        answer: Any
        try:
            answer = http.post(f"/2015-03-31/functions/{self._name}/invocations", json={})
        except httpx.HTTPError as exc:
            with self._lock:
                self.failures.append(repr(exc))
            return
        with self._lock:
            if answer.status_code == 200 and "X-Amz-Function-Error" not in answer.headers:
                self.answers[answer.text] += 1
            else:
                self.failures.append(f"{answer.status_code} {answer.text[:300]}")
