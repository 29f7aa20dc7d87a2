"""`isotherm invoke --stream`: Lambda's InvokeWithResponseStream, printed as it comes."""

import base64
import json
import sys

from isotherm.base.errors import HandlerFailed, IsothermError
from isotherm.cli.client import Client
from isotherm.cli.commands.invoke import read_payload

__all__ = ["run"]


def run(client: Client, name: str, data: str | None, qualifier: str | None, tail: bool) -> None:
    """Write each piece to standard output at once. Raises `HandlerFailed` where the function failed, before or in the
    middle of its answer."""
    out = sys.stdout.buffer
    last = b""
    for event in client.invoke_stream(name, read_payload(data), qualifier=qualifier, tail=tail):
        if event.kind == "PayloadChunk":
            out.write(event.payload)
            out.flush()
            last = event.payload[-1:] or last
        elif event.kind == "InvokeComplete":
            if last not in (b"", b"\n"):
                out.write(b"\n")
                out.flush()
            _complete(json.loads(event.payload))
            return
    raise IsothermError("the answer broke off before the function had ended")


def _complete(fields: dict[str, str]) -> None:
    if "LogResult" in fields:
        sys.stderr.write(base64.b64decode(fields["LogResult"]).decode("utf-8", "replace"))
    if "ErrorCode" not in fields:
        return
    details = json.loads(fields.get("ErrorDetails") or "{}")
    kind, message = details.get("errorType", fields["ErrorCode"]), details.get("errorMessage", "")
    raise HandlerFailed(
        f"{kind}: {message} (request {details.get('requestId', '')})",
        error_type=kind,
        error_message=message,
        stack_trace=details.get("stackTrace") or [],
    )
