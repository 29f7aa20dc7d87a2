"""Arguments and flags that many commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from isotherm.cli.output import output

__all__ = ["DataFolder", "DatabaseUrl", "FunctionName", "Json", "Limit", "Namespace", "QueueDatabaseUrl", "RoleName"]


RoleName = Literal["admin", "developer", "viewer", "invoker"]


def _set_json(value: bool) -> bool:
    output.json = value
    return value


Json = Annotated[bool, typer.Option("--json", help="Print JSON, errors included.", callback=_set_json, is_eager=True)]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Namespace; default: ISOTHERM_NAMESPACE, the profile's, or default."),
]
FunctionName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the function.", show_default=False)]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="At most this many.")]
DataFolder = Annotated[Path | None, typer.Option("--data", help="Folder of the platform's state.")]
DatabaseUrl = Annotated[
    str | None, typer.Option("--database", help="postgresql://… or sqlite:///…; default: SQLite in the data folder.")
]
QueueDatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--queue-database",
        help="Of asynchronous calls: postgresql://…, or `database` for that of --database; default: a file.",
    ),
]
