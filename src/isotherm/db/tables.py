"""The tables' registries, one per database, and the table of facts about the database itself.

Rooms declare their tables on these in their `store.py`; `migrations/` makes them.
"""

import sqlalchemy
from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text
from sqlalchemy.orm import Session

__all__ = ["BigInt", "control_tables", "meta", "read_meta", "records_tables", "write_meta"]

_names = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

control_tables = MetaData(naming_convention=_names)
records_tables = MetaData(naming_convention=_names)

BigInt = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts only columns of type INTEGER up

meta = Table("meta", control_tables, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))


def read_meta(session: Session, name: str) -> str | None:
    """A fact about the database: `epoch`, `bootstrap_key`."""
    return session.execute(sqlalchemy.select(meta.c.value).where(meta.c.name == name)).scalar_one_or_none()


def write_meta(session: Session, name: str, value: str) -> None:
    session.execute(sqlalchemy.delete(meta).where(meta.c.name == name))
    session.execute(sqlalchemy.insert(meta).values(name=name, value=value))
