"""Migrations run when the platform starts: an older schema is brought up, a newer one is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.schema import CreateSchema

from isotherm.base.errors import Invalid, Unavailable
from isotherm.db.engine import Database
from isotherm.db.engines import WRITE

__all__ = ["Family", "migrate", "revisions", "schema_of", "upgrade"]

Family = Literal["control", "records"]
_folder = Path(__file__).parent / "migrations"


def upgrade(database: Database, family: Family) -> None:
    """Bring the schema up to this version of Isotherm, in one transaction.

    Raises `Unavailable` where the schema is one that this version does not know: a newer Isotherm made it.
    """
    with _prepared(database, family) as (config, _):
        command.upgrade(config, "head")


def migrate(database: Database, family: Family, to: str) -> None:
    """Bring the schema up or down to one of `revisions`, or to nothing (`base`), in one transaction.

    Raises `Invalid` where there is no such schema, `Unavailable`.
    """
    known = ["base", *revisions(family)]
    if to not in known:
        raise Invalid(f"there is no schema {to[:100]!r} of {family}; there are {', '.join(known[1:])}", known=known[1:])
    with _prepared(database, family) as (config, found):
        if known.index(found or known[0]) > known.index(to):
            command.downgrade(config, to)
        else:
            command.upgrade(config, to)


def revisions(family: Family) -> list[str]:
    """The schemas that this version of Isotherm knows, the oldest first."""
    scripts = ScriptDirectory.from_config(_config(family))
    return [script.revision for script in reversed(list(scripts.walk_revisions()))]


def schema_of(database: Database) -> str | None:
    """The schema that a database has; None where it is new."""
    with database.read() as session:
        return MigrationContext.configure(session.connection()).get_current_revision()


@contextmanager
def _prepared(database: Database, family: Family) -> Iterator[tuple[Config, str | None]]:
    config = _config(family)
    known = revisions(family)
    with database.writing(), database.write_engine.execution_options(**{WRITE: True}).begin() as connection:
        if database.schema is not None:
            connection.execute(CreateSchema(database.schema, if_not_exists=True))
        found = MigrationContext.configure(connection).get_current_heads()
        strange = sorted(set(found) - set(known))
        if strange:
            raise Unavailable(
                f"the database {database.name} has the schema {', '.join(strange)}, which this version of Isotherm "
                f"does not know (its newest is {known[-1]}): a newer version made it. "
                "Start that version, or restore a backup from before the upgrade",
                found=strange,
            )
        config.attributes["connection"] = connection
        yield config, found[0] if found else None


def _config(family: Family) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_folder))
    config.set_main_option("version_locations", str(_folder / family))
    config.set_main_option("path_separator", "newline")
    return config
