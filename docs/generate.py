"""Write docs/reference from the code, or with --check say which page no longer matches it (exit 1)."""

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import typer.main
from botocore import xform_name
from pages import code, table  # beside this file
from rest import rest_page

from isotherm.aws.lambda_api.absent import ABSENT
from isotherm.aws.lambda_api.members import MEMBERS
from isotherm.aws.lambda_api.table import GROUPS
from isotherm.base.errors import IsothermError, all_errors
from isotherm.base.settings import describe_settings
from isotherm.cli.main import app
from isotherm.client import AsyncClient, AsyncStream, Call, Client, Stream, model, records, warmth
from isotherm.functions.model import AsyncConfig, CronConfig, FunctionConfig, RecordsConfig, WarmConfig
from isotherm.wire.egress import EgressAllow, EgressChoice
from isotherm.workloads.rollout_model import RolloutPlan

REFERENCE = Path(__file__).parent / "reference"
SOURCE = Path(__file__).parents[1] / "src"
NOTE = "<!-- Written by docs/generate.py (`make docs`); edits here are lost. -->\n"


# Variables that are no settings: who reads them, and what for.
VARIABLES = (
    (
        "ISOTHERM_MASTER_KEY",
        "control, host",
        "32 bytes, base64, that encrypt secrets at rest; default: `keys/master.key`",
    ),
    (
        "ISOTHERM_COMPILED_DIR",
        "command line",
        "Where it keeps compiled loops; default: beside the code, or the cache (control: its data folder)",
    ),
    ("ISOTHERM_URL", "command line", "Where the platform is; default: the profile that `login` or `up` saved"),
    ("ISOTHERM_KEY", "command line", "The key to call it with; default: that of the profile"),
    ("ISOTHERM_NAMESPACE", "command line", "The namespace; default: that of the profile, else `default`"),
)


def settings_page() -> str:
    flags = {parameter.name for parameter in commands()["isotherm up"].params}
    rows = [
        (
            code(name),
            code("--" + name.replace("_", "-")) if name in flags else "",
            code(variable),
            code(default),
            help_text,
        )
        for name, variable, default, help_text in describe_settings()
    ]
    return f"""# Settings

A flag of `isotherm up` wins over an environment variable, a variable over the default. A bad value stops the start;
the message names the source and what was expected.

{table(("setting", "flag", "variable", "default", "meaning"), rows)}
## Other variables

{table(("variable", "read by", "meaning"), [(code(name), reader, meaning) for name, reader, meaning in VARIABLES])}"""


def errors_page() -> str:
    def depth(kind: type[IsothermError]) -> int:
        return len(kind.__mro__) - len(IsothermError.__mro__)

    kinds = sorted(all_errors().values(), key=lambda kind: (kind.status, depth(kind), kind.code))
    rows = [
        (code(kind.code), str(kind.status), str(kind.exit_code), kind.title, (kind.__doc__ or "").strip())
        for kind in kinds
    ]
    return f"""# Errors

Every error that a caller can see is one of these. Over HTTP it is `application/problem+json` (RFC 9457) with `code`,
`detail`, where there is one `instance` (the request id), and `data`, which is what caused it. The command line prints
the same message and ends with the exit code.

{table(("code", "HTTP status", "exit code", "title", "when"), rows)}"""


# Keys whose meaning needs more than their bounds say.
KEYS = {
    "handler": "`module.function` of Python, `file.function` of Node.js, any text for `provided`; "
    "default: `app.handler`, `index.handler`, `bootstrap`",
    "dispatch": "How a sync handler takes calls at once: on threads, or one after the other",
    "request_body": 'How a URL request\'s body comes: `"buffer"`, whole in the event, or `"stream"`, as `context.body`',
    "isolation": "The driver",
    "env": "Variables that the code sees; encrypted at rest",
    "secrets": "Variables that hold secrets: the name of a secret for each",
    "runtime": "`python3.N`, `nodejs`, `nodejsN` or `provided`, of those that the host has; default: its own Python",
}


def keys_table(kind: type[msgspec.Struct], hidden: set[str]) -> str:
    hints = get_type_hints(kind, include_extras=True)
    rows = []
    for field in msgspec.structs.fields(kind):
        if field.name in hidden:
            continue
        plain, metas = unwrapped(hints[field.name])
        described = KEYS.get(field.name) or next((meta.description for meta in metas if meta.description), "")
        assert described, f"{kind.__name__}.{field.name} has no description"
        default = "" if field.default in (msgspec.NODEFAULT, None) else toml(field.default)
        rows.append((code(field.name), allowed(plain, metas), code(default), described))
    return table(("key", "value", "default", "meaning"), rows)


def toml(value: Any) -> str:
    return msgspec.json.encode(value).decode()  # the scalars of TOML are written as in JSON


def unwrapped(hint: Any) -> tuple[Any, list[msgspec.Meta]]:
    """The type below `Annotated` and `… | None`, and all that was annotated on the way."""
    metas: list[msgspec.Meta] = []
    while True:
        if hasattr(hint, "__metadata__"):
            metas += [each for each in hint.__metadata__ if isinstance(each, msgspec.Meta)]
            hint = hint.__origin__
        elif NoneType in get_args(hint):
            hint = next(each for each in get_args(hint) if each is not NoneType)
        else:
            return hint, metas


def allowed(kind: Any, metas: list[msgspec.Meta]) -> str:
    """What may stand there, in words: type and bounds."""
    if options := [each for each in get_args(kind) if isinstance(each, str)]:
        return " or ".join(code(toml(option)) for option in options)
    if kind == EgressChoice:
        return '`"deny"`, `"open"` or [a table](#egress)'
    named = {
        bool: "true or false",
        int: "whole number",
        float: "number",
        str: "text",
        Any: "any JSON value",
        list: "list of texts",
        tuple: "list of numbers",
    }
    name = named.get(get_origin(kind) or kind, "table of texts")
    lower = next((f"{meta.ge:g}" for meta in metas if meta.ge is not None), None)
    lower = lower or next((f"above {meta.gt:g}" for meta in metas if meta.gt is not None), None)
    upper = next((f"{meta.le:,}" for meta in metas if meta.le is not None), None)
    upper = upper or next((f"below {meta.lt:g}" for meta in metas if meta.lt is not None), None)
    return f"{name}, {lower} to {upper}" if lower and upper else f"{name}, {lower}" if lower else name


NOT_IN_FIRST_TABLE = {"package", "development", "debug", "warm", "rollout", "asynchronous", "cron", "records"}


def manifest_page() -> str:
    return f"""# isotherm.toml

The manifest stands beside the code. `name` is the function's name: letters, digits, `-` and `_`, at most 64.
An unknown key or a bad value is an error that names file, key and what was expected. The REST API takes the same keys
as JSON, with `package` (the digest of the uploaded zip), `development` and
`debug` ([for an inner loop](../guides/develop.md)), and without `name`.

{keys_table(FunctionConfig, NOT_IN_FIRST_TABLE)}
## [warm]

{keys_table(WarmConfig, set())}
## [rollout]

How `live` goes to the revision once it is ready ([the guide](../guides/rollouts.md)). It is no part of what makes one
revision another.

{keys_table(RolloutPlan, set())}
## [asynchronous]

See [the guide](../guides/async.md).

{keys_table(AsyncConfig, set())}
## [records]

See [the guide](../guides/develop.md#replay-a-call).

{keys_table(RecordsConfig, set())}
## [[cron]]

Any number up to 20, each begun by `[[cron]]`.

{keys_table(CronConfig, set())}

## [egress]

{keys_table(EgressAllow, set())}
[The guide](../guides/egress.md) says what the rules mean.

## Example

```toml
name = "hello"
handler = "app.handler"
memory_mb = 256
timeout_s = 30

[env]
GREETING = "hi"

[secrets]
DB_PASSWORD = "db-password"

[egress]
hosts = ["api.example.com:443"]

[warm]
max_instances = 20
spare = 1
warm_event = {{ ping = true }}

[asynchronous]
retries = 3

[[cron]]
name = "nightly"
schedule = "30 2 * * *"
timezone = "Europe/Berlin"
```
"""


def metric_families() -> dict[str, tuple[str, str]]:
    """Metric name → (type, help): each `family(name, type, help)` in the source, each of prometheus_client's kinds."""
    found: dict[str, tuple[str, str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            texts = [str(each.value) for each in node.args if isinstance(each, ast.Constant)]
            if called == "family" and len(texts) == 3:
                found[texts[0]] = (texts[1], texts[2])
            elif called == "CounterMetricFamily" and len(texts) == 2:
                found[texts[0] + "_total"] = ("counter", texts[1])
            elif called in ("Counter", "Gauge", "Histogram") and len(texts) == 2:
                found[texts[0] + ("_total" if called == "Counter" else "")] = (called.lower(), texts[1])
    return found


def metrics_page() -> str:
    rows = [(code(name), kind, meaning) for name, (kind, meaning) in sorted(metric_families().items())]
    return f"""# Metrics

`/metrics` on the API port, in Prometheus' text format. Times are seconds, sizes are bytes.

{table(("name", "type", "meaning"), rows)}"""


def commands() -> dict[str, Any]:
    """Every command by its full name, as typer's own kind of click command."""
    found: dict[str, Any] = {}
    rest: list[tuple[str, Any]] = [("isotherm", typer.main.get_command(app))]
    while rest:
        name, command = rest.pop(0)
        inner = getattr(command, "commands", {})
        if not inner:
            found[name] = command
        rest += [(f"{name} {word}", each) for word, each in inner.items()]
    return found


def command_text(name: str, command: Any) -> str:
    rows, arguments = [], []
    for parameter in command.params:
        words = [*parameter.opts, *parameter.secondary_opts]
        if parameter.param_type_name == "argument":
            shown = parameter.metavar or parameter.name.upper()
            words = [shown if parameter.required or shown.startswith("[") else f"[{shown}]"]
            arguments += words
        rows.append((", ".join(code(word) for word in words), parameter.help or ""))
    usage = " ".join([name, "[OPTIONS]", *arguments])
    options = "\n" + table(("argument or option", "meaning"), rows) if rows else ""
    return f"## {name}\n\n```\n{usage}\n```\n\n{(command.help or '').strip()}\n{options}"


def cli_page() -> str:
    texts = "\n".join(command_text(name, command) for name, command in sorted(commands().items()))
    return f"""# Command line

Every command takes `--json`. It finds the platform by `ISOTHERM_URL` and `ISOTHERM_KEY`, or by the profile that
`isotherm login` (and `isotherm up`, on loopback) saved. `isotherm --install-completion` sets up the shell's completion.
Exit codes are those of [the error tree](errors.md); 130 after Ctrl-C.

{texts}"""


STATES = {
    "yes": "yes",
    "partly": "in part",
    "stored": "kept and shown, without effect",
    "no": "refused by its name",
}


def tests_of_operations() -> dict[str, list[str]]:
    """The end-to-end tests that use an operation of boto3's client, by the client's name of it."""
    found: dict[str, set[str]] = {}
    for path in sorted((SOURCE.parent / "tests" / "e2e").glob("test_lambda_api*.py")):
        for function in ast.parse(path.read_text()).body:
            if not isinstance(function, ast.FunctionDef) or not function.name.startswith("test_"):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Attribute):
                    found.setdefault(node.attr, set()).add(function.name)
                elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get_paginator":
                    found.setdefault(str(ast.literal_eval(node.args[0])), set()).add(function.name)
                elif isinstance(node, ast.Name) and node.id in ("create", "created"):
                    found.setdefault("create_function", set()).add(function.name)
                elif isinstance(node, ast.Name) and node.id == "call":
                    found.setdefault("invoke", set()).add(function.name)
    return {name: sorted(tests) for name, tests in found.items()}


def lambda_page() -> str:
    used = tests_of_operations()

    def tests(operation: str) -> str:
        names = used.get(xform_name(operation), [])
        more = f" and {len(names) - 2} more" if len(names) > 2 else ""
        return ", ".join(map(code, names[:2])) + more

    texts = []
    for group in GROUPS:
        rows = [(each.name, STATES[each.state], each.note, tests(each.name)) for each in group.table.values()]
        texts.append(f"### {group.group}\n\n{table(('operation', 'here', 'note', 'tests'), rows)}")
    absent = [(name, why) for name, why in sorted(ABSENT.items())]
    members = [(code(name), STATES[each.state], each.note) for name, each in MEMBERS.items()]
    there = sum(len(group.table) for group in GROUPS)
    return f"""# AWS Lambda's API

The operations of AWS Lambda on the API port: {there} of {there + len(ABSENT)}. Routes, shapes and constraints are
those of botocore's model of the service. [The guide](../guides/aws-clients.md) says how to point a client here and what
is unlike; [the decision](../adr/0023-lambda-api.md) says why.

## Operations

{"".join(text + chr(10) for text in texts)}
### Not here

Answered with 501 `NotImplementedException`, which names the operation.

{table(("operation", "why"), absent)}
## A function's configuration

Members of CreateFunction and UpdateFunctionConfiguration. What is refused is an `InvalidParameterValueException` that
names the member; a value that asks for nothing is taken.

{table(("member", "here", "note"), members)}"""


def cleaned(docstring: str | None) -> str:
    return inspect.cleandoc(docstring or "")


def signature(prefix: str, function: Any) -> str:
    """As it is called: without `self`, and with types by their last names."""
    found = inspect.signature(function)
    parameters = [each for each in found.parameters.values() if each.name != "self"]
    shown = str(found.replace(parameters=parameters))
    shown = re.sub(r"[A-Za-z_][\w.]*\.([A-Za-z_]\w*)", r"\1", shown).replace("'", "").replace("Async", "")
    if len(prefix + shown) > 110:
        inner, _, result = shown.rpartition(" -> ")
        parts = re.split(r", (?=\w+: |\*)", inner[1:-1])
        shown = "(\n" + "".join(f"    {part},\n" for part in parts) + f") -> {result}"
    return f"```python\n{prefix}{shown}\n```\n"


def verbs_text(prefix: str, kind: type) -> str:
    found = {name: each for name, each in vars(kind).items() if not name.startswith("_") and callable(each)}
    return "\n".join(
        f"{signature(f'{prefix}.{name}', each)}\n{cleaned(each.__doc__)}\n" for name, each in found.items()
    )


def fields_table(kind: type[msgspec.Struct]) -> str:
    """Each field with its type, and what the comment behind it says."""
    lines = inspect.getsource(kind).splitlines()
    rows = []
    for field in ast.parse("\n".join(lines)).body[0].body:
        if isinstance(field, ast.AnnAssign):
            comment = lines[field.end_lineno - 1].partition("  # ")[2]
            rows.append((code(field.target.id), code(ast.unparse(field.annotation)), comment))
    return table(("field", "type", "meaning"), rows)


def client_page() -> str:
    blocking, asynchronous = Client("http://localhost", "iso_"), AsyncClient("http://localhost", "iso_")
    nouns = [
        f"## client.{name}\n\n{cleaned(type(noun).__doc__)}\n\n"
        f"{verbs_text(f'client.{name}', type(getattr(asynchronous, name)))}"
        for name, noun in vars(blocking).items()
        if not name.startswith("_")
    ]
    kinds = [getattr(module, name) for module in (model, records, warmth) for name in sorted(module.__all__)]
    types = "\n".join(f"### {kind.__name__}\n\n{cleaned(kind.__doc__)}\n\n{fields_table(kind)}" for kind in kinds)
    return f"""# Python client

`from isotherm.client import Client, AsyncClient, errors`; [the guide](../guides/python-client.md) begins at the
beginning. Both clients have the same nouns and verbs: those of `AsyncClient` are awaited, and its streams are
`AsyncStream`s, which are read with `async for`. What is raised is in `isotherm.client.errors`, by the codes of
[the errors](errors.md): each has `message`, `code`, `data`, `retry_after_s` and `request_id`.

## Client

{signature("Client", Client.__init__).replace(" -> None", "")}
{cleaned(Client.__doc__)}

{signature("client.with_options", Client.with_options)}
{cleaned(Client.with_options.__doc__)}

`client.close()` ends all connections; `await client.aclose()` does of an `AsyncClient`.

{"".join(f"{each}{chr(10)}" for each in nouns)}## Call

{cleaned(Call.__doc__)}

{verbs_text("call", Call)}
## Stream

{cleaned(Stream.__doc__)}

Of an `AsyncClient`: {cleaned(AsyncStream.__doc__)[:1].lower()}{cleaned(AsyncStream.__doc__)[1:]}

## Types

In `isotherm.client.model`, `isotherm.client.records` and `isotherm.client.warmth`. Fields that a newer platform adds
are left out.

{types}"""


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "manifest.md": manifest_page,
    "metrics.md": metrics_page,
    "rest.md": rest_page,
    "cli.md": cli_page,
    "lambda-api.md": lambda_page,
    "python.md": client_page,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for name, page in PAGES.items():
        path, text = REFERENCE / name, NOTE + "\n" + page()
        if check and (not path.exists() or path.read_text() != text):
            stale.append(str(path))
        elif not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    if stale:
        print(f"these pages do not match the code; run `make docs`: {', '.join(stale)}", file=sys.stderr)
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
