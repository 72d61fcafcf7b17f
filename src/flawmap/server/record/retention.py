"""Deletes the bytes of old images and overlays; what was found of the parts stays in the record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import NamedTuple

from sqlalchemy import Connection, Select, and_, exists, not_, or_, select

from flawmap.errors import OptionError
from flawmap.server.record.database import Database
from flawmap.server.record.files import Category, FileStore
from flawmap.server.record.tables import Decision, Inspection, StoredFile
from flawmap.server.record.writer import RecordWriter, Transaction, utc_text
from flawmap.support.options import check_range
from flawmap.support.progress import report_progress

_AT_ONCE = 50
"""Files that are deleted in one transaction, which keeps a station from writing meanwhile."""

_MOST_DAYS = 36_500


@dataclass(frozen=True)
class Rules:
    """How long bytes are kept after a part came or, for overlays, was judged.

    Args:
        images_days: of images; None for ever.
        good_days: of images of good parts that no person decided on; None for as other images.
        overlays_days: of overlays; None for ever.

    Raises:
        OptionError: a number is outside of 0…36500, or there is none.

    Example:
        >>> Rules(images_days=365, good_days=30).for_images
        'images 365 days, of good parts 30 days'
    """

    images_days: int | None = None
    good_days: int | None = None
    overlays_days: int | None = None

    def __post_init__(self) -> None:
        days = [self.images_days, self.good_days, self.overlays_days]
        if all(number is None for number in days):
            raise OptionError("nothing is to be deleted; add --images-days 365, say")
        for name in ("images_days", "good_days", "overlays_days"):
            check_range(self, name, 0, _MOST_DAYS)

    @property
    def for_images(self) -> str:
        """The rule as it is recorded with each image."""
        general = f"images {_days_text(self.images_days)}"
        good = "" if self.good_days is None else f", of good parts {_days_text(self.good_days)}"
        return general + good

    @property
    def for_overlays(self) -> str:
        """The rule as it is recorded with each overlay."""
        return f"overlays {_days_text(self.overlays_days)}"


class Retained(NamedTuple):
    """What was deleted, or would be.

    Args:
        images: their number.
        overlays: their number.
        freed_bytes: of both.
    """

    images: int
    overlays: int
    freed_bytes: int


class _OldFile(NamedTuple):
    sha256: str
    category: Category
    size: int
    stored_at: str


def retain(
    database: Database,
    files: FileStore,
    rules: Rules,
    actor: str,
    *,
    dry_run: bool = False,
    now: datetime | None = None,
) -> Retained:
    """Delete the images and overlays that need not be kept any longer; each is on record.

    Images of parts that wait for their verdict stay, whatever their age. A station may run
    meanwhile.

    Args:
        database: of the record.
        files: its images and overlays.
        rules: how long they are kept.
        actor: who does it.
        dry_run: whether to count only.
        now: the time; None for that of the clock.

    Raises:
        RecordError: the database refuses.
        WriteError: a file cannot be deleted.
    """
    moment = now or datetime.now(UTC)
    with database.read() as connection:
        old = list(_old_files(connection, rules, moment))
    if not dry_run:
        old = _delete(database, files, rules, actor, old)
    images = sum(file.category == "image" for file in old)
    return Retained(images, len(old) - images, sum(file.size for file in old))


def _old_files(connection: Connection, rules: Rules, now: datetime) -> Iterator[_OldFile]:
    for statement in (_old_images(rules, now), _old_overlays(rules, now)):
        if statement is not None:
            for row in connection.execute(statement):
                yield _OldFile(*row)  # type: ignore[arg-type]  # a category is a text there


def _old_images(rules: Rules, now: datetime) -> Select[str, str, int, str] | None:
    """Images of which no part waits, and of which each part came long enough ago."""
    general = _before(now, rules.images_days)
    good = general if rules.good_days is None else _before(now, rules.good_days)
    is_good = and_(
        Inspection.state == "good", not_(exists().where(Decision.inspection_id == Inspection.id))
    )
    keeps = exists().where(
        Inspection.image_sha256 == StoredFile.sha256,
        or_(
            Inspection.state == "waiting",
            and_(is_good, Inspection.received_at >= good),
            and_(not_(is_good), Inspection.received_at >= general),
        ),
    )
    latest = max(general, good)
    return _stored_before("image", latest).where(not_(keeps)) if latest else None


def _old_overlays(rules: Rules, now: datetime) -> Select[str, str, int, str] | None:
    if rules.overlays_days is None:
        return None
    return _stored_before("overlay", _before(now, rules.overlays_days))


def _stored_before(category: Category, before: str) -> Select[str, str, int, str]:
    return select(
        StoredFile.sha256, StoredFile.category, StoredFile.size, StoredFile.stored_at
    ).where(
        StoredFile.category == category,
        StoredFile.deleted_at.is_(None),
        StoredFile.stored_at < before,
    )


def _delete(
    database: Database, files: FileStore, rules: Rules, actor: str, old: list[_OldFile]
) -> list[_OldFile]:
    """Delete files, some at a time; gives those that were."""
    deleted: list[_OldFile] = []
    waiting = iter(old)
    with RecordWriter(database) as writer:
        while some := list(islice(waiting, _AT_ONCE)):
            deleted += writer.run(
                partial(_delete_some, files=files, rules=rules, actor=actor, batch=some)
            )
            report_progress("deleting", len(deleted), len(old))
    return deleted


def _delete_some(
    transaction: Transaction, files: FileStore, rules: Rules, actor: str, batch: list[_OldFile]
) -> list[_OldFile]:
    # While this has the database alone: a part that comes with the same image is recorded either
    # before, and then the time differs, or after, and then its image is stored again.
    still = {
        row.sha256: row.stored_at
        for row in transaction.connection.execute(
            select(StoredFile.sha256, StoredFile.stored_at).where(
                StoredFile.sha256.in_([file.sha256 for file in batch]),
                StoredFile.deleted_at.is_(None),
            )
        )
    }
    unchanged = [file for file in batch if still.get(file.sha256) == file.stored_at]
    for file in unchanged:
        rule = rules.for_images if file.category == "image" else rules.for_overlays
        transaction.append("file.deleted", file.sha256, actor, {"rule": rule})
    # Last: a power cut before the commit leaves a missing file that the next run puts on record.
    for file in unchanged:
        files.delete(file.sha256, file.category)
    return unchanged


def _before(now: datetime, days: int | None) -> str:
    """The time that many days ago; with None an empty text, before which nothing came."""
    return "" if days is None else utc_text(now - timedelta(days=days))


def _days_text(days: int | None) -> str:
    return "for ever" if days is None else "1 day" if days == 1 else f"{days} days"
