"""Settings of workloads in SQL."""

import msgspec
import sqlalchemy
from sqlalchemy import Column, LargeBinary, Table, Text
from sqlalchemy.orm import Session

from isotherm.db.tables import control_tables
from isotherm.workloads.settings_model import Setting, SettingRow, kind_of_setting

__all__ = ["delete_setting", "delete_settings", "list_settings", "put_setting", "workload_settings"]

# Without a foreign key: settings are no projection, and outlive a rebuilding of the workloads.
workload_settings = Table(
    "workload_settings",
    control_tables,
    Column("workload_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("qualifier", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),  # JSON: Setting
)

_setting: msgspec.json.Decoder[Setting] = msgspec.json.Decoder(Setting)


def put_setting(session: Session, workload_id: str, qualifier: str, setting: Setting) -> None:
    kind = kind_of_setting(setting)
    delete_setting(session, workload_id, kind, qualifier)
    session.execute(
        sqlalchemy.insert(workload_settings).values(
            workload_id=workload_id, kind=kind, qualifier=qualifier, body=msgspec.json.encode(setting)
        )
    )


def delete_setting(session: Session, workload_id: str, kind: str, qualifier: str) -> bool:
    """Whether it was there."""
    mine = (workload_settings.c.workload_id == workload_id, workload_settings.c.kind == kind)
    deleted = session.execute(
        sqlalchemy.delete(workload_settings).where(*mine, workload_settings.c.qualifier == qualifier)
    )
    return bool(deleted.rowcount)  # type: ignore[attr-defined]  # it is one of rows


def delete_settings(session: Session, workload_id: str, qualifier: str | None = None) -> None:
    """Of a workload, or of one of its qualifiers."""
    query = sqlalchemy.delete(workload_settings).where(workload_settings.c.workload_id == workload_id)
    if qualifier is not None:
        query = query.where(workload_settings.c.qualifier == qualifier)
    session.execute(query)


def list_settings(session: Session, workload_id: str) -> list[SettingRow]:
    """By kind and qualifier."""
    query = sqlalchemy.select(workload_settings.c.qualifier, workload_settings.c.body)
    query = query.where(workload_settings.c.workload_id == workload_id)
    found = session.execute(query.order_by(workload_settings.c.kind, workload_settings.c.qualifier))
    return [SettingRow(qualifier=row.qualifier, setting=_setting.decode(row.body)) for row in found]
