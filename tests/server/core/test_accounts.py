from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from flawmap.errors import OptionError
from flawmap.server.core.accounts import Accounts, SignInRefused
from flawmap.server.record.database import Database
from flawmap.server.record.reader import RecordReader, Row
from flawmap.server.record.writer import RecordWriter

PASSWORD = "correct horse battery"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 27, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def go_on(self, **time: float) -> None:
        self.now += timedelta(**time)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(database: Database, clock: Clock) -> Iterator[Accounts]:
    with RecordWriter(database, clock) as writer:
        accounts = Accounts(writer, database, clock)
        accounts.add("ada", "Ada L.", "engineer", PASSWORD, "test")
        yield accounts


def events(database: Database, kind: str) -> list[Row]:
    return [event for event in RecordReader(database).events() if event["kind"] == kind]


def test_who_signs_in_is_known_until_signing_out(accounts: Accounts, database: Database) -> None:
    token, actor = accounts.sign_in("ada", PASSWORD)
    assert accounts.by_session(token) == actor
    assert (actor.name, actor.role, actor.may("manage"), actor.may("approve")) == (
        "ada", "engineer", True, False,
    )  # fmt: skip
    other, _ = accounts.sign_in("ada", PASSWORD)
    assert other != token
    accounts.sign_out(token, actor)
    assert accounts.by_session(token) is None
    assert accounts.by_session(other) is not None
    assert len(events(database, "logon.ok")) == 2
    assert len(events(database, "logon.off")) == 1


def test_a_session_ends_when_it_rests_or_gets_old(accounts: Accounts, clock: Clock) -> None:
    token, _ = accounts.sign_in("ada", PASSWORD)
    for _ in range(23):
        clock.go_on(minutes=29)
        assert accounts.by_session(token) is not None
    clock.go_on(hours=1)
    assert accounts.by_session(token) is None
    old, _ = accounts.sign_in("ada", PASSWORD)
    for _ in range(24):
        clock.go_on(minutes=29)
        accounts.by_session(old)
    clock.go_on(minutes=29)
    assert accounts.by_session(old) is None


def test_failures_lock_a_login_for_a_while(
    accounts: Accounts, clock: Clock, database: Database
) -> None:
    for _ in range(5):
        with pytest.raises(SignInRefused, match="do not match"):
            accounts.sign_in("ada", "wrong password")
    with pytest.raises(SignInRefused, match="too many"):
        accounts.sign_in("ada", PASSWORD)
    assert [event["subject"] for event in events(database, "logon.failed")] == ["ada"] * 4
    assert [event["subject"] for event in events(database, "logon.locked")] == ["ada"]
    clock.go_on(minutes=16)
    accounts.sign_in("ada", PASSWORD)
    # The count begins anew.
    with pytest.raises(SignInRefused, match="do not match"):
        accounts.sign_in("ada", "wrong password")
    accounts.sign_in("ada", PASSWORD)


def test_an_unknown_login_is_answered_like_a_known_one(
    accounts: Accounts, database: Database
) -> None:
    messages = []
    for login in ("ada", "hunter2-typed-here"):
        for _ in range(6):
            with pytest.raises(SignInRefused) as caught:
                accounts.sign_in(login, "wrong password")
            messages.append(str(caught.value))
    assert messages[:6] == messages[6:]
    # What was typed may be a password.
    assert "hunter2" not in str(RecordReader(database).events())


def test_a_reset_ends_sessions_and_lifts_a_lock(accounts: Accounts) -> None:
    token, _ = accounts.sign_in("ada", PASSWORD)
    for _ in range(5):
        with pytest.raises(SignInRefused):
            accounts.sign_in("ada", "wrong password")
    accounts.reset("ada", "another password", "test")
    assert accounts.by_session(token) is None
    with pytest.raises(SignInRefused):
        accounts.sign_in("ada", PASSWORD)
    accounts.sign_in("ada", "another password")


def test_a_closed_account_stays_on_record_and_signs_in_no_more(accounts: Accounts) -> None:
    token, _ = accounts.sign_in("ada", PASSWORD)
    accounts.close("ada", "test")
    assert accounts.by_session(token) is None
    assert accounts.exist()
    with pytest.raises(SignInRefused, match="do not match"):
        accounts.sign_in("ada", PASSWORD)
    with pytest.raises(OptionError, match="ada"):
        accounts.close("ada", "test")
    with pytest.raises(OptionError, match="ada"):
        accounts.reset("ada", PASSWORD, "test")
    with pytest.raises(OptionError, match="ada"):
        accounts.add("ada", "Eve", "operator", PASSWORD, "test")
    assert accounts.persons()[0]["closed_at"]


def test_a_name_is_of_one_person_or_one_key(accounts: Accounts) -> None:
    accounts.add_key("plc", "machine", "test")
    with pytest.raises(OptionError, match="ada"):
        accounts.add_key("ada", "machine", "test")
    with pytest.raises(OptionError, match="plc"):
        accounts.add("plc", "P", "operator", PASSWORD, "test")
    accounts.revoke_key("plc", "test")
    with pytest.raises(OptionError, match="plc"):
        accounts.add_key("plc", "machine", "test")


@pytest.mark.parametrize("login", ["", "local", "station", "a b", "a/b", "a\n", "x" * 61, "../a"])
def test_what_is_no_login_is_refused(accounts: Accounts, login: str) -> None:
    with pytest.raises(OptionError, match="no login"):
        accounts.add(login, "N", "operator", PASSWORD, "test")
    with pytest.raises(OptionError, match="no login"):
        accounts.add_key(login, "machine", "test")


def test_no_short_password_and_no_unknown_role(accounts: Accounts) -> None:
    with pytest.raises(OptionError, match="12 characters"):
        accounts.add("eve", "E", "operator", "x" * 11, "test")
    with pytest.raises(OptionError, match="machine"):
        accounts.add("eve", "E", "machine", PASSWORD, "test")
    with pytest.raises(OptionError, match="boss"):
        accounts.add_key("plc", "boss", "test")
    assert [person["login"] for person in accounts.persons()] == ["ada"]


def test_secrets_are_stored_as_hashes_alone(accounts: Accounts, database: Database) -> None:
    key = accounts.add_key("plc", "machine", "test")
    assert accounts.by_key(key) == ("plc", "machine", "")
    told = str(RecordReader(database).events()) + str(accounts.persons()) + str(accounts.keys())
    assert "plc" in told
    for secret in (PASSWORD, key, "argon2", "token_hash"):
        assert secret not in told
