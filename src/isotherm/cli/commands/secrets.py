"""`isotherm secrets`: values that functions get as variables, and that nobody reads back."""

import sys
from pathlib import Path

import msgspec
import typer

from isotherm.base.errors import Invalid
from isotherm.cli.output import output
from isotherm.cli.times import age
from isotherm.client import Client

__all__ = ["list_secrets", "remove", "set_value"]

MAX_BYTES = 48 * 1024  # the platform's own limit; what is larger is not even read
_READ_BYTES = MAX_BYTES + 3  # so that a value of the largest size may end with a line break, and more is noticed


def set_value(client: Client, name: str, file: Path | None) -> None:
    """Set it to what the file holds, else standard input, else what a person types unseen."""
    secret = client.secrets.set(name, _value(name, file))
    if output.json:
        output.result(msgspec.to_builtins(secret))
        return
    taken_up = f"; {', '.join(secret.used_by)} will have it within seconds" if secret.used_by else ""
    output.line(f"{name} is set, version {secret.version}{taken_up}")


def list_secrets(client: Client) -> None:
    found = list(client.secrets.list())
    if output.json:
        output.result({"items": msgspec.to_builtins(found)})
        return
    output.table(
        ("NAME", ">VERSION", ">AGE", ">CHANGED", "USED BY"),
        (
            (each.name, each.version, age(each.created_at_ms), age(each.updated_at_ms), ", ".join(each.used_by))
            for each in found
        ),
        f"no secrets in {client.namespace}; `isotherm secrets set NAME` makes one",
    )


def remove(client: Client, name: str, force: bool) -> None:
    """Refused by the platform where a function takes it, unless by force."""
    client.secrets.delete(name, force=force)
    if output.json:
        output.result({"deleted": name})
        return
    output.line(f"removed the secret {name}")


def _value(name: str, file: Path | None) -> str:
    """A file is taken as it is; of standard input the last line break is not part of the value."""
    if file is not None:
        return _text(name, _content(file))
    if sys.stdin.isatty():
        return str(typer.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True, err=True))
    typed = _text(name, sys.stdin.buffer.read(_READ_BYTES))
    return typed.removesuffix("\n").removesuffix("\r")


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(_READ_BYTES)
    except OSError as exc:
        raise Invalid(f"--file {file}: cannot be read: {exc.strerror}") from exc


def _text(name: str, content: bytes) -> str:
    if len(content) == _READ_BYTES:
        raise Invalid(f"secrets set {name}: the value is larger than {MAX_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:  # not its cause: that shows the bytes
        raise Invalid(f"secrets set {name}: the value is not UTF-8 text; encode it, in base64 for example") from None
