"""`isotherm decisions` and `isotherm warmth`: names, flags and help, as `main` has those of the other commands."""

from typing import Annotated

import typer

from isotherm.cli.connect import connect
from isotherm.cli.options import FunctionName, Json, Limit, Namespace

__all__ = ["register_warmth"]


def register_warmth(app: typer.Typer) -> None:
    app.command()(decisions)
    app.command()(warmth)


def decisions(name: FunctionName, limit: Limit = 20, namespace: Namespace = None, json_: Json = False) -> None:
    """List what the policy decided about a function, the newest first: what it forecast, what it chose, and why."""
    from isotherm.cli.commands import warmth as command

    with connect(namespace) as client:
        command.list_decisions(client, name, limit)


def warmth(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Of one function; default: of the whole platform.")
    ] = None,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Show what the warming policy thinks now: of one function, or of all (with a role in all namespaces)."""
    from isotherm.cli.commands import warmth as command

    with connect(namespace) as client:
        if name is None:
            command.show_platform(client)
        else:
            command.show(client, name)
