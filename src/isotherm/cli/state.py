"""`export`, `import`, `migrate` and `audit`: keeping the state, and checking that it is what it was."""

from pathlib import Path
from typing import Annotated

import typer

from isotherm.cli.options import DatabaseUrl, DataFolder, Json, QueueDatabaseUrl

__all__ = ["audit", "register_state"]

audit = typer.Typer(help="Check the log of who did what, and what was made of it.", no_args_is_help=True)


def register_state(app: typer.Typer) -> None:
    """Those that stand by themselves; `audit` is a group."""
    app.command("export")(export_state)
    app.command("import")(import_state)
    app.command("migrate")(migrate)


def export_state(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write the archive; - for standard output.")],
    data: DataFolder = None,
    database: DatabaseUrl = None,
    queue_database: QueueDatabaseUrl = None,
    with_keys: Annotated[bool, typer.Option("--with-keys", help="Put the master key into it.")] = False,
    json_: Json = False,
) -> None:
    """Write all state into one file, from one moment; the platform may run or not."""
    from isotherm.cli.commands import keep

    keep.export_state(file, data, database, queue_database, with_keys)


def import_state(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An archive of `isotherm export`.")],
    data: DataFolder = None,
    database: DatabaseUrl = None,
    queue_database: QueueDatabaseUrl = None,
    json_: Json = False,
) -> None:
    """Read an archive into a new data folder, and new databases where they are named."""
    from isotherm.cli.commands import keep

    keep.import_state(file, data, database, queue_database)


def migrate(
    data: DataFolder = None,
    database: DatabaseUrl = None,
    to: Annotated[
        list[str] | None, typer.Option("--to", metavar="DATABASE=SCHEMA", help="newest, or control=… and records=….")
    ] = None,
    json_: Json = False,
) -> None:
    """Show the schemas of the databases, or bring them up or down; the platform is stopped then."""
    from isotherm.cli.commands import keep

    keep.migrate(data, database, to or [])


@audit.command("head")
def audit_head(data: DataFolder = None, database: DatabaseUrl = None, json_: Json = False) -> None:
    """Print the newest hash of the log: kept elsewhere, it vouches for all up to here."""
    from isotherm.cli.commands import keep

    keep.head(data, database)


@audit.command("verify")
def audit_verify(
    data: DataFolder = None,
    database: DatabaseUrl = None,
    expect: Annotated[str | None, typer.Option(metavar="HASH", help="A hash that was the head once.")] = None,
    json_: Json = False,
) -> None:
    """Check that each event follows from the one before; exits 65 and names the first that does not.

    Without --data it asks the platform. What was cut off at the end only --expect can tell.
    """
    from isotherm.cli.commands import keep

    raise typer.Exit(keep.verify(data, database, expect))


@audit.command("rebuild")
def audit_rebuild(
    data: DataFolder = None,
    database: DatabaseUrl = None,
    check: Annotated[bool, typer.Option("--check", help="Only compare; the platform may run.")] = False,
    json_: Json = False,
) -> None:
    """Make the tables that follow from the log anew, and mend what is unlike; the platform is stopped then."""
    from isotherm.cli.commands import keep

    raise typer.Exit(keep.rebuild(data, database, check))
