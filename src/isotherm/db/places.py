"""Where the state of a platform lies: two SQLite files in the data folder, or one Postgres database."""

from dataclasses import dataclass
from pathlib import Path

from isotherm.db.engine import Database
from isotherm.db.migrate import upgrade

__all__ = ["RECORDS_SCHEMA", "Databases", "open_databases"]

RECORDS_SCHEMA = "isotherm_records"  # on Postgres


@dataclass(frozen=True, slots=True)
class Databases:
    """`control` holds what was decided, `records` what was measured: taking in telemetry makes no command wait."""

    control: Database
    records: Database

    def upgrade(self) -> None:
        """Bring both schemas up to this version. Raises as `isotherm.db.migrate.upgrade`."""
        upgrade(self.control, "control")
        upgrade(self.records, "records")

    def close(self) -> None:
        self.control.close()
        self.records.close()


def open_databases(data_dir: Path, url: str | None) -> Databases:
    """`url` None: SQLite in `data_dir`. SQLite elsewhere has its records in `data_dir`. Raises `Invalid`."""
    control = Database(url or data_dir / "control.db", sole_writer=True)
    if control.is_sqlite:
        return Databases(control, Database(data_dir / "records.db"))
    return Databases(control, Database(control.url, schema=RECORDS_SCHEMA, sole_writer=True))
