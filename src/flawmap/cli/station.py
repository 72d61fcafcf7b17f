"""`flawmap station`: accounts, keys and rules of a station."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from flawmap.cli.common import app
from flawmap.cli.console import on_one_line, out
from flawmap.cli.serve import DatabaseOption, DataFolder
from flawmap.errors import OptionError

if TYPE_CHECKING:
    from flawmap.server.core.accounts import Accounts
    from flawmap.server.record.reader import Row

station_app = typer.Typer(no_args_is_help=True, help="Accounts, keys and rules of a station.")
_user_app = typer.Typer(no_args_is_help=True, help="Persons who sign in.")
_key_app = typer.Typer(no_args_is_help=True, help="Keys of machines that call the REST interface.")
station_app.add_typer(_user_app, name="user")
station_app.add_typer(_key_app, name="key")
app.add_typer(station_app, name="station")

_Login = Annotated[str, typer.Argument(help="Name to sign in with.", metavar="LOGIN")]
_KeyName = Annotated[str, typer.Argument(help="Name of the key.", metavar="NAME")]
_PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the standard input.")
]


@_user_app.command("add")
def add_user(
    login: _Login,
    role: Annotated[
        Literal["operator", "engineer", "approver", "auditor"],
        typer.Option(
            help="operator: inspects and decides; engineer: also changes inspectors and proposes "
            "thresholds; approver: also approves; auditor: reads."
        ),
    ],
    name: Annotated[str, typer.Option(help="Name as printed; the login unless given.")] = "",
    data: DataFolder = Path("station"),
    database: DatabaseOption = None,
    password_stdin: _PasswordStdin = False,
) -> None:
    """Make an account; from the first one on, everyone signs in."""
    with _accounts(data, database) as (accounts, actor):
        accounts.add(login, name, role, _password(from_stdin=password_stdin), actor)
    out.print(f"{on_one_line(login)} may sign in as {role}")


@_user_app.command("reset")
def reset_user(
    login: _Login,
    data: DataFolder = Path("station"),
    database: DatabaseOption = None,
    password_stdin: _PasswordStdin = False,
) -> None:
    """Set another password; the person's sessions end."""
    with _accounts(data, database) as (accounts, actor):
        accounts.reset(login, _password(from_stdin=password_stdin), actor)
    out.print(f"{on_one_line(login)} has another password")


@_user_app.command("close")
def close_user(
    login: _Login, data: DataFolder = Path("station"), database: DatabaseOption = None
) -> None:
    """Close an account for good; what it did stays on record."""
    with _accounts(data, database) as (accounts, actor):
        accounts.close(login, actor)
    out.print(f"{on_one_line(login)} cannot sign in any more")


@_user_app.command("list")
def list_users(data: DataFolder = Path("station"), database: DatabaseOption = None) -> None:
    """List all accounts, closed ones too."""
    with _accounts(data, database) as (accounts, _):
        _print_rows(accounts.persons(), ("login", "name", "role", "created_at", "closed_at"))


@_key_app.command("add")
def add_key(
    name: _KeyName,
    role: Annotated[
        Literal["machine", "operator", "engineer", "approver", "auditor"],
        typer.Option(help="machine: inspects and reads; the others as persons."),
    ] = "machine",
    data: DataFolder = Path("station"),
    database: DatabaseOption = None,
) -> None:
    """Make a key, and print its token this once."""
    with _accounts(data, database) as (accounts, actor):
        token = accounts.add_key(name, role, actor)
    out.print(f"Send Authorization: Bearer {token}", soft_wrap=True)


@_key_app.command("revoke")
def revoke_key(
    name: _KeyName, data: DataFolder = Path("station"), database: DatabaseOption = None
) -> None:
    """End a key at once."""
    with _accounts(data, database) as (accounts, actor):
        accounts.revoke_key(name, actor)
    out.print(f"the key {on_one_line(name)} holds no more")


@_key_app.command("list")
def list_keys(data: DataFolder = Path("station"), database: DatabaseOption = None) -> None:
    """List all keys, revoked ones too."""
    with _accounts(data, database) as (accounts, _):
        _print_rows(accounts.keys(), ("name", "role", "created_at", "created_by", "closed_at"))


@station_app.command("rule")
def set_rule(
    rule: Annotated[Literal["four-eyes"], typer.Argument(help="Two persons set a threshold.")],
    value: Annotated[Literal["on", "off"], typer.Argument(help="Whether the rule holds.")],
    data: DataFolder = Path("station"),
    database: DatabaseOption = None,
) -> None:
    """Say whether a rule holds; that is on record."""
    with _accounts(data, database) as (accounts, actor):
        accounts.set_four_eyes(value == "on", actor)
    out.print(f"{rule} is {value}")


@contextmanager
def _accounts(data: Path, url: str | None) -> Iterator[tuple[Accounts, str]]:
    """The accounts of a data folder, and who changes them: whoever uses this terminal."""
    from flawmap.server.core.accounts import Accounts
    from flawmap.server.record.database import open_database
    from flawmap.server.record.writer import RecordWriter

    database = open_database(data, url)
    try:
        with RecordWriter(database) as writer:
            yield Accounts(writer, database), f"console:{getpass.getuser()}"
    finally:
        database.close()


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise OptionError("no terminal to type a password at; give it by --password-stdin")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


def _print_rows(rows: list[Row], names: tuple[str, ...]) -> None:
    table = Table(*(name.replace("_", " ") for name in names))
    for row in rows:
        table.add_row(*(on_one_line(str(row[name] or "")) for name in names))
    out.print(table)
