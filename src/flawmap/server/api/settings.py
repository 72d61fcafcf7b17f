"""What a web application knows beside the station."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from flawmap.errors import OptionError
from flawmap.server.core.accounts import Accounts
from flawmap.server.core.station import Station

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Web:
    """The station behind the web, and how it may be reached.

    Args:
        station: what judges and records.
        accounts: who may do what.
        is_loopback: whether only this machine can reach it; then nobody signs in until there is an
            account.
        hosts: names under which it may be asked for, without ports; requests for others are those
            of a page elsewhere that got another address for its name.
        is_secure: whether cookies go over TLS alone.
        roots: folders by name, from which images may be taken by their path.
        stopping: set when the server ends, so that streams of events end too.
    """

    station: Station
    accounts: Accounts
    is_loopback: bool = True
    hosts: tuple[str, ...] = LOOPBACK_HOSTS
    is_secure: bool = False
    roots: Mapping[str, Path] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)

    def read_below(self, folder: Path, path: str) -> bytes:
        """The bytes of a file below a folder.

        Args:
            folder: one of `roots`.
            path: from there.

        Raises:
            OptionError: it leads out of the folder, also by links, or is no file.
            Refused: the file is too large.
        """
        root = folder.resolve()
        try:
            file = (root / path).resolve()
            if not file.is_relative_to(root) or not file.is_file():
                raise OptionError(f"{path[:200]!r} is no file below that folder")
            self.station.limits.check_size(file.stat().st_size)
            return file.read_bytes()
        except (OSError, ValueError) as error:
            raise OptionError(f"{path[:200]!r} cannot be read below that folder") from error


def web_of(request: Request) -> Web:
    """What `create_app` was given."""
    web: Web = request.app.state.web
    return web


WebDep = Annotated[Web, Depends(web_of)]
"""What a route asks for the station by."""
