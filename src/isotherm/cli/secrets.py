"""`isotherm secrets`: names, flags and help of its commands."""

from pathlib import Path
from typing import Annotated

import typer

from isotherm.cli.connect import connect
from isotherm.cli.options import Json, Namespace

__all__ = ["secrets"]

secrets = typer.Typer(help="Values that functions get as variables and nobody reads back.", no_args_is_help=True)


@secrets.command("set")
def set_secret(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and hyphens.")],
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Take the value from a file.")] = None,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Set a secret to what comes on standard input; a person is asked for it. Its functions get it within seconds."""
    from isotherm.cli.commands import secrets as command

    with connect(namespace) as client:
        command.set_value(client, name, file)


@secrets.command("ls")
def list_secrets(namespace: Namespace = None, json_: Json = False) -> None:
    """List the secrets of a namespace and the functions that take them; values are never shown."""
    from isotherm.cli.commands import secrets as command

    with connect(namespace) as client:
        command.list_secrets(client)


@secrets.command("rm")
def remove_secret(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    force: Annotated[bool, typer.Option("--force", help="Even where functions take it.")] = False,
    namespace: Namespace = None,
    json_: Json = False,
) -> None:
    """Remove a secret that no function takes."""
    from isotherm.cli.commands import secrets as command

    with connect(namespace) as client:
        command.remove(client, name, force)
