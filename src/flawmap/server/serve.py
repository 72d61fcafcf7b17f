"""Serves a station: one process, one port, until a signal ends it."""

from __future__ import annotations

import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from flawmap.errors import StationError
from flawmap.server.address import Address, open_socket
from flawmap.server.api.app import create_app
from flawmap.server.api.settings import Web
from flawmap.server.core.accounts import Accounts
from flawmap.server.core.limits import Limits
from flawmap.server.core.states import State
from flawmap.server.core.station import Station
from flawmap.server.core.watch import FolderWatcher, Watch
from flawmap.server.demo import Demo
from flawmap.server.pages.pages import add_pages
from flawmap.server.record.database import Database

_END_S = 10
"""Seconds for requests that are being answered when the station ends."""


@dataclass(frozen=True)
class StationOptions:
    """What a station is, and how it is reached.

    Args:
        data: folder of its record, images and inspectors.
        inspectors: folder of `NAME.flawmap`, or such a file; None for those imported before.
        address: where it is reached.
        database: address of another database than SQLite in the data folder; None for that.
        name: of the station.
        limits: of what it takes in.
        checkpoints: file for checkpoints; None for one in the data folder.
        all_overlays: whether good parts get an overlay too.
        watches: folders that are watched.
        roots: folders by name, from which images may be taken by their path.
        is_demo: whether heat sinks are drawn onto a simulated line.
    """

    data: Path
    inspectors: Path | None = None
    address: Address = field(default_factory=Address)
    database: str | None = None
    name: str = "station"
    limits: Limits = field(default_factory=Limits)
    checkpoints: Path | None = None
    all_overlays: bool = False
    watches: Sequence[Watch] = ()
    roots: Mapping[str, Path] = field(default_factory=dict)
    is_demo: bool = False


def run_station(
    options: StationOptions,
    on_started: Callable[[str], None] = lambda _: None,
    on_loaded: Callable[[State, list[str]], None] = lambda *_: None,
) -> None:
    """Run a station until a signal asks it to end.

    Args:
        options: what it is.
        on_started: called with its address for a browser, once it answers.
        on_loaded: called with its state, and why it is not ready, once its inspectors are loaded.

    Raises:
        StationError: it cannot be reached as asked.
        RecordError: its data folder or database cannot be used.
        FlawmapError: the demo cannot be made.
    """
    address = options.address
    with ExitStack() as stack:
        listening = stack.enter_context(open_socket(address))
        database = Database(options.database) if options.database else None
        demo = Demo(options.data) if options.is_demo else None
        station = Station(
            options.data,
            inspectors=demo.inspectors() if demo else options.inspectors,
            database=database,
            name=options.name,
            limits=options.limits,
            checkpoints=options.checkpoints,
            all_overlays=options.all_overlays,
        )
        stack.enter_context(station)
        accounts = Accounts(station.writer, station.database)
        address.check(has_accounts=accounts.exist())
        web = Web(
            station,
            accounts,
            is_loopback=address.is_loopback,
            hosts=address.hosts,
            is_secure=address.is_secure,
            roots=options.roots,
        )
        if options.watches:
            stack.enter_context(FolderWatcher(station, options.watches))
        if demo:
            stack.enter_context(demo.running(station))
        app = create_app(web)
        add_pages(app, web)
        teller = threading.Thread(target=_tell, args=(web, on_loaded), daemon=True)
        teller.start()
        _serve(app, web, address, listening, on_started)


def _tell(web: Web, on_loaded: Callable[[State, list[str]], None]) -> None:
    while web.station.state is State.STARTING:
        if web.stopping.wait(0.1):
            return
    on_loaded(web.station.state, web.station.reasons)


def _serve(
    app: FastAPI,
    web: Web,
    address: Address,
    listening: socket.socket,
    on_started: Callable[[str], None],
) -> None:
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        proxy_headers=address.is_behind_proxy,
        timeout_graceful_shutdown=_END_S,
        ssl_certfile=address.tls_cert,
        ssl_keyfile=address.tls_key,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise StationError(
            f"{address.tls_cert}: no certificate with its key can be read from there ({error})"
        ) from error
    on_started(address.url(listening.getsockname()[1]))
    _Server(config, web).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Ends on a signal without passing it on: to be told to end is no failure."""

    def __init__(self, config: uvicorn.Config, web: Web) -> None:
        super().__init__(config)
        self._web = web

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._web.stopping.set()
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        names = ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP")
        numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
