"""Statements that are built once: to build one takes SQLAlchemy longer than to run it."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

from sqlalchemy import Delete, Insert, Select, Table, Update, and_, bindparam, desc, insert, select
from sqlalchemy import update as update_table
from sqlalchemy.dialects import postgresql, sqlite

from flawmap.server.record.tables import Base, Event, Inspection, Tally

KEY = "key_"
"""Begins the names of the parameters that an update finds its row by."""

Statement = Insert | Update | Delete

HEAD: Select[*tuple[Any, ...]] = (
    select(Event.seq, Event.hash, Event.at).order_by(desc(Event.seq)).limit(1)
)
"""Number, hash and time of the last event."""

INSERT_EVENT: Statement = insert(Event)
"""An event, by the names of its columns."""

PRODUCT_OF: Select[*tuple[Any, ...]] = select(Inspection.product, Inspection.purpose).where(
    Inspection.id == bindparam("id")
)
"""Product and purpose of the part with an `id`."""


@cache
def insert_row(table: Table) -> Statement:
    """A row, by the names of its columns.

    Args:
        table: where.
    """
    return insert(table)


@cache
def update_row(table: Table, columns: tuple[str, ...]) -> Statement:
    """A row with a key: `KEY` and the name of each column of the key.

    Args:
        table: where.
        columns: that are changed, without those of the key; by their names.
    """
    keys = [column == bindparam(f"{KEY}{column.name}") for column in table.primary_key]
    return (
        update_table(table).where(and_(*keys)).values({name: bindparam(name) for name in columns})
    )


@cache
def upsert_row(table: Table, columns: tuple[str, ...], dialect: str) -> Statement:
    """A row, whether it is there or not.

    Args:
        table: where.
        columns: of the row.
        dialect: `sqlite` or `postgresql`.
    """
    keys = [column.name for column in table.primary_key]
    statement = _dialect(dialect).insert(table)
    others = {name: statement.excluded[name] for name in columns if name not in keys}
    return cast("Statement", statement.on_conflict_do_update(index_elements=keys, set_=others))


@cache
def count_one(dialect: str) -> Statement:
    """One more part of a `product` in a `state`.

    Args:
        dialect: `sqlite` or `postgresql`.
    """
    statement = _dialect(dialect).insert(Tally)
    more = {"count": Tally.count + 1}
    return cast(
        "Statement",
        statement.on_conflict_do_update(index_elements=["product", "state"], set_=more),
    )


def table_of(model: type[Base]) -> Table:
    """The table of a class; SQLAlchemy's own attribute has a wider type.

    Args:
        model: of `flawmap.server.record.tables`.
    """
    return cast("Table", model.__table__)


def _dialect(name: str) -> Any:
    return sqlite if name == "sqlite" else postgresql
