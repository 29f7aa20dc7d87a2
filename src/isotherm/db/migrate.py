"""Migrations run when the platform starts: an older schema is brought up, a newer one is refused."""

from pathlib import Path
from typing import Literal

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.schema import CreateSchema

from isotherm.base.errors import Unavailable
from isotherm.db.engine import Database
from isotherm.db.engines import WRITE

__all__ = ["Family", "upgrade"]

Family = Literal["control", "records"]
_folder = Path(__file__).parent / "migrations"


def upgrade(database: Database, family: Family) -> None:
    """Bring the schema up to this version of Isotherm, in one transaction.

    Raises `Unavailable` where the schema is one that this version does not know: a newer Isotherm made it.
    """
    config = Config()
    config.set_main_option("script_location", str(_folder))
    config.set_main_option("version_locations", str(_folder / family))
    config.set_main_option("path_separator", "newline")
    scripts = ScriptDirectory.from_config(config)
    with database.writing(), database.write_engine.execution_options(**{WRITE: True}).begin() as connection:
        if database.schema is not None:
            connection.execute(CreateSchema(database.schema, if_not_exists=True))
        found = MigrationContext.configure(connection).get_current_heads()
        known = {script.revision for script in scripts.walk_revisions()}
        strange = sorted(set(found) - known)
        if strange:
            raise Unavailable(
                f"the database {database.name} has the schema {', '.join(strange)}, which this version of Isotherm "
                f"does not know (its newest is {scripts.get_current_head()}): a newer version made it. "
                "Start that version, or restore a backup from before the upgrade",
                found=strange,
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
