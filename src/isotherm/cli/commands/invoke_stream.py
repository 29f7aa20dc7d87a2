"""`isotherm invoke --stream`: Lambda's InvokeWithResponseStream, printed as it comes."""

import sys

from isotherm.cli.commands.invoke import read_payload
from isotherm.client import Client

__all__ = ["run"]


def run(client: Client, name: str, data: str | None, qualifier: str | None, tail: bool) -> None:
    """Write each piece to standard output at once. Raises what the function failed with, before or in the middle of
    its answer."""
    out = sys.stdout.buffer
    last = b""
    try:
        for piece in client.functions.stream(
            name, read_payload(data), qualifier=qualifier, on_log=_log if tail else None
        ):
            out.write(piece)
            out.flush()
            last = piece[-1:] or last
    finally:
        if last not in (b"", b"\n"):
            out.write(b"\n")
            out.flush()


def _log(text: str) -> None:
    sys.stderr.write(text)
