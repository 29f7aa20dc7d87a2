"""One engine and its migrations: SQLite by default, Postgres by the same code."""
