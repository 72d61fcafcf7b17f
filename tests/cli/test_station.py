from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="needs flawmap[station]")

from typer.testing import CliRunner

from flawmap.cli import app
from flawmap.errors import OptionError
from flawmap.server.core.accounts import Accounts
from flawmap.server.record.database import open_database
from flawmap.server.record.reader import RecordReader
from flawmap.server.record.writer import RecordWriter
from helpers import run

PASSWORD = "correct horse battery"


def run_with_password(*arguments: object, password: str = PASSWORD) -> str:
    typed = [*map(str, arguments), "--password-stdin"]
    result = CliRunner().invoke(app, typed, input=f"{password}\n")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_person_is_added_reset_and_closed(tmp_path: Path) -> None:
    data = ("--data", tmp_path / "data")
    run_with_password("station", "user", "add", "ann", "--role", "engineer", *data)
    run_with_password("station", "user", "reset", "ann", *data, password="another long one")
    database = open_database(tmp_path / "data", None)
    with RecordWriter(database) as writer:
        _, actor = Accounts(writer, database).sign_in("ann", "another long one")
        assert actor.role == "engineer"
    code, output = run("station", "user", "close", "ann", *data)
    assert (code, "cannot sign in any more" in output) == (0, True)
    assert "ann" in run("station", "user", "list", *data)[1]
    events = RecordReader(database).events()
    assert {event["actor"].partition(":")[0] for event in events} == {"console", "ann"}
    assert PASSWORD not in (tmp_path / "data" / "record.sqlite").read_bytes().decode("latin-1")
    database.close()


def test_a_key_is_printed_once_and_revoked(tmp_path: Path) -> None:
    data = ("--data", tmp_path / "data")
    code, output = run("station", "key", "add", "plc", *data)
    assert code == 0
    token = output.split("Bearer ")[1].strip()
    database = open_database(tmp_path / "data", None)
    with RecordWriter(database) as writer:
        accounts = Accounts(writer, database)
        assert (actor := accounts.by_key(token)) is not None
        assert (actor.name, actor.role) == ("plc", "machine")
        assert run("station", "key", "revoke", "plc", *data)[0] == 0
        assert accounts.by_key(token) is None
    assert token not in run("station", "key", "list", *data)[1]
    database.close()


def test_a_rule_is_on_record(tmp_path: Path) -> None:
    data = ("--data", tmp_path / "data")
    assert run("station", "rule", "four-eyes", "off", *data)[0] == 0
    database = open_database(tmp_path / "data", None)
    assert RecordReader(database).setting("four_eyes") == {"on": False}
    database.close()


def test_bad_input_says_what_to_do(tmp_path: Path) -> None:
    data = ("--data", tmp_path / "data")
    with pytest.raises(OptionError, match="12 characters or more"):
        run_with_password("station", "user", "add", "ann", "--role", "auditor", *data, password="x")
    with pytest.raises(OptionError, match="no open account 'bob'"):
        run("station", "user", "close", "bob", *data)
    with pytest.raises(OptionError, match="--password-stdin"):
        run("station", "user", "add", "ann", "--role", "auditor", *data)
