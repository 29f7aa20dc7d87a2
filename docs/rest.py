"""The page of the REST API, from the OpenAPI document that the platform serves: routes, fields, answers, errors."""

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import msgspec
from pages import code, table  # beside this file

from isotherm.api.app import declared_routes, openapi_document
from isotherm.api.schemas import (
    AliasWeights,
    KeyRequest,
    LoginRequest,
    MemberRequest,
    NamespaceRequest,
    PasswordRequest,
    PruneRequest,
    QuotaRequest,
    RedriveRequest,
    RefreshRequest,
    RegisterRequest,
    RoleRequest,
    RollbackRequest,
    RolloutRequest,
    RotateRequest,
    SecretRequest,
    TokenKeyRequest,
    UserRequest,
)
from isotherm.functions.model import FunctionConfig
from isotherm.tenancy.policy import PERMISSIONS
from isotherm.wire.desired import Role

__all__ = ["rest_page"]

SOURCE = Path(__file__).parents[1] / "src"
# A body of each type that a route takes: checked against the type, so that no example is refused for its form.
BODIES: dict[Any, dict[str, Any]] = {
    NamespaceRequest: {"name": "team"},
    KeyRequest: {"name": "ci", "role": "developer"},
    RotateRequest: {"overlap_s": 3600},
    LoginRequest: {"name": "ada", "password": "correct horse battery"},
    RefreshRequest: {"refresh_token": "isr_…"},
    RegisterRequest: {"invitation": "isi_…", "password": "correct horse battery"},
    PasswordRequest: {"current_password": "correct horse battery", "new_password": "staple gun mosaic"},
    TokenKeyRequest: {"drop": True},
    UserRequest: {"name": "ada", "grants": [{"namespace": "team", "role": "developer"}]},
    RoleRequest: {"role": "viewer"},
    MemberRequest: {"name": "ada", "role": "developer"},
    QuotaRequest: {"instances": 20, "memory_mb": 4096},
    SecretRequest: {"value": "s3cr3t"},
    FunctionConfig: {"package": "9f2a" * 16, "handler": "app.handler", "memory_mb": 256, "warm": {"spare": 1}},
    PruneRequest: {"keep": 3, "dry_run": True},
    AliasWeights: {"weights": [{"number": 3, "weight": 0.9}, {"number": 4, "weight": 0.1}]},
    RollbackRequest: {"to": 3},
    RolloutRequest: {"to": 4, "strategy": "canary", "steps": [5, 50, 100]},
    RedriveRequest: {"ids": ["6f0d2c9e-1b7a-4c52-a9f3-000000000007"]},
}
PLACES = {
    "ns": "default",
    "name": "hello",
    "number": "3",
    "alias": "live",
    "secret": "db-password",
    "user_id": "usr_tc14bhy6maxyzmwh4wygs2n46b",
    "key_id": "key_tc14bhy6maxyzmwh4wygs2n46b",
    "rollout_id": "roll_fxn6mr1pnhjffy520q24k73t98",
    "invocation_id": "6f0d2c9e-1b7a-4c52-a9f3-000000000007",
    "call_id": "6f0d2c9e-1b7a-4c52-a9f3-000000000007",
}
TITLES = {  # of the groups of routes; unlike the summaries, since both are headings
    "platform": "Platform and audit log",
    "auth": "Logins",
    "users": "Users and members",
    "namespaces": "Namespaces and keys",
    "quotas": "Quotas of namespaces",
    "secrets": "Secrets of a namespace",
    "functions": "Functions, revisions, aliases",
    "rollouts": "Moving an alias by steps",
    "observed": "Progress, logs and invocations",
    "queues": "Queues and their calls",
    "warmth": "Warmth and its decisions",
}
HEAD = """# REST

The platform describes itself at `/api/v1/openapi.json` (OpenAPI 3.1), from which this page is made, and at
`/api/v1/docs`.

- **Keys and logins.** Every route takes `Authorization: Bearer iso_…`, or the access token of a [login](#logins), but
  for those that say that they need nothing. The permission that it needs is named with it, and
  [below](#roles) which roles have it. What a key may not see answers 404.
- **Bodies** are JSON, at most 4 MiB; unknown members are errors. Times are milliseconds since 1970 (`…_at_ms`).
- **Errors** are `application/problem+json` with a stable `code` ([errors](errors.md)). Any route may answer 400, 401,
  403, 404, 429 (with `Retry-After`), 500 and 503; what else is listed with it.
- **Lists** answer `{"items": […], "next_cursor": …}` and take `?limit=` (100 unless said, at most 1,000) and
  `?cursor=`, which is the `next_cursor` of the page before.
- **Concurrent changes.** Single resources carry an `ETag`; PUT and DELETE honour `If-Match` and answer 412 where
  somebody else was faster.
- **Streams** are JSON lines (`application/x-ndjson`); an empty line means that nothing has come.

```sh
export URL=http://127.0.0.1:7070 KEY=iso_…
```
"""
INVOKE = "functions.invoke"
CALLS = [  # answered by the host, and so in no document of control's
    (
        "POST",
        "/2015-03-31/functions/{name}/invocations",
        "Invoke. `{name}` is `NAME`, `NAMESPACE/NAME` (its `/` as `%2F`) or an ARN, with `:QUALIFIER` or `?Qualifier=`",
        code(INVOKE),
    ),
    (
        "POST",
        "/2021-11-15/functions/{name}/response-streaming-invocations",
        "InvokeWithResponseStream ([guide](../guides/streaming.md#by-invoke))",
        code(INVOKE),
    ),
    (
        "any",
        "/{name}/…",
        "A function's URL, on the content port ([guide](../guides/deploy.md#keys-and-public-functions))",
        f"{code(INVOKE)}, or none where it is public",
    ),
    ("GET", "/healthz", "Whether the process lives", "none"),
    ("GET", "/readyz", "Whether it serves", "none"),
    ("GET", "/metrics", "[Metrics](metrics.md)", "a key that may view all namespaces"),
]
HEADERS = [
    (
        "`X-Amz-Invocation-Type`",
        "`RequestResponse` (default), `Event` ([asynchronous](../guides/async.md): 202 once on disk), `DryRun` (204)",
    ),
    ("`X-Amz-Log-Type: Tail`", "Asks for the end of the call's log: base64, in `X-Amz-Log-Result`"),
    ("`X-Amz-Client-Context`", "JSON, base64, that the handler finds in its context"),
    ("answer: `X-Amzn-RequestId`, `X-Amz-Executed-Version`", "The call's id; the revision that took it"),
    (
        "answer: `X-Amz-Function-Error`",
        "The handler failed; the body has `errorType`, `errorMessage` and `stackTrace`",
    ),
    ("answer: `Server-Timing`", "`queue`, `start` and `run`, in milliseconds"),
]


def rest_page() -> str:
    document = openapi_document(version("isotherm"))
    schemas: dict[str, Any] = document["components"]["schemas"]
    by_tag: dict[str, list[tuple[Any, dict[str, Any]]]] = {}
    for route in declared_routes():
        operation = document["paths"][route.path][route.method.lower()]
        by_tag.setdefault(operation["tags"][0], []).append((route, operation))
    contents = [
        (
            f"[{operation['summary']}](#{anchor(operation['summary'])})",
            route.method,
            code(route.path.removeprefix("/api/v1")),
            code(operation["x-isotherm-permission"]),
        )
        for operations in by_tag.values()
        for route, operation in operations
    ]
    parts = [HEAD, table(("what", "method", "path below `/api/v1`", "permission"), contents)]
    for tag, operations in by_tag.items():
        parts.append(f"## {TITLES[tag]}\n")
        parts += [operation_text(route, operation) for route, operation in operations]
    parts += [
        calls_text(),
        roles_text(),
        "## Types\n\nMembers that are marked * are always there, or have to be given.\n",
    ]
    parts += [schema_text(name, schema) for name, schema in sorted(schemas.items())]
    page = "\n".join(parts)
    headings = [anchor(heading) for heading in re.findall(r"^#+ (.+)$", page, re.MULTILINE)]
    assert len(headings) == len(set(headings)), f"headings that are alike: {sorted(headings)}"
    return page


def operation_text(route: Any, operation: dict[str, Any]) -> str:
    lines = [f"### {operation['summary']}", "", f"`{route.method} {route.path}`", ""]
    lines += [" ".join((operation.get("description") or "").split()), ""]
    parameters = operation.get("parameters", [])
    rows = [
        (
            code(each["name"]) + ("*" if each["required"] else ""),
            each["in"],
            kind_of(each["schema"]),
            each.get("description", ""),
        )
        for each in parameters
    ]
    if rows:
        lines.append(table(("parameter", "in", "type", "meaning"), rows))
    body = operation.get("requestBody", {}).get("content", {})
    if body:
        (media, described), *_ = body.items()
        lines += [f"Body: `{media}`, {kind_of(described['schema'])}.", ""]
    lines.append(table(("answer", "what", "body"), answers_of(operation)))
    others = errors_of(operation)
    if others:
        lines += [f"Errors beside the usual: {others}.", ""]
    lines += ["```sh", example(route), "```", ""]
    return "\n".join(lines)


def answers_of(operation: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            shapes = []
            for media, described in answer.get("content", {}).items():
                line = described["schema"].get("x-line")
                shapes.append(kind_of(described["schema"]) if line is None else f"lines of {kind_of(line)} (`{media}`)")
            yield status, answer["description"], " or ".join(shapes)


def errors_of(operation: dict[str, Any]) -> str:
    usual = {"400", "401", "403", "404", "429", "500", "503"}
    found = [
        f"{status} {answer['description']}"
        for status, answer in operation["responses"].items()
        if not status.startswith("2") and status not in usual
    ]
    return ", ".join(found)


def example(route: Any) -> str:
    """A call of it with curl."""
    path = re.sub(r"{(\w+)}", lambda place: PLACES[place[1]], route.path)
    words = ["curl"] if route.method == "GET" else ["curl", "-X", route.method]
    words.append(f'"$URL{path}"')
    if route.permission != "open":
        words.append('-H "Authorization: Bearer $KEY"')
    if route.body is not None:
        body = BODIES[route.body]
        msgspec.convert(body, route.body, strict=True)
        text = json.dumps(body, separators=(", ", ": "))
        words += ["\\\n    -H 'Content-Type: application/json'", f"-d '{text}'"]
    elif route.body_types:
        words += [f"-H 'Content-Type: {route.body_types[0]}'", "--data-binary @package.zip"]
    return " ".join(words)


def calls_text() -> str:
    return f"""## Calling functions

These are answered by the host itself, also while control is away. The first two are Lambda's own.

{table(("method", "path", "what", "permission"), [(method, code(path), *rest) for method, path, *rest in CALLS])}
{table(("header of Invoke", "meaning"), HEADERS)}"""


def roles_text() -> str:
    permissions = sorted(PERMISSIONS["admin"])
    roles = get_args(Role)[::-1]
    granted = [(code(each), *("yes" if each in PERMISSIONS[role] else "" for role in roles)) for each in permissions]
    return f"""## Roles

A grant is a role in a namespace; in `*` it reaches all of them and the platform itself. `any` above means that a key is
enough.

{table(("permission", *roles), granted)}"""


def schema_text(name: str, schema: dict[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = [
        (
            code(field) + ("*" if field in required else ""),
            kind_of(described),
            code(json.dumps(described["default"])) if described.get("default") not in (None, {}, []) else "",
            described.get("description") or comments().get((name, field), ""),
        )
        for field, described in schema.get("properties", {}).items()
    ]
    text = " ".join((schema.get("description") or "").split())
    return f"### {name}\n\n{text}\n\n{table(('member', 'type', 'default', 'meaning'), rows)}"


def kind_of(schema: dict[str, Any]) -> str:
    """A JSON schema in words, with links to the types of this page."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{anchor(name)})"
    if "anyOf" in schema:
        return " or ".join(kind_of(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(code(json.dumps(each)) for each in schema["enum"])
    kind = schema.get("type", "any JSON value")
    if kind == "array":
        return f"list of {kind_of(schema['items'])}" if "items" in schema else "list"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {kind_of(schema['additionalProperties'])}"
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None and high is not None:
        return f"{kind}, {'above ' if 'exclusiveMinimum' in schema else ''}{low:g} to {high:,}"
    return str(kind)


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@cache
def comments() -> dict[tuple[str, str], str]:
    """(class, field) → the comment behind the field: what the schema has no place for. Inherited ones included."""
    found: dict[tuple[str, str], str] = {}
    bases: dict[str, list[str]] = {}
    for path in sorted((SOURCE / "isotherm").rglob("*.py")):
        name = ""
        for line in path.read_text().splitlines():
            if opened := re.match(r"class (\w+)(?:\(([^)]*)\))?", line):
                name = opened[1]
                bases[name] = re.findall(r"[A-Z]\w+", opened[2] or "")
            elif line[:1].strip():
                name = ""
            elif name and (field := re.match(r"    (\w+): .*?  # (?!type:)(.+)$", line)):
                found[name, field[1]] = field[2][:1].upper() + field[2][1:]
    for name, above in bases.items():
        for base in above:
            for (owner, field), comment in list(found.items()):
                if owner == base:
                    found.setdefault((name, field), comment)
    return found
