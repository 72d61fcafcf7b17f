"""The database of the record: SQLite in the data folder, or a PostgreSQL of the plant's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from flawmap.errors import RecordError, WriteError

SQLITE_FILE = "record.sqlite"
"""Name of the database in a data folder."""

_BUSY_S = 30
"""How long a write waits for that of another process, such as `flawmap record`."""

_CHAIN_LOCK = 0x666C6177
"""Key of PostgreSQL's lock on the chain's head."""


class Database:
    """Connections to the record: any number to read, one at a time to write.

    Args:
        url: of SQLAlchemy: `sqlite:///FILE` or `postgresql+psycopg://…`.

    Raises:
        RecordError: no such database can be opened, or its driver is missing.
    """

    def __init__(self, url: str) -> None:
        try:
            self.url = make_url(url)
            self.is_sqlite = self.url.get_backend_name() == "sqlite"
            self._writer = _engine(url, begin="BEGIN IMMEDIATE")
            self._reader = _engine(url, begin="BEGIN")
        except ModuleNotFoundError as error:
            reason = f"it takes {error.name}: pip install 'flawmap[postgres]'"
            raise RecordError(f"the database cannot be opened: {reason}") from error
        except ArgumentError as error:
            raise RecordError(
                f"{url!r} is no address of a database; write postgresql+psycopg://USER@HOST/NAME"
            ) from error

    @classmethod
    def in_folder(cls, folder: Path) -> Database:
        """The SQLite database of a data folder."""
        return cls(f"sqlite:///{folder / SQLITE_FILE}")

    def prepare(self) -> None:
        """Make the tables where there are none, and bring older ones up to date.

        Raises:
            RecordError: the database is of a newer flawmap, damaged, or cannot be reached.
        """
        with self._named_errors(), self._writer.connect() as connection:
            config = _alembic_config()
            known = ScriptDirectory.from_config(config)
            current = MigrationContext.configure(connection).get_current_revision()
            if current is not None and current not in {r.revision for r in known.walk_revisions()}:
                raise RecordError(
                    f"{self.name}: written by a newer flawmap (revision {current}); install that, "
                    "or use another data folder"
                )
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()

    @property
    def name(self) -> str:
        """What the database is called in messages; without a password."""
        if self.is_sqlite and self.url.database:
            return self.url.database
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is committed at the end of the block, and has the database alone.

        Raises:
            RecordError: the database refuses; nothing of the block is in it then.
        """
        with self._named_errors(), self._writer.begin() as connection:
            if not self.is_sqlite:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_CHAIN_LOCK})"))
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees the record as it is at its begin.

        Raises:
            RecordError: the database cannot be read.
        """
        with self._named_errors(), self._reader.begin() as connection:
            yield connection

    def close(self) -> None:
        """Let go of all connections."""
        self._writer.dispose()
        self._reader.dispose()

    def named(self, error: SQLAlchemyError) -> RecordError:
        """What a database says, in one line that names it."""
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        return RecordError(f"{self.name}: {reason}")

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise self.named(error) from error


def open_database(folder: Path, url: str | None) -> Database:
    """The prepared database of a data folder.

    Args:
        folder: of the data; made where it is missing.
        url: of another database; None for SQLite in the folder.

    Raises:
        RecordError: it cannot be used.
        WriteError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"{folder}: {error.strerror}") from error
    database = Database(url) if url else Database.in_folder(folder)
    database.prepare()
    return database


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    return config


def _engine(url: str, begin: str) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        isolation = "READ COMMITTED" if "IMMEDIATE" in begin else "REPEATABLE READ"
        return create_engine(url, isolation_level=isolation, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_S, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        # The module's own transactions begin too late to be IMMEDIATE.
        connection.isolation_level = None
        # A commit that was acknowledged survives a power cut with FULL, and not with NORMAL.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
