"""`isotherm invoke`: call a function with Lambda's Invoke and print what it answers."""

import json
import sys
from pathlib import Path
from typing import Any

from isotherm.base.errors import FunctionFailed, Invalid
from isotherm.cli.output import output
from isotherm.client import Client
from isotherm.client.invoking import failure_of
from isotherm.client.model import Answer

__all__ = ["read_payload", "run", "run_async"]


def run(client: Client, name: str, data: str | None, qualifier: str | None, tail: bool, dry_run: bool) -> None:
    """Print the answer. Raises `HandlerFailed` with the user's traceback where the handler raised."""
    payload = read_payload(data)
    answer = client.functions.invoke(name, payload, qualifier=qualifier, tail=tail, dry_run=dry_run, check=False)
    if output.json:
        _print_json(answer)
        if answer.error:
            raise SystemExit(FunctionFailed.exit_code)
        return
    if answer.log is not None:
        sys.stderr.write(answer.log if answer.log.endswith("\n") or not answer.log else answer.log + "\n")
    if answer.error:
        raise failure_of(answer.payload, answer.request_id)
    _print(answer.payload)


def run_async(client: Client, name: str, data: str | None, qualifier: str | None) -> None:
    """Print the id under which `isotherm queue show` finds what became of it."""
    call = client.functions.invoke_async(name, read_payload(data), qualifier=qualifier)
    if output.json:
        output.result({"status": 202, "request_id": call.id})
        return
    output.line(call.id)


def read_payload(data: str | None) -> bytes:
    """`-d`: JSON as it is, `@FILE`, or `-` for standard input. Raises `Invalid` where it is not JSON."""
    if data is None:
        return b"{}"
    source = "-d"
    try:
        if data == "-":
            source, content = "standard input", sys.stdin.buffer.read()
        elif data.startswith("@"):
            source, content = data[1:], Path(data[1:]).read_bytes()
        else:
            content = data.encode()
    except OSError as exc:
        raise Invalid(f"-d {data}: {exc.strerror}; give JSON, @FILE, or - for standard input") from exc
    try:
        json.loads(content)
    except ValueError as exc:
        raise Invalid(f"{source}: not JSON ({exc}); a string needs its quotes, as in -d '\"text\"'") from exc
    return content


def _print(payload: bytes) -> None:
    """JSON in lines for a person, as it came for a program."""
    if sys.stdout.isatty():
        try:
            sys.stdout.write(json.dumps(json.loads(payload), indent=2, ensure_ascii=False) + "\n")
        except ValueError:
            sys.stdout.write(payload.decode("utf-8", "replace") + "\n")
        return
    sys.stdout.buffer.write(payload)
    if not payload.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.flush()


def _print_json(answer: Answer) -> None:
    output.result(
        {
            "status": answer.status,
            "version": answer.version,
            "error": answer.error,
            "request_id": answer.request_id,
            "timing": answer.timing,
            "log": answer.log,
            "payload": _value(answer.payload),
        }
    )


def _value(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return payload.decode("utf-8", "replace")
