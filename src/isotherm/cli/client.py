"""The platform over HTTP: typed, with a time limit on every wait. Failures are errors of `base.errors`."""

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Literal, TypeVar, overload
from urllib.parse import quote

import httpx
import msgspec

from isotherm.base.errors import IsothermError, Unavailable, error_from_problem
from isotherm.cli.profiles import Profile
from isotherm.cli.sessions import LoginAuth
from isotherm.cli.views import (
    Alias,
    CallDetail,
    Function,
    Key,
    LogLine,
    Me,
    Namespace,
    Package,
    Page,
    Progress,
    Pruned,
    QueuedCall,
    QueueOverview,
    Quota,
    Revision,
    Rollout,
    Secret,
    Trigger,
    Weight,
)
from isotherm.wire.eventstream import Event, decode_events

__all__ = ["Answer", "Client", "InvocationType"]

CONNECT_S = 5.0
READ_S = 30.0
UPLOAD_S = 300.0
VERIFY_S = 600.0  # some ten seconds for a million events
CALL_S = 960.0  # a call may run 900 s and wait in a queue before
AWAY_S = 10.0  # control restarts within two seconds
AWAY_PAUSE_S = 0.3
T = TypeVar("T")
InvocationType = Literal["RequestResponse", "Event", "DryRun"]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What an Invoke came to. `error` is Lambda's `X-Amz-Function-Error`, None where the handler returned."""

    status: int
    payload: bytes
    version: str
    error: str | None
    request_id: str
    timing: str
    log: str | None


class Client:
    """One platform, one key, one namespace. Close it, or use it as a context."""

    def __init__(self, profile: Profile, *, verify: bool = True) -> None:
        """`verify` False: do not check the certificate. Only for a port of our own, as `up` has."""
        self.profile = profile
        self._http = httpx.Client(
            base_url=profile.url,
            headers={"User-Agent": f"isotherm/{version('isotherm')}"}
            | ({"Authorization": f"Bearer {profile.key}"} if profile.login is None else {}),
            auth=None if profile.login is None else LoginAuth(profile),
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
            verify=verify,
            trust_env=not profile.url.startswith(("http://127.0.0.1", "http://localhost", "http://[::1]")),
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    # Calls

    def invoke(
        self,
        name: str,
        payload: bytes,
        *,
        qualifier: str | None = None,
        tail: bool = False,
        kind: InvocationType = "RequestResponse",
    ) -> Answer:
        """Call a function and wait, unless `kind` says otherwise. `payload` is the event as JSON.

        Raises what the platform refused it with.
        """
        headers = {"Content-Type": "application/json"}
        headers["X-Amz-Invocation-Type"] = kind
        if tail:
            headers["X-Amz-Log-Type"] = "Tail"
        response = self._send(
            "POST",
            f"/2015-03-31/functions/{self._scoped(name)}/invocations",
            content=payload,
            headers=headers,
            params={"Qualifier": qualifier} if qualifier else {},
            timeout=httpx.Timeout(CALL_S, connect=CONNECT_S),
        )
        log = response.headers.get("X-Amz-Log-Result")
        return Answer(
            status=response.status_code,
            payload=response.content,
            version=response.headers.get("X-Amz-Executed-Version", ""),
            error=response.headers.get("X-Amz-Function-Error"),
            request_id=response.headers.get("X-Amzn-RequestId", ""),
            timing=response.headers.get("Server-Timing", ""),
            log=base64.b64decode(log).decode("utf-8", "replace") if log else None,
        )

    def invoke_stream(
        self, name: str, payload: bytes, *, qualifier: str | None = None, tail: bool = False
    ) -> Iterator[Event]:
        """Call a function; the events of its answer as they come. Raises what the platform refused it with."""
        headers = {"Content-Type": "application/json"} | ({"X-Amz-Log-Type": "Tail"} if tail else {})
        path = f"/2021-11-15/functions/{self._scoped(name)}/response-streaming-invocations"
        params = {"Qualifier": qualifier} if qualifier else {}
        timeout = httpx.Timeout(CALL_S, connect=CONNECT_S)
        request = self._http.stream("POST", path, content=payload, headers=headers, params=params, timeout=timeout)
        with self._translated(), request as response:
            if response.is_error:
                response.read()
                raise _refusal(response)
            yield from decode_events(response.iter_raw())

    # Functions

    def upload(self, content: bytes) -> Package:
        path = f"{self._namespace()}/packages"
        headers = {"Content-Type": "application/zip"}
        timeout = httpx.Timeout(UPLOAD_S, connect=CONNECT_S)
        return self._decode(self._send("POST", path, content=content, headers=headers, timeout=timeout), Package)

    def deploy(self, name: str, config: dict[str, Any], *, abort_rollout: bool = False) -> Revision:
        params = {"abort_rollout": "true"} if abort_rollout else {}
        return self._decode(self._send("PUT", self._function(name), json=config, params=params), Revision)

    def progress(self, name: str, number: int, limit_s: float) -> Iterator[Progress]:
        """The steps of a deploy as they happen; the last has `done`. `limit_s` bounds the wait for each line."""
        path = f"{self._function(name)}/revisions/{number}/progress"
        yield from self._lines(path, {}, Progress, limit_s)

    def functions(self, limit: int) -> list[Function]:
        return self._pages(f"{self._namespace()}/functions", Function, limit)

    def function(self, name: str) -> Function:
        return self._decode(self._send("GET", self._function(name)), Function)

    def delete_function(self, name: str) -> None:
        self._send("DELETE", self._function(name))

    def revisions(self, name: str, limit: int) -> list[Revision]:
        return self._pages(f"{self._function(name)}/revisions", Revision, limit)

    def revision(self, name: str, number: int) -> Revision:
        return self._decode(self._send("GET", f"{self._function(name)}/revisions/{number}"), Revision)

    def prune_revisions(self, name: str, keep: int | None, *, dry_run: bool) -> Pruned:
        body = _given(keep=keep, dry_run=dry_run)
        return self._decode(self._send("POST", f"{self._function(name)}/prune", json=body), Pruned)

    def rollback(self, name: str, to: int | None) -> Alias:
        return self._decode(self._send("POST", f"{self._function(name)}/rollback", json={"to": to}), Alias)

    def triggers(self, name: str) -> list[Trigger]:
        return self._decode(self._send("GET", f"{self._function(name)}/triggers"), list[Trigger])

    def aliases(self, name: str) -> list[Alias]:
        return self._pages(f"{self._function(name)}/aliases", Alias, 1000)

    def alias(self, name: str, alias: str) -> Alias:
        return self._decode(self._send("GET", self._alias(name, alias)), Alias)

    def set_alias(self, name: str, alias: str, weights: list[Weight]) -> Alias:
        body = {"weights": msgspec.to_builtins(weights)}
        return self._decode(self._send("PUT", self._alias(name, alias), json=body), Alias)

    def delete_alias(self, name: str, alias: str) -> None:
        self._send("DELETE", self._alias(name, alias))

    # Rollouts

    def start_rollout(self, name: str, body: dict[str, Any]) -> Rollout:
        return self._decode(self._send("POST", f"{self._function(name)}/rollouts", json=body), Rollout)

    def rollouts(self, name: str, limit: int) -> list[Rollout]:
        return self._pages(f"{self._function(name)}/rollouts", Rollout, limit)

    def rollout(self, name: str, rollout_id: str) -> Rollout:
        return self._decode(self._send("GET", self._rollout(name, rollout_id)), Rollout)

    def steer_rollout(self, name: str, rollout_id: str, verb: str) -> Rollout:
        """`verb`: pause, resume or abort."""
        return self._decode(self._send("POST", f"{self._rollout(name, rollout_id)}/{verb}"), Rollout)

    # Seeing

    def logs(self, name: str, *, limit: int, since_ms: int | None, invocation: str | None) -> list[LogLine]:
        params = _given(limit=limit, since_ms=since_ms, invocation=invocation)
        return self._decode(self._send("GET", f"{self._function(name)}/logs", params=params), Page[LogLine]).items

    def follow_logs(self, name: str, *, limit: int, since_ms: int | None, invocation: str | None) -> Iterator[LogLine]:
        """The last lines, then those that come, without end."""
        params = _given(follow="true", limit=limit, since_ms=since_ms, invocation=invocation)
        yield from self._lines(f"{self._function(name)}/logs", params, LogLine, None)

    def explanation(self, invocation: str) -> dict[str, Any]:
        path = f"{self._namespace()}/invocations/{quote(invocation, safe='')}/explanation"
        return self._decode(self._send("GET", path), dict[str, Any])

    def status(self) -> dict[str, Any]:
        return self._decode(self._send("GET", "/api/v1/status"), dict[str, Any])

    def audit_head(self) -> dict[str, Any]:
        """The newest hash of the audit log."""
        return self._decode(self._send("GET", "/api/v1/events/head"), dict[str, Any])

    def audit_verification(self, expect: str | None) -> dict[str, Any]:
        """Whether the audit log is whole. Raises `Invalid` where `expect` is no hash."""
        asked = {} if expect is None else {"expect": expect.strip().lower()}
        limit = httpx.Timeout(VERIFY_S, connect=CONNECT_S)
        return self._decode(
            self._send("GET", "/api/v1/events/verification", params=asked, timeout=limit), dict[str, Any]
        )

    def me(self) -> Me:
        return self._decode(self._send("GET", "/api/v1/me"), Me)

    # Asynchronous calls

    def queues(self) -> QueueOverview:
        return self._decode(self._send("GET", f"{self._namespace()}/queues"), QueueOverview)

    def calls(self, name: str | None, state: str | None, limit: int) -> list[QueuedCall]:
        return self._pages(f"{self._namespace()}/calls", QueuedCall, limit, **_given(function=name, state=state))

    def call(self, call_id: str) -> CallDetail:
        return self._decode(self._send("GET", f"{self._namespace()}/calls/{quote(call_id, safe='')}"), CallDetail)

    def steer_queue(self, name: str, action: str, **params: str) -> dict[str, Any]:
        return self._decode(self._send("POST", f"{self._function(name)}/queue/{action}", params=params), dict[str, Any])

    def redrive(self, name: str, ids: list[str] | None) -> dict[str, Any]:
        response = self._send("POST", f"{self._function(name)}/queue/redrive", json=_given(ids=ids))
        return self._decode(response, dict[str, Any])

    # Namespaces and keys

    def namespaces(self) -> list[Namespace]:
        return self._pages("/api/v1/namespaces", Namespace, 1000)

    def create_namespace(self, name: str) -> Namespace:
        return self._decode(self._send("POST", "/api/v1/namespaces", json={"name": name}), Namespace)

    def delete_namespace(self, name: str) -> None:
        self._send("DELETE", f"/api/v1/namespaces/{quote(name, safe='')}")

    def quotas(self) -> list[Quota]:
        return self._pages("/api/v1/quotas", Quota, 1000)

    def quota(self, namespace: str) -> tuple[Quota, str]:
        """With its ETag."""
        response = self._send("GET", f"/api/v1/namespaces/{quote(namespace, safe='')}/quota")
        return self._decode(response, Quota), response.headers.get("ETag", "*")

    def set_quota(self, namespace: str, limits: dict[str, float | None], etag: str) -> Quota:
        """Raises `PreconditionFailed` where it is not the one of that ETag any more."""
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/quota"
        return self._decode(self._send("PUT", path, json=limits, headers={"If-Match": etag}), Quota)

    def keys(self) -> list[Key]:
        return self._pages(f"{self._namespace()}/keys", Key, 1000)

    def create_key(self, name: str, role: str, **more: Any) -> Key:
        """`more`: expires_at_ms, scopes, description."""
        body = _given(name=name, role=role, **more)
        return self._decode(self._send("POST", f"{self._namespace()}/keys", json=body), Key)

    def rotate_key(self, key_id: str, **body: Any) -> Key:
        """`body`: overlap_s, expires_at_ms."""
        path = f"{self._namespace()}/keys/{quote(key_id, safe='')}/rotation"
        return self._decode(self._send("POST", path, json=_given(**body)), Key)

    def delete_key(self, key_id: str) -> None:
        self._send("DELETE", f"{self._namespace()}/keys/{quote(key_id, safe='')}")

    # Secrets

    def secrets(self) -> list[Secret]:
        return self._pages(f"{self._namespace()}/secrets", Secret, 1000)

    def set_secret(self, name: str, value: str) -> Secret:
        return self._decode(self._send("PUT", self._secret(name), json={"value": value}), Secret)

    def remove_secret(self, name: str, *, force: bool) -> None:
        self._send("DELETE", self._secret(name), params={"force": "true"} if force else {})

    # Plumbing

    def _secret(self, name: str) -> str:
        return f"{self._namespace()}/secrets/{quote(name, safe='')}"

    def _scoped(self, name: str) -> str:
        """The name of a function in Lambda's paths, in the namespace of the profile unless it says another."""
        scoped = name if "/" in name or name.startswith("arn:") else f"{self.profile.namespace}/{name}"
        return quote(scoped, safe="")

    def _namespace(self) -> str:
        return f"/api/v1/namespaces/{quote(self.profile.namespace, safe='')}"

    def _function(self, name: str) -> str:
        return f"{self._namespace()}/functions/{quote(name, safe='')}"

    def _rollout(self, name: str, rollout_id: str) -> str:
        return f"{self._function(name)}/rollouts/{quote(rollout_id, safe='')}"

    def _alias(self, name: str, alias: str) -> str:
        return f"{self._function(name)}/aliases/{quote(alias, safe='')}"

    # Anything else

    @overload
    def ask(self, method: str, path: str, kind: type[T], *, json: Any = None) -> T: ...
    @overload
    def ask(self, method: str, path: str, *, json: Any = None) -> None: ...
    def ask(self, method: str, path: str, kind: type[T] | None = None, *, json: Any = None) -> T | None:
        """One call, and its answer as a `kind`."""
        response = self._send(method, path, **_given(json=json))
        return None if kind is None else self._decode(response, kind)

    def listed(self, path: str, kind: type[T], limit: int, **filters: Any) -> list[T]:
        """All items of a list, page by page, up to `limit`."""
        return self._pages(path, kind, limit, **filters)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """While control restarts, the host answers for it with 503; what may be repeated is asked again."""
        deadline = time.monotonic() + AWAY_S
        while True:
            with self._translated():
                response = self._http.request(method, path, **options)
            if not response.is_error:
                return response
            repeatable = method in ("GET", "PUT") or path.endswith("/packages")
            away = response.status_code == httpx.codes.SERVICE_UNAVAILABLE
            if not (away and repeatable) or time.monotonic() > deadline:
                raise _refusal(response)
            time.sleep(AWAY_PAUSE_S)

    def _lines(self, path: str, params: dict[str, Any], kind: type[T], limit_s: float | None) -> Iterator[T]:
        """NDJSON. Blank lines keep the connection alive and are skipped."""
        timeout = httpx.Timeout(READ_S, connect=CONNECT_S, read=limit_s)
        with self._translated(), self._http.stream("GET", path, params=params, timeout=timeout) as response:
            if response.is_error:
                response.read()
                raise _refusal(response)
            for line in response.iter_lines():
                if line.strip():
                    yield self._parse(line.encode(), kind)

    def _pages(self, path: str, kind: type[T], limit: int, **filters: Any) -> list[T]:
        """All items of a list, page by page, up to `limit`."""
        items: list[T] = []
        cursor: str | None = None
        while len(items) < limit:
            params = _given(limit=min(limit - len(items), 100), cursor=cursor, **filters)
            page = self._decode(self._send("GET", path, params=params), Page[kind])  # type: ignore[valid-type]  # a type made at run time
            items += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        return items

    def _decode(self, response: httpx.Response, kind: type[T]) -> T:
        return self._parse(response.content, kind)

    def _parse(self, content: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.MsgspecError as exc:
            raise IsothermError(
                f"{self.profile.url} gave an answer that this command does not understand ({exc}); "
                f"is it an Isotherm of version {version('isotherm')}?"
            ) from exc

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as exc:
            raise Unavailable(f"{self.profile.url} did not answer in time; is the platform overloaded?") from exc
        except httpx.HTTPError as exc:
            if "CERTIFICATE_VERIFY_FAILED" in str(exc):
                raise Unavailable(
                    f"{self.profile.url}: its certificate is not trusted here; name the file of the authority that "
                    f"signed it by SSL_CERT_FILE, and reach it by a name that the certificate has ({exc})"
                ) from exc
            raise Unavailable(
                f"cannot reach {self.profile.url}: {exc or type(exc).__name__}; start it with `isotherm up`, "
                f"or name another by ISOTHERM_URL or `isotherm login`"
            ) from exc


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _refusal(response: httpx.Response) -> IsothermError:
    """The error that an answer of 400 or more stands for."""
    try:
        problem = msgspec.json.decode(response.content)
    except msgspec.MsgspecError:
        problem = None
    if isinstance(problem, dict) and "code" in problem:
        return error_from_problem(problem)
    text = response.text.strip()[:200] or response.reason_phrase
    return Unavailable(f"{response.request.url} answered {response.status_code}: {text}")
