"""The running platform as a replay sees it: REST for what it deploys and reads back, `/metrics` for what is held."""

import asyncio
import io
import re
import zipfile
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import httpx
import msgspec

from isotherm.base.errors import Forbidden, IsothermError, NotFound, Unavailable, error_from_problem

__all__ = ["ColdRecord", "Platform", "QueueRow", "Sample", "WarmthSeen", "read_metrics", "stand_in_package"]

TIMEOUT_S = 120.0
PAGE = 500
CALLS_PAGE = 1000
TRIES = 8
LONGEST_PAUSE_S = 5.0
_series = re.compile(rb"^isotherm_(instances|memory_bytes|cold_starts_total)\{([^}]*)\} ([0-9.eE+]+)", re.MULTILINE)
_label = re.compile(rb'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class ColdRecord:
    """What the platform recorded of a cold call."""

    id: str  # as the call's answer had it
    function: str
    cause: str
    started_at_ms: int
    start_ms: float
    total_ms: float


@dataclass(frozen=True)
class QueueRow:
    """What the platform says of an asynchronous call."""

    state: str  # queued, running, succeeded, dead, redriven
    accepted_at_ms: int
    finished_at_ms: int | None
    attempts: int  # that failed by the function's fault
    error_code: str | None


@dataclass(frozen=True)
class WarmthSeen:
    """What the platform says of its warming policy; nothing to a key that may not know."""

    decides: str = ""  # foresight or keep_alive
    why: str = ""
    planned: bool = False
    minute_s: float | None = None
    budget: str | None = None  # "platform: idle <= 2 GBh/day"

    @property
    def own_budget(self) -> str:
        """As the setting has it; empty: as keep-alives would spend."""
        whose, _, text = (self.budget or "").partition(": ")
        return "" if whose != "platform" or "keep-alives" in text else text


@dataclass(frozen=True)
class Sample:
    """What the platform held at one moment, and had counted until then, by function."""

    at_s: float
    instances: dict[str, dict[str, int]] = field(default_factory=dict)  # function → temperature → number
    memory_bytes: dict[str, int] = field(default_factory=dict)
    cold_starts: dict[str, dict[str, int]] = field(default_factory=dict)  # function → cause → number so far


def stand_in_package() -> bytes:
    """The zip that every row's function is deployed with. The same bytes each time, so that it is unpacked once."""
    source = resources.files("isotherm.replay.standin").joinpath("app.py").read_bytes()
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo("app.py", date_time=(2020, 1, 1, 0, 0, 0))
        entry.external_attr = 0o644 << 16
        archive.writestr(entry, source)
    return output.getvalue()


def read_metrics(text: bytes, at_s: float, functions: set[str]) -> Sample:
    """What a Prometheus exposition says of `functions`."""
    sample = Sample(at_s)
    for name, labels, value in _series.findall(text):
        found = {key: label.decode() for key, label in _label.findall(labels)}
        function = found.get(b"function", "")
        if function not in functions:
            continue
        count = int(float(value))
        if name == b"memory_bytes":
            sample.memory_bytes[function] = sample.memory_bytes.get(function, 0) + count
        elif name == b"instances":
            sample.instances.setdefault(function, {})[found.get(b"temperature", "")] = count
        else:
            sample.cold_starts.setdefault(function, {})[found.get(b"cause", "")] = count
    return sample


class Platform:
    """A thin client of `/api/v1`. Raises what the platform answers as the error it stands for."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self.key = key
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=32),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def home_namespace(self) -> str:
        return str((await self._json("GET", "/api/v1/me"))["home_namespace"])

    async def answers(self) -> None:
        """Ask control something, once. Raises `Unavailable` where it does not answer."""
        try:
            answer = await self._http.get("/api/v1/me")
        except httpx.TransportError as exc:
            raise Unavailable(f"GET {self.url}/api/v1/me: {exc!r}") from exc
        if answer.is_server_error:
            raise _error(answer)

    async def version(self) -> str:
        """Of the platform; empty for a key that may not know."""
        try:
            return str((await self._json("GET", "/api/v1/status"))["version"])
        except (Forbidden, NotFound):
            return ""

    async def warmth(self) -> WarmthSeen:
        try:
            found = await self._json("GET", "/api/v1/warmth")
        except (Forbidden, NotFound):
            return WarmthSeen()
        return WarmthSeen(
            decides=str(found.get("policy") or ""),
            why=str(found.get("why") or ""),
            planned=found.get("at_ms") is not None,
            minute_s=found.get("minute_s"),
            budget=found.get("budget"),
        )

    async def upload(self, namespace: str, package: bytes) -> str:
        """The digest of the uploaded package."""
        path = f"/api/v1/namespaces/{namespace}/packages"
        answer = await self._json("POST", path, content=package, headers={"Content-Type": "application/zip"})
        return str(answer["digest"])

    async def deploy(self, namespace: str, name: str, config: dict[str, Any]) -> int:
        """Deploy and wait until the revision is ready; its number. Raises its problem where it is not to be."""
        path = f"/api/v1/namespaces/{namespace}/functions/{name}"
        outcome = revision = await self._json("PUT", path, json=config)
        if revision["state"] == "building":
            outcome = await self._outcome(f"{path}/revisions/{revision['number']}/progress")
        if outcome["state"] == "failed":
            raise error_from_problem(outcome.get("problem") or {})
        return int(revision["number"])

    async def _outcome(self, path: str) -> dict[str, Any]:
        """The last line of a deploy's progress: it comes once the host serves the new route."""
        last = b""
        try:
            async with asyncio.timeout(TIMEOUT_S), self._http.stream("GET", path) as steps:
                async for line in steps.aiter_lines():
                    last = line.encode() or last
            outcome: dict[str, Any] = msgspec.json.decode(last)
        except (TimeoutError, httpx.TransportError, msgspec.DecodeError) as exc:
            raise Unavailable(f"{path}: how the deploy ended is not known: {exc!r}") from exc
        if not outcome.get("done"):
            raise Unavailable(f"{path}: the stream ended before the deploy did")
        return outcome

    async def remove(self, namespace: str, name: str) -> None:
        await self._json("DELETE", f"/api/v1/namespaces/{namespace}/functions/{name}")

    async def newest_rollout(self, namespace: str, name: str) -> dict[str, Any] | None:
        """As the REST API shows it; None where there is none."""
        path = f"/api/v1/namespaces/{namespace}/functions/{name}/rollouts"
        items = (await self._json("GET", path, params={"limit": "1"}))["items"]
        return items[0] if items else None

    async def open_calls(self, namespace: str, functions: set[str]) -> int:
        """Asynchronous calls that wait or run."""
        queues = (await self._json("GET", f"/api/v1/namespaces/{namespace}/queues"))["queues"]
        return sum(queue["queued"] + queue["running"] for queue in queues if queue["name"] in functions)

    async def queue_rows(self, namespace: str, ids: set[str], since_ms: int) -> dict[str, QueueRow]:
        """What became of these asynchronous calls, accepted from `since_ms` on; those not known are left out."""
        found: dict[str, QueueRow] = {}
        cursor: str | None = None
        while len(found) < len(ids):
            parameters = {"limit": str(CALLS_PAGE)} | ({"cursor": cursor} if cursor else {})
            page = await self._json("GET", f"/api/v1/namespaces/{namespace}/calls", params=parameters)
            for one in page["items"]:
                if one["id"] in ids:
                    finished, code = one.get("finished_at_ms"), one.get("error_code")
                    found[one["id"]] = QueueRow(one["state"], one["accepted_at_ms"], finished, one["attempts"], code)
            cursor = page["next_cursor"]
            if not cursor or page["items"][-1]["accepted_at_ms"] < since_ms:
                break
        return found

    async def cold_records(self, namespace: str, functions: set[str], since_ms: int) -> list[ColdRecord]:
        """The records of cold calls to `functions` from `since_ms` on, newest first as the platform lists them."""
        found: list[ColdRecord] = []
        cursor: str | None = None
        while True:
            parameters = {"limit": str(PAGE)} | ({"cursor": cursor} if cursor else {})
            path = f"/api/v1/namespaces/{namespace}/invocations"
            page = await self._json("GET", path, params=parameters)
            items = page["items"]
            found += [
                ColdRecord(
                    one["id"], one["name"], one["cold_cause"], one["started_at_ms"], one["start_ms"], one["total_ms"]
                )
                for one in items
                if one["cold_cause"] and one["name"] in functions and one["started_at_ms"] >= since_ms
            ]
            cursor = page["next_cursor"]
            if not cursor or (items and items[-1]["started_at_ms"] < since_ms):
                return found

    async def metrics(self) -> bytes:
        try:
            answer = await self._http.get("/metrics")
        except httpx.TransportError as exc:
            raise Unavailable(f"GET {self.url}/metrics: {exc!r}") from exc
        if answer.status_code != httpx.codes.OK:
            raise Unavailable(f"{self.url}/metrics answered {answer.status_code}")
        return answer.content

    async def _json(self, method: str, path: str, **arguments: Any) -> Any:
        """One call; where the platform says that it is too fast or away, again after a pause, a few times."""
        for attempt in range(TRIES):
            try:
                answer = await self._http.request(method, path, **arguments)
            except httpx.TransportError as exc:
                raise Unavailable(f"{method} {self.url}{path}: {exc!r}; is the platform up there?") from exc
            if answer.status_code not in (429, 503) or attempt == TRIES - 1:
                break
            await asyncio.sleep(_pause_s(answer, attempt))
        if answer.is_success:
            return answer.json() if answer.content else None
        raise _error(answer)


def _pause_s(answer: httpx.Response, attempt: int) -> float:
    told = answer.headers.get("Retry-After", "")
    return min(LONGEST_PAUSE_S, float(told) if told.isdecimal() else 0.1 * 2.0**attempt)


def _error(answer: httpx.Response) -> IsothermError:
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if isinstance(problem, dict):
        return error_from_problem(problem)
    return Unavailable(f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}")
