"""Who may do what: persons who sign in, and keys of machines."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, Select, delete, func, insert, select, union_all, update

from flawmap.errors import FlawmapError, OptionError
from flawmap.server.core.thresholds import FOUR_EYES
from flawmap.server.record.database import Database
from flawmap.server.record.reader import Row
from flawmap.server.record.tables import ApiKey, LogOnGuard, Person, SignIn
from flawmap.server.record.writer import RecordWriter, Transaction, utc_text

VIEW, INSPECT, DECIDE, MANAGE, APPROVE = "view", "inspect", "decide", "manage", "approve"

ROLES: dict[str, frozenset[str]] = {
    "operator": frozenset({VIEW, INSPECT, DECIDE}),
    "engineer": frozenset({VIEW, INSPECT, DECIDE, MANAGE}),
    "approver": frozenset({VIEW, INSPECT, DECIDE, MANAGE, APPROVE}),
    "auditor": frozenset({VIEW}),
    "machine": frozenset({VIEW, INSPECT}),
}
"""What each role may: see, have parts inspected, decide on them, change inspectors, approve."""

PERSON_ROLES = ("operator", "engineer", "approver", "auditor")

_SHORTEST_PASSWORD = 12
_UNKNOWN = "(unknown login)"
_MOST_FAILURES = 5
_LOCKED = timedelta(minutes=15)
_IDLE = timedelta(minutes=30)
_LONGEST = timedelta(hours=12)
_SEEN_EVERY = timedelta(minutes=1)
"""So often a session's last use is written; each request would be a write."""


class SignInRefused(FlawmapError):
    """A log-on failed; the message does not say whether the login is known."""


class Actor(NamedTuple):
    """Who does something.

    Args:
        name: a login, the name of a key, or `local`.
        role: one of `ROLES`.
        csrf_token: that forms of a session must send; empty without a session.
    """

    name: str
    role: str
    csrf_token: str = ""

    def may(self, permission: str) -> bool:
        """Whether the role allows it.

        Args:
            permission: such as `inspect`.
        """
        return permission in ROLES[self.role]


LOCAL = Actor("local", "approver")
"""Whoever uses a station on its own machine before there are accounts."""


class Accounts:
    """Persons, keys and sessions; each change is on record.

    Args:
        writer: of the record.
        database: of the record.
        clock: gives the time.
    """

    def __init__(
        self,
        writer: RecordWriter,
        database: Database,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._writer = writer
        self._database = database
        self._clock = clock
        self._hasher = PasswordHasher()

    @cached_property
    def _nobody(self) -> str:
        """A hash that no password has: what is typed for an unknown login is compared with it."""
        return self._hasher.hash(secrets.token_urlsafe())

    def exist(self) -> bool:
        """Whether any person has an account; from then on everyone signs in."""
        with self._database.read() as connection:
            return bool(connection.scalar(select(func.count()).select_from(Person)))

    def add(self, login: str, name: str, role: str, password: str, actor: str) -> None:
        """Make an account.

        Args:
            login: 1 to 60 letters, digits and ._-@; never used before.
            name: as printed.
            role: `operator`, `engineer`, `approver` or `auditor`.
            password: 12 characters or more.
            actor: who does it.

        Raises:
            OptionError: a value cannot be, or the login was used before.
        """
        _check_login(login)
        if role not in PERSON_ROLES:
            raise OptionError(f"there is no role {role!r}; use {', '.join(PERSON_ROLES)}")
        secret = {"password_hash": self._hash(password)}

        def work(transaction: Transaction) -> None:
            _check_unused(transaction, login)
            data = {"name": name.strip() or login, "role": role}
            transaction.append("person.added", login, actor, data, secret)

        self._writer.run(work)

    def reset(self, login: str, password: str, actor: str) -> None:
        """Set another password, end the person's sessions, and lift a lock.

        Args:
            login: of an open account.
            password: 12 characters or more.
            actor: who does it.

        Raises:
            OptionError: there is no such account, or the password is too short.
        """
        secret = {"password_hash": self._hash(password)}

        def work(transaction: Transaction) -> None:
            _check_open(transaction, login)
            transaction.append("person.reset", login, actor, {}, secret)
            transaction.connection.execute(delete(SignIn).where(SignIn.login == login))
            transaction.connection.execute(
                delete(LogOnGuard).where(LogOnGuard.login == _guard_name(login))
            )

        self._writer.run(work)

    def close(self, login: str, actor: str) -> None:
        """Close an account for good; what it did stays on record.

        Args:
            login: of an open account.
            actor: who does it.

        Raises:
            OptionError: there is no such account.
        """

        def work(transaction: Transaction) -> None:
            _check_open(transaction, login)
            transaction.append("person.closed", login, actor, {})
            transaction.connection.execute(delete(SignIn).where(SignIn.login == login))

        self._writer.run(work)

    def add_key(self, name: str, role: str, actor: str) -> str:
        """Make a key for a machine.

        Args:
            name: of the key, as a login.
            role: one of `ROLES`.
            actor: who does it.

        Returns:
            The token, which is nowhere stored and shown this once.

        Raises:
            OptionError: a value cannot be, or the name was used before.
        """
        _check_login(name)
        if role not in ROLES:
            raise OptionError(f"there is no role {role!r}; use {', '.join(ROLES)}")
        token = f"flawmap_{secrets.token_urlsafe(32)}"
        secret = {"token_hash": _digest(token)}

        def work(transaction: Transaction) -> None:
            _check_unused(transaction, name)
            transaction.append("key.added", name, actor, {"role": role}, secret)

        self._writer.run(work)
        return token

    def revoke_key(self, name: str, actor: str) -> None:
        """End a key.

        Args:
            name: of the key.
            actor: who does it.

        Raises:
            OptionError: there is no such key, or it was revoked.
        """

        def work(transaction: Transaction) -> None:
            found = transaction.connection.scalar(
                select(ApiKey.name).where(ApiKey.name == name, ApiKey.closed_at.is_(None))
            )
            if found is None:
                raise OptionError(f"there is no key {name!r} that holds")
            transaction.append("key.revoked", name, actor, {})

        self._writer.run(work)

    def set_four_eyes(self, on: bool, actor: str) -> None:
        """Say whether another person must approve a threshold; that is on record.

        Args:
            on: False where one person does both.
            actor: who does it.
        """
        data = {"value": {"on": on}}
        self._writer.run(lambda t: t.append("setting.changed", FOUR_EYES, actor, data))

    def persons(self) -> list[Row]:
        """All accounts, closed ones too, without their secrets."""
        return self._list(
            select(Person.login, Person.name, Person.role, Person.created_at, Person.closed_at)
        )

    def keys(self) -> list[Row]:
        """All keys, revoked ones too, without their secrets."""
        return self._list(
            select(ApiKey.name, ApiKey.role, ApiKey.created_at, ApiKey.created_by, ApiKey.closed_at)
        )

    def sign_in(self, login: str, password: str) -> tuple[str, Actor]:
        """Begin a session.

        Args:
            login: of the person.
            password: of the person.

        Returns:
            A new token for the cookie, and the person.

        Raises:
            SignInRefused: they do not match, the account is closed, or it is locked for a while.
        """
        now = self._clock()
        with self._database.read() as connection:
            person = connection.execute(
                select(Person.password_hash, Person.role, Person.closed_at).where(
                    Person.login == login
                )
            ).first()
            _check_lock(connection, login, now)
        nobody = self._nobody  # made in either case, so that both take as long
        matches = self._verify(person.password_hash if person else nobody, password)
        if person is None or not matches or person.closed_at is not None:
            known = person is not None
            self._writer.run(lambda t: _count_failure(t, login, now, is_known=known))
            raise SignInRefused("login and password do not match")
        token, csrf_token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)

        def work(transaction: Transaction) -> None:
            # Once more: many tries at the same time would all have passed the first check.
            _check_lock(transaction.connection, login, now)
            transaction.append("logon.ok", login, login, {})
            transaction.connection.execute(
                delete(LogOnGuard).where(LogOnGuard.login == _guard_name(login))
            )
            _forget_old(transaction, now)
            row = {"token_hash": _digest(token), "login": login, "csrf_token": csrf_token}
            moment = utc_text(now)
            transaction.connection.execute(
                insert(SignIn), row | {"created_at": moment, "seen_at": moment}
            )

        self._writer.run(work)
        return token, Actor(login, person.role, csrf_token)

    def sign_out(self, token: str, actor: Actor) -> None:
        """End a session.

        Args:
            token: of its cookie.
            actor: whose it is.
        """

        def work(transaction: Transaction) -> None:
            transaction.append("logon.off", actor.name, actor.name, {})
            transaction.connection.execute(
                delete(SignIn).where(SignIn.token_hash == _digest(token))
            )

        self._writer.run(work)

    def by_session(self, token: str) -> Actor | None:
        """Whose session a cookie's token is; None where there is none, or it rested too long.

        Args:
            token: of the cookie.
        """
        digest, now = _digest(token), self._clock()
        with self._database.read() as connection:
            row = connection.execute(
                select(SignIn.login, SignIn.csrf_token, SignIn.created_at, SignIn.seen_at)
                .add_columns(Person.role)
                .join_from(SignIn, Person, SignIn.login == Person.login)
                .where(SignIn.token_hash == digest, Person.closed_at.is_(None))
            ).first()
        if row is None:
            return None
        if row.seen_at < utc_text(now - _IDLE) or row.created_at < utc_text(now - _LONGEST):
            return None
        if row.seen_at < utc_text(now - _SEEN_EVERY):
            seen = update(SignIn).where(SignIn.token_hash == digest).values(seen_at=utc_text(now))
            self._writer.run(lambda transaction: transaction.connection.execute(seen) and None)
        return Actor(row.login, row.role, row.csrf_token)

    def by_key(self, token: str) -> Actor | None:
        """Which machine a key's token is of; None where it does not hold.

        Args:
            token: as `add_key` gave it.
        """
        with self._database.read() as connection:
            row = connection.execute(
                select(ApiKey.name, ApiKey.role).where(
                    ApiKey.token_hash == _digest(token), ApiKey.closed_at.is_(None)
                )
            ).first()
        return None if row is None else Actor(row.name, row.role)

    def _list(self, statement: Select[*tuple[Any, ...]]) -> list[Row]:
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def _hash(self, password: str) -> str:
        if len(password) < _SHORTEST_PASSWORD:
            raise OptionError(f"a password has {_SHORTEST_PASSWORD} characters or more")
        return self._hasher.hash(password)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False


def _check_login(login: str) -> None:
    allowed = 1 <= len(login) <= 60 and login not in ("local", "station", "watch")
    if not allowed or not all(c.isalnum() or c in "._-@" for c in login):
        raise OptionError(f"{login[:60]!r} is no login; use 1 to 60 letters, digits and ._-@")


def _check_unused(transaction: Transaction, name: str) -> None:
    """A name in the record is that of one person or one key, ever."""
    statement = union_all(
        select(Person.login).where(Person.login == name),
        select(ApiKey.name).where(ApiKey.name == name),
    )
    if transaction.connection.scalar(statement):
        raise OptionError(f"{name!r} is or was a login or a key; take another name")


def _check_open(transaction: Transaction, login: str) -> None:
    found = transaction.connection.scalar(
        select(Person.login).where(Person.login == login, Person.closed_at.is_(None))
    )
    if found is None:
        raise OptionError(f"there is no open account {login!r}")


def _guard_name(login: str) -> str:
    """What failed log-ons are counted by: a hash, as people type passwords for logins too."""
    return _digest(login)


def _check_lock(connection: Connection, login: str, now: datetime) -> None:
    locked_until = connection.scalar(
        select(LogOnGuard.locked_until).where(LogOnGuard.login == _guard_name(login))
    )
    if locked_until is not None and locked_until > utc_text(now):
        raise SignInRefused("too many failed log-ons; try again in a quarter of an hour")


def _count_failure(transaction: Transaction, login: str, now: datetime, *, is_known: bool) -> None:
    """Note a failed log-on, and lock the login after some; unknown ones alike."""
    connection = transaction.connection
    subject = login if is_known else _UNKNOWN
    login = _guard_name(login)
    failures = connection.scalar(select(LogOnGuard.failures).where(LogOnGuard.login == login))
    count = (failures or 0) + 1
    locked_until = utc_text(now + _LOCKED) if count % _MOST_FAILURES == 0 else None
    row = {"failures": count, "locked_until": locked_until}
    if failures is None:
        connection.execute(insert(LogOnGuard), {"login": login} | row)
    else:
        connection.execute(update(LogOnGuard).where(LogOnGuard.login == login).values(row))
    kind = "logon.locked" if locked_until else "logon.failed"
    transaction.append(kind, subject, "station", {"failures": count})


def _forget_old(transaction: Transaction, now: datetime) -> None:
    connection = transaction.connection
    connection.execute(delete(SignIn).where(SignIn.created_at < utc_text(now - _LONGEST)))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
