"""`flawmap record`: looks after the record of a station."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from flawmap.cli.common import ExitCode, app
from flawmap.cli.console import err, on_one_line, out, progress_bars
from flawmap.cli.output import JsonOption, QuietOption, choose_output, print_document
from flawmap.errors import RecordError

if TYPE_CHECKING:
    from flawmap.server.core.replay import Replayed
    from flawmap.server.record.database import Database
    from flawmap.server.record.verify import Report

_EXIT_CODES = f"""Exit code: {ExitCode.ALL_GOOD} all fits or is done · {ExitCode.SOME_REJECTED}
something does not fit · {ExitCode.SOME_UNREADABLE} some parts could not be judged again (the others
were) · {ExitCode.NOTHING_DONE} nothing was done, the message says why."""

_ACTOR = "local"
"""Who does what is done from the command line, in the record."""

record_app = typer.Typer(
    name="record",
    help="Look after the record of a station: prove it, keep it, take from it.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
)
app.add_typer(record_app)

DataOption = Annotated[
    Path, typer.Option("--data", help="The station's data folder.", metavar="DIR")
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        help="The database, where it is not the SQLite file in the folder: "
        "postgresql+psycopg://USER@HOST/NAME.",
        metavar="URL",
    ),
]
CheckpointsOption = Annotated[
    Path | None,
    typer.Option(
        "--checkpoints",
        help="The file of checkpoints outside the database; checkpoints.jsonl in the data folder "
        "unless given.",
        metavar="FILE",
    ),
]


@record_app.command(epilog=_EXIT_CODES)
def verify(
    data: DataOption,
    database: DatabaseOption = None,
    checkpoints: CheckpointsOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compare the record with itself: chain, tables, triggers, files, inspectors, checkpoints.

    A station may run meanwhile. That the whole was not written anew is shown by checkpoints alone,
    which are best kept on another machine.
    """
    from flawmap.server.record.layout import DataFolder
    from flawmap.server.record.verify import verify as verify_record

    choose_output(as_json=as_json, quiet=quiet)
    folder = DataFolder(data)
    with _open(data, database) as opened, progress_bars():
        report = verify_record(
            opened,
            folder.files,
            checkpoints or folder.checkpoints,
            inspectors=folder.inspectors,
        )
    _show_report(report)


@record_app.command(epilog=_EXIT_CODES)
def backup(
    data: DataOption,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="New folder for the copy.", metavar="FOLDER")
    ],
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Copy the record as it is at one moment: database, images, inspectors and checkpoints.

    A station may run meanwhile. The copy is laid out as a data folder: `flawmap record verify
    --data FOLDER` proves it.
    """
    from flawmap.server.record.backup import make_backup
    from flawmap.server.record.layout import DataFolder

    choose_output(as_json=as_json, quiet=quiet)
    with _open(data, database, to_write=True) as opened, progress_bars():
        made = make_backup(opened, DataFolder(data), output, _ACTOR)
    print_document(made.to_dict())
    out.print(
        f"{on_one_line(made.folder)}: {made.events} events and {made.files} files; the chain ends "
        f"with {made.head or 'nothing'}"
    )
    _exit_with_problems("not copied", made.problems)


@record_app.command(epilog=_EXIT_CODES)
def restore(
    backup_folder: Annotated[
        Path, typer.Argument(help="Folder that `record backup` made.", metavar="BACKUP")
    ],
    data: Annotated[Path, typer.Option("--data", help="The new data folder.", metavar="NEWDIR")],
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a new data folder of a backup, and compare the record in it with itself."""
    from flawmap.server.record.backup import restore_backup

    choose_output(as_json=as_json, quiet=quiet)
    with progress_bars():
        report = restore_backup(backup_folder, data, _ACTOR)
    _show_report(report)


@record_app.command(epilog=_EXIT_CODES)
def retain(
    data: DataOption,
    images_days: Annotated[
        int | None, typer.Option(help="Days that images are kept; for ever unless given.")
    ] = None,
    good_days: Annotated[
        int | None,
        typer.Option(
            help="Days that images of good parts are kept, on which no person decided; as other "
            "images unless given."
        ),
    ] = None,
    overlays_days: Annotated[
        int | None, typer.Option(help="Days that overlays are kept; for ever unless given.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")
    ] = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Delete the bytes of old images and overlays; verdicts stay, and each deletion is on record.

    Images of parts that wait are kept. A station may run meanwhile.
    """
    from flawmap.server.record.layout import DataFolder
    from flawmap.server.record.retention import Rules
    from flawmap.server.record.retention import retain as apply_rules

    choose_output(as_json=as_json, quiet=quiet)
    rules = Rules(images_days, good_days, overlays_days)
    with _open(data, database, to_write=not dry_run) as opened, progress_bars():
        done = apply_rules(opened, DataFolder(data).files, rules, _ACTOR, dry_run=dry_run)
    print_document(done._asdict() | {"dry_run": dry_run})
    out.print(
        f"{done.images} images and {done.overlays} overlays, {done.freed_bytes / 1e6:.1f} MB, "
        f"{'would be' if dry_run else 'were'} deleted"
    )


@record_app.command(epilog=_EXIT_CODES)
def export(
    data: DataOption,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="New folder for the tables.", metavar="FOLDER")
    ],
    since: Annotated[
        str,
        typer.Option(
            help="Parts that came at this time or later: 2026-01-31 or 2026-01-31T12:00+01:00; UTC "
            "where it names no zone.",
            metavar="TIME",
        ),
    ] = "",
    until: Annotated[
        str, typer.Option(help="Parts that came before this time.", metavar="TIME")
    ] = "",
    product: Annotated[str, typer.Option(help="Parts of this product.", metavar="NAME")] = "",
    images: Annotated[bool, typer.Option("--images", help="Copy images and overlays too.")] = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write parts and what was found of them as CSV and JSON Lines, with images if wanted."""
    from flawmap.server.record.export import Selection, make_export
    from flawmap.server.record.layout import DataFolder

    choose_output(as_json=as_json, quiet=quiet)
    selection = Selection(since, until, product)
    with _open(data, database, to_write=True) as opened, progress_bars():
        made = make_export(opened, DataFolder(data).files, output, selection, _ACTOR, images=images)
    print_document(made.to_dict())
    out.print(f"{on_one_line(made.folder)}: {made.inspections} parts and {made.images} images")
    _exit_with_problems("not exported", made.problems)


@record_app.command(epilog=_EXIT_CODES)
def replay(
    data: DataOption,
    limit: Annotated[
        int | None,
        typer.Option(help="Judge only the newest parts again.", min=1, metavar="NUMBER"),
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Judge stored images again, each by the inspector that judged it, and compare the verdicts.

    Nothing is written. Images that retention deleted are counted, and are no fault.
    """
    from flawmap.server.core.replay import replay as judge_again
    from flawmap.server.record.layout import DataFolder

    choose_output(as_json=as_json, quiet=quiet)
    folder = DataFolder(data)
    with _open(data, database) as opened, progress_bars():
        done = judge_again(opened, folder.files, folder.inspectors, limit)
    others = [other.to_dict() for other in done.others]
    print_document({"counts": dict(done.counts), "others": others})
    for other in done.others:
        if other.outcome != "image deleted":
            out.print(f"{other.outcome}: {other.id}: {on_one_line(_replayed_text(other))}")
    counts = [f"{count} {outcome}" for outcome, count in sorted(done.counts.items())]
    out.print(", ".join(counts) or "no part was judged yet")
    raise typer.Exit(_replay_code(done.counts.keys()))


def _replayed_text(other: Replayed) -> str:
    if other.state_now is None:
        return other.error
    was = f"was {other.state} with score {other.score}"
    now = f"is {other.state_now} with score {other.score_now}"
    return f"{was}, {now}, threshold {other.threshold}"


def _replay_code(outcomes: Collection[str]) -> ExitCode:
    if not {"differs", "image missing"}.isdisjoint(outcomes):
        return ExitCode.SOME_REJECTED
    if "inspector missing" in outcomes:
        return ExitCode.SOME_UNREADABLE
    return ExitCode.ALL_GOOD


def _exit_with_problems(what: str, problems: Sequence[str]) -> NoReturn:
    for problem in problems:
        err.print(f"[red]{what}:[/] {on_one_line(problem)}")
    raise typer.Exit(ExitCode.SOME_REJECTED if problems else ExitCode.ALL_GOOD)


def _show_report(report: Report) -> NoReturn:
    print_document(report.to_dict())
    for finding in report.findings:
        more = f" ({finding.count - 1} more)" if finding.count > 1 else ""
        out.print(f"[red]{finding.kind}:[/] {on_one_line(finding.text)}{more}")
    out.print(
        f"{report.events} events, {report.rows} rows, {report.files} files and "
        f"{report.checkpoints} checkpoints were compared"
    )
    if report.is_fine:
        out.print(f"all fits; the chain ends with {report.head or 'nothing'}")
    raise typer.Exit(ExitCode.ALL_GOOD if report.is_fine else ExitCode.SOME_REJECTED)


@contextmanager
def _open(data: Path, url: str | None, *, to_write: bool = False) -> Iterator[Database]:
    """The database of a station's data folder, which is there; brought up to date to be written."""
    from flawmap.server.record.database import SQLITE_FILE, Database

    if url is None and not (data / SQLITE_FILE).is_file():
        raise RecordError(f"{data}: there is no {SQLITE_FILE}; name the data folder of a station")
    database = Database.in_folder(data) if url is None else Database(url)
    try:
        if to_write:
            database.prepare()
        yield database
    finally:
        database.close()
