"""The first tables, and the triggers that keep events and verdicts as they are."""

from alembic import op

from flawmap.server.record.tables import Base

revision = "1"
down_revision = None

_APPEND_ONLY = ("event", "checkpoint")
_FINAL = "OLD.state <> 'waiting'"


def upgrade() -> None:
    """Make the tables and triggers."""
    connection = op.get_bind()
    Base.metadata.create_all(connection)
    make = _for_sqlite if connection.dialect.name == "sqlite" else _for_postgresql
    for table in _APPEND_ONLY:
        make(table, "UPDATE", "", f"{table} is append only")
        make(table, "DELETE", "", f"{table} is append only")
    make("inspection", "UPDATE", _FINAL, "a verdict never changes")
    make("inspection", "DELETE", "", "an inspection is never deleted")


def _for_sqlite(table: str, change: str, condition: str, message: str) -> None:
    when = f"WHEN {condition} " if condition else ""
    op.execute(
        f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} {when}"
        f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
    )


def _for_postgresql(table: str, change: str, condition: str, message: str) -> None:
    name = f"{table}_no_{change.lower()}"
    when = f"WHEN ({condition}) " if condition else ""
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger AS $$ BEGIN "
        f"RAISE EXCEPTION '{message}'; END $$ LANGUAGE plpgsql"
    )
    op.execute(
        f"CREATE TRIGGER {name} BEFORE {change} ON {table} FOR EACH ROW {when}"
        f"EXECUTE FUNCTION {name}()"
    )
