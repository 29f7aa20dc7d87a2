"""`isotherm.toml`: what a function is called and how it runs, beside its code.

Its keys are those of `FunctionConfig` (all but `package`, `development` and `debug`) and `name`; types and bounds are
declared there alone.
"""

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from isotherm.base.errors import InvalidManifest
from isotherm.base.ids import FUNCTION_PATTERN, is_function_name
from isotherm.functions.languages import expected_handler
from isotherm.functions.model import (
    AsyncConfig,
    CronConfig,
    EnvName,
    EnvValue,
    FunctionConfig,
    RecordsConfig,
    SecretName,
    WarmConfig,
)
from isotherm.wire.egress import EgressAllow
from isotherm.workloads.rollout_model import RolloutPlan

__all__ = ["MANIFEST", "Manifest", "RolloutPlan", "parse_manifest", "read_manifest"]

MANIFEST = "isotherm.toml"
_MAX_BYTES = 1 << 20
_not_of_files = {"package", "development", "debug"}  # said by whoever deploys, not by what is deployed
_tables: dict[type, str] = {dict: "table", list: "list"}
_types = {"`int`": "a whole number", "`float`": "a number", "`str`": "text in quotes", "`bool`": "true or false"}
_types |= {"`object`": "a table", "`array`": "a list", "`null`": "nothing"}
_nested: dict[str, type[msgspec.Struct]] = {
    "warm": WarmConfig,
    "asynchronous": AsyncConfig,
    "rollout": RolloutPlan,
    "records": RecordsConfig,
}
_forms = {  # of keys whose type alone does not say it
    "handler": "text without spaces, such as app.handler",
    "runtime": "python3.N, nodejs, nodejsN or provided",
    "egress": '"deny", "open", or a table such as [egress] and then hosts = ["api.example.com"]',
    "hosts": 'a list of texts, such as ["api.example.com:443"]',
    "cidrs": 'a list of texts, such as ["203.0.113.0/24:5432"]',
    "env": 'a table of names and texts, such as [env] and then MODE = "fast"',
    "secrets": 'a table of variables and names of secrets, such as [secrets] and then TOKEN = "api-token"',
}

_entries: dict[str, tuple[Any, str]] = {  # of the tables of variables: what a value is, and how to say it
    "env": (EnvValue, "text in quotes, at most 32768 characters"),
    "secrets": (SecretName, "the name of a secret: lower-case letters, digits and hyphens, the first a letter"),
}


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed manifest. `fields` holds what was given, by the names of `FunctionConfig`."""

    name: str
    fields: dict[str, Any]

    def config(self, package: str) -> FunctionConfig:
        """The configuration to deploy with the package of this digest."""
        return FunctionConfig(package=package, **self.fields)


def read_manifest(path: Path) -> Manifest:
    """Parse a file. Raises `InvalidManifest` with all that is wrong in it."""
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError as exc:
        raise InvalidManifest(f"{path}: there is no such file; `isotherm init` makes one", file=str(path)) from exc
    except OSError as exc:
        raise InvalidManifest(f"{path}: cannot be read: {exc.strerror}", file=str(path)) from exc
    if len(content) > _MAX_BYTES:
        raise InvalidManifest(f"{path}: larger than 1 MiB; is this the right file?", file=str(path))
    return parse_manifest(content, str(path))


def parse_manifest(content: bytes, file: str = MANIFEST) -> Manifest:
    """Parse the text of a manifest; `file` is how messages call it. Raises `InvalidManifest`."""
    try:
        document = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise InvalidManifest(f"{file}: not valid TOML: {exc}", file=file) from exc
    problems: list[str] = []
    name = document.pop("name", None)
    if name is None:
        problems.append('name: missing; expected a line such as name = "hello"')
    elif not isinstance(name, str) or not is_function_name(name):
        problems.append(f"name: expected a string that matches {FUNCTION_PATTERN}, got {_shown(name)}")
    tables = {key: document.pop(key) for key in _nested if key in document}
    egress = document.pop("egress") if isinstance(document.get("egress"), dict) else None
    crons = document.pop("cron", None)
    hidden = {"cron", *_nested}
    fields = _convert(FunctionConfig, document, "", {*_not_of_files, *hidden}, {"name", *hidden}, problems)
    problems += _problems_of_handler(fields)
    for key, table in tables.items():
        if isinstance(table, dict):
            fields[key] = _nested[key](**_convert(_nested[key], table, f"{key}.", set(), set(), problems))
        else:
            problems.append(f"{key}: expected a table, got {_shown(table)}")
    if isinstance(crons, list) and all(isinstance(cron, dict) for cron in crons):
        fields["cron"] = [_cron(cron, f"cron[{number}].", problems) for number, cron in enumerate(crons)]
    elif crons is not None:
        problems.append(f"cron: expected tables, each begun by [[cron]], got {_shown(crons)}")
    if egress is not None:
        fields["egress"] = EgressAllow(**_convert(EgressAllow, egress, "egress.", set(), set(), problems))
    if problems:
        text = problems[0] if len(problems) == 1 else "".join(f"\n  {problem}" for problem in problems)
        raise InvalidManifest(f"{file}: {text}", file=file, problems=problems)
    return Manifest(name=str(name), fields=fields)


def _cron(table: dict[str, Any], prefix: str, problems: list[str]) -> CronConfig | None:
    values = _convert(CronConfig, table, prefix, set(), set(), problems)
    missing = [key for key in ("name", "schedule") if key not in table]
    problems += [f"{prefix}{key}: missing" for key in missing]
    return CronConfig(**values) if {"name", "schedule"} <= values.keys() else None


def _convert(
    kind: type[msgspec.Struct],
    table: dict[str, Any],
    prefix: str,
    hidden: set[str],
    also_known: set[str],
    problems: list[str],
) -> dict[str, Any]:
    """The values of `table` as fields of `kind`; what is wrong goes to `problems`."""
    hints = get_type_hints(kind, include_extras=True)
    known = [name for name in kind.__struct_fields__ if name not in hidden]
    values = {}
    for key, value in table.items():
        if key not in known:
            problems.append(_unknown(prefix, key, [*known, *also_known], isinstance(value, dict)))
            continue
        found = _problems_of_entries(key, value) if key in _entries and isinstance(value, dict) else []
        try:
            values[key] = msgspec.convert(value, hints[key])
        except msgspec.ValidationError as exc:
            problems += found or [f"{prefix}{key}: {_expectation(key, hints[key], exc)}; got {_shown(value)}"]
    return values


def _problems_of_handler(fields: dict[str, Any]) -> list[str]:
    """Whether it is named as its runtime finds it."""
    expected = expected_handler(fields.get("runtime"), fields["handler"]) if "handler" in fields else None
    return [] if expected is None else [f"handler: expected {expected}; got {_shown(fields['handler'])}"]


def _problems_of_entries(key: str, table: dict[str, Any]) -> list[str]:
    """What is wrong with single variables."""
    kind_of_value, expected_value = _entries[key]
    found = []
    for name, value in table.items():
        for kind, part, expected in (
            (EnvName, name, "a name of letters, digits and _ that does not begin with a digit"),
            (kind_of_value, value, expected_value),
        ):
            try:
                msgspec.convert(part, kind)
            except msgspec.ValidationError:
                found.append(f"{key}.{name}: expected {expected}; got {_shown(part)}")
    return found


def _unknown(prefix: str, key: str, known: list[str], is_table: bool) -> str:
    what = "table" if is_table else "key"
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if close:
        return f"{prefix}{key}: unknown {what}; did you mean {prefix}{close[0]}?"
    return f"{prefix}{key}: unknown {what}; expected one of {', '.join(sorted(known))}"


def _expectation(key: str, hint: Any, problem: msgspec.ValidationError) -> str:
    """What a value must be: from msgspec's sentence, in words that a TOML file has."""
    if key in _forms:
        return f"expected {_forms[key]}"
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) is Literal:
        return f"expected {' or '.join(str(choice) for choice in get_args(hint))}"
    text = str(problem).partition(" - at ")[0].partition(", got")[0]
    for name, word in _types.items():
        text = text.replace(name, word)
    return text[:1].lower() + text[1:]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = (
        repr(value) if isinstance(value, (str, int, float)) else f"a {_tables.get(type(value), type(value).__name__)}"
    )
    return text if len(text) <= 80 else text[:77] + "…"
