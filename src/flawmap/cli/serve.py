"""`flawmap serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flawmap.cli.common import ExitCode, app, parse_memory
from flawmap.cli.console import err, on_one_line, out
from flawmap.errors import OptionError

if TYPE_CHECKING:
    from flawmap.server.core.states import State
    from flawmap.server.core.watch import Watch

_EXIT_CODES = f"""Exit code: {ExitCode.ALL_GOOD} ended when it was told to ·
{ExitCode.NOTHING_DONE} could not start, the message says why."""

DataFolder = Annotated[
    Path, typer.Option("--data", help="Folder of the station's record, images and inspectors.")
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        help="Address of a PostgreSQL, as postgresql+psycopg://USER@HOST/NAME; unless given, "
        "SQLite in the data folder. A password is best given by PGPASSWORD or ~/.pgpass.",
        metavar="URL",
    ),
]


@app.command(epilog=_EXIT_CODES)
def serve(
    inspectors: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of inspectors: NAME.flawmap inspects the product NAME. Each is imported "
            "when it is new. Left out, those that were imported before.",
            metavar="INSPECTORS",
        ),
    ] = None,
    data: DataFolder = Path("station"),
    port: Annotated[int, typer.Option(help="Port to listen at.", min=0, max=65535)] = 8080,
    host: Annotated[
        str, typer.Option(help="Address to listen at; any but this machine's own takes TLS.")
    ] = "127.0.0.1",
    name: Annotated[str, typer.Option(help="Name of the station, in each result.")] = "station",
    database: DatabaseOption = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Draw heat sinks onto a simulated line and judge them.")
    ] = False,
    watch: Annotated[
        list[str] | None,
        typer.Option(help="A folder to watch and its product, as IN/=NAME.", metavar="DIR=NAME"),
    ] = None,
    done: Annotated[
        Path | None, typer.Option(help="Where files of watched folders go once they are recorded.")
    ] = None,
    allow_root: Annotated[
        list[str] | None,
        typer.Option(
            help="A folder from which images may be sent by their path, as NAME=DIR.",
            metavar="NAME=DIR",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Another name under which the station is asked for.", metavar="NAME"),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate and its chain, in PEM.", metavar="FILE")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Key of the certificate, in PEM.", metavar="FILE")
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy on this machine adds TLS.")
    ] = False,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            help="File outside the data folder for the chain's checkpoints, best on another disk.",
            metavar="FILE",
        ),
    ] = None,
    quota: Annotated[
        str | None, typer.Option(help="Most disk for images, as 50GB.", metavar="SIZE")
    ] = None,
    largest_image: Annotated[
        str, typer.Option(help="Largest image file that is taken.", metavar="SIZE")
    ] = "100MB",
    all_overlays: Annotated[
        bool, typer.Option("--all-overlays", help="Keep heat maps of good parts too.")
    ] = False,
) -> None:
    """Run a station: a page and a REST interface; every result is kept on record."""
    from flawmap.server.address import Address
    from flawmap.server.core.limits import Limits
    from flawmap.server.serve import StationOptions, run_station

    if inspectors is not None and not inspectors.exists():
        raise OptionError(f"{inspectors}: there is no such folder of inspectors")
    if demo and inspectors is not None:
        raise OptionError(f"--demo with {inspectors}; the demo draws and fits parts of its own")
    largest = parse_memory(largest_image)
    pairs = [_parse_pair(text, "--allow-root", "NAME=DIR") for text in allow_root or []]
    options = StationOptions(
        data=data,
        inspectors=inspectors,
        address=Address(host, port, tls_cert, tls_key, behind_proxy, tuple(allow_host or ())),
        database=database,
        name=name,
        limits=Limits(image_bytes=largest, quota=parse_memory(quota) if quota else 0),
        checkpoints=checkpoints,
        all_overlays=all_overlays,
        watches=_parse_watches(watch or [], done),
        roots={root: Path(folder) for root, folder in pairs},
        is_demo=demo,
    )

    def print_started(url: str) -> None:
        out.print(
            f"Station at [bold]{url}[/], its data in {on_one_line(str(data))}; Ctrl-C ends it"
        )

    run_station(options, print_started, _print_loaded)


def _print_loaded(state: State, reasons: list[str]) -> None:
    out.print(state.text if state.ready else f"[yellow]{state.text}[/]")
    for reason in reasons:
        err.print(f"[yellow]{on_one_line(reason)}[/]")


def _parse_watches(texts: list[str], done: Path | None) -> list[Watch]:
    from flawmap.server.core.watch import Watch

    if texts and done is None:
        raise OptionError("--watch without --done; say where files go once they are recorded")
    watches = []
    for text in texts:
        folder, product = _parse_pair(text, "--watch", "IN/=PRODUCT")
        if not Path(folder).is_dir():
            raise OptionError(f"--watch {text}: {folder} is no folder")
        watches.append(Watch(Path(folder), product, done or Path()))
    return watches


def _parse_pair(text: str, option: str, form: str) -> tuple[str, str]:
    first, _, second = text.rpartition("=")
    if not first or not second:
        raise OptionError(f"{option} {text}; write {form}")
    return first, second
