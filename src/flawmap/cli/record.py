"""`flawmap record`: looks after the record of a station."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flawmap.cli.common import ExitCode, app
from flawmap.cli.console import on_one_line, out, progress_bars
from flawmap.cli.output import JsonOption, QuietOption, choose_output, print_document
from flawmap.errors import RecordError

if TYPE_CHECKING:
    from flawmap.server.record.database import Database
    from flawmap.server.record.verify import Report

_EXIT_CODES = f"""Exit code: {ExitCode.ALL_GOOD} all fits or is done · {ExitCode.SOME_REJECTED}
something does not fit · {ExitCode.SOME_UNREADABLE} some parts could not be judged again (the others
were) · {ExitCode.NOTHING_DONE} nothing was done, the message says why."""

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
    print_document(report.to_dict())
    _print_report(report)
    raise typer.Exit(ExitCode.ALL_GOOD if report.is_fine else ExitCode.SOME_REJECTED)


def _print_report(report: Report) -> None:
    for finding in report.findings:
        more = f" ({finding.count - 1} more)" if finding.count > 1 else ""
        out.print(f"[red]{finding.kind}:[/] {on_one_line(finding.text)}{more}")
    out.print(
        f"{report.events} events, {report.rows} rows, {report.files} files and "
        f"{report.checkpoints} checkpoints were compared"
    )
    if report.is_fine:
        out.print(f"all fits; the chain ends with {report.head or 'nothing'}")


@contextmanager
def _open(data: Path, url: str | None) -> Iterator[Database]:
    """The database of a station's data folder, which is there."""
    from flawmap.server.record.database import SQLITE_FILE, Database

    if url is None and not (data / SQLITE_FILE).is_file():
        raise RecordError(f"{data}: there is no {SQLITE_FILE}; name the data folder of a station")
    database = Database.in_folder(data) if url is None else Database(url)
    try:
        yield database
    finally:
        database.close()
