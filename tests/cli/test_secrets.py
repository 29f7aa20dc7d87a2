"""`isotherm secrets` against a scripted platform: where a value comes from, and that none is printed."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

Isotherm = Callable[..., Any]
SECRETS = "/api/v1/namespaces/default/secrets"
VALUE = "s3cr3t-value"
SECRET = {
    "namespace": "default",
    "name": "token",
    "version": 2,
    "created_at_ms": 0,
    "updated_at_ms": 1000,
    "used_by": ["hello", "mail"],
    "etag": "token-2",
}


class Typed(io.TextIOWrapper):
    """Standard input with these bytes."""

    def __init__(self, content: bytes, *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(content))
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def settable(platform: Any) -> Any:
    platform.on(f"PUT {SECRETS}/token", SECRET)
    return platform


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        (b"s3cr3t-value", "s3cr3t-value"),
        (b"s3cr3t-value\n", "s3cr3t-value"),
        (b"s3cr3t-value\r\n", "s3cr3t-value"),
        (b"two\nlines\n\n", "two\nlines\n"),
        ("naïve".encode(), "naïve"),
    ],
)
def test_a_value_comes_from_standard_input_without_its_last_line_break(
    isotherm: Isotherm, settable: Any, monkeypatch: pytest.MonkeyPatch, typed: bytes, value: str
) -> None:
    monkeypatch.setattr(sys, "stdin", Typed(typed))
    ran = isotherm("secrets", "set", "token")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "token is set, version 2; hello, mail will have it within seconds\n"
    assert settable.asked[-1].json == {"value": value}


def test_a_file_is_taken_as_it_is(isotherm: Isotherm, settable: Any, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(b"-----BEGIN-----\nabc\n-----END-----\n")
    assert isotherm("secrets", "set", "token", "--file", str(tmp_path / "key.pem")).code == 0
    assert settable.asked[-1].json == {"value": "-----BEGIN-----\nabc\n-----END-----\n"}
    missing = isotherm("secrets", "set", "token", "--file", str(tmp_path / "none"))
    assert missing.code == 64
    assert "none: cannot be read" in missing.err


def test_a_person_is_asked_and_sees_nothing(isotherm: Isotherm, settable: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def prompt(text: str, **options: Any) -> str:
        asked.append({"text": text} | options)
        return VALUE

    monkeypatch.setattr(sys, "stdin", Typed(b"", terminal=True))
    monkeypatch.setattr(typer, "prompt", prompt)
    ran = isotherm("secrets", "set", "token")
    assert settable.asked[-1].json == {"value": VALUE}
    assert asked[0]["hide_input"] is True
    assert VALUE not in ran.out + ran.err


@pytest.mark.parametrize(
    ("typed", "said"), [(b"s3cr3t\xff", "not UTF-8"), (b"s3cr3t" * 10_000, "larger than 49152"), (b"\n", "is empty")]
)
def test_what_cannot_be_a_value_is_refused_without_showing_it(
    isotherm: Isotherm, settable: Any, monkeypatch: pytest.MonkeyPatch, typed: bytes, said: str
) -> None:
    monkeypatch.setattr(sys, "stdin", Typed(typed))
    ran = isotherm("secrets", "set", "token")
    assert ran.code == 64
    assert said in ran.err
    assert "s3cr3t" not in ran.out + ran.err
    assert settable.asked == []


def test_a_value_is_no_argument(isotherm: Isotherm, settable: Any) -> None:
    assert isotherm("secrets", "set", "token", VALUE).code == 64
    assert settable.asked == []


def test_the_list_says_who_takes_each(isotherm: Isotherm, platform: Any) -> None:
    platform.on(f"GET {SECRETS}", {"items": [SECRET], "next_cursor": None})
    head, _, row = isotherm("secrets", "ls").out.splitlines()
    assert head.split() == ["NAME", "VERSION", "AGE", "CHANGED", "USED", "BY"]
    assert row.startswith("token")
    assert row.endswith("hello, mail")
    assert isotherm("secrets", "ls", "--json").json["items"] == [SECRET]
    platform.on("GET /api/v1/namespaces/team/secrets", {"items": [], "next_cursor": None})
    assert "isotherm secrets set NAME" in isotherm("secrets", "ls", "-n", "team").out


def test_a_secret_that_is_used_is_removed_by_force(isotherm: Isotherm, platform: Any) -> None:
    problem = {"code": "conflict", "detail": "the secret 'token' is used by hello", "data": {"used_by": ["hello"]}}
    platform.on(f"DELETE {SECRETS}/token", problem, 409)
    refused = isotherm("secrets", "rm", "token")
    assert refused.code == 73
    assert "used by hello" in refused.err
    platform.on(f"DELETE {SECRETS}/token", None, 204)
    assert isotherm("secrets", "rm", "token", "--force", "--json").json == {"deleted": "token"}
    assert platform.asked[-1].query == "force=true"


def test_show_names_secrets_and_says_where_former_values_go_on(isotherm: Isotherm, platform: Any) -> None:
    revision = {
        "id": "rev_1",
        "number": 1,
        "state": "ready",
        "created_at_ms": 0,
        "config": {"secrets": {"TOKEN": "token", "A": "other"}},
    }
    function = {
        "id": "wl_1",
        "namespace": "default",
        "name": "hello",
        "url": "http://127.0.0.1:7071/hello/",
        "latest": revision,
        "states": [{"revision_id": "rev_1", "outdated": "ValueError: ******** is no good"}],
    }
    platform.on("GET /api/v1/namespaces/default/functions/hello", function)
    platform.on("GET /api/v1/namespaces/default/functions/hello/revisions", {"items": [revision]})
    out = isotherm("show", "hello").out
    assert "  secrets         A = other, TOKEN = token\n" in out
    assert "  former secrets  revision 1: ValueError: ******** is no good\n" in out
