"""Requests drawn from the OpenAPI document, good ones and bad ones: none may break the station."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok

from flawmap.server.api.app import create_app
from flawmap.server.api.settings import Web
from flawmap.server.core.accounts import Accounts
from flawmap.server.core.limits import Limits
from flawmap.server.core.station import Station
from server.waiting import wait_for

_EXAMPLES = 5
_ENDLESS = "/api/v1/events"
_STOPS = "/api/v1/station/halt"
"""A halted station refuses parts with 503, which is meant."""


def test_no_request_breaks_the_station(tmp_path: Path, inspectors: Path) -> None:
    limits = Limits(rate=1e6)
    with Station(tmp_path / "data", inspectors=inspectors, limits=limits) as station:
        wait_for(lambda: station.state.ready)
        app = create_app(Web(station, Accounts(station.writer, station.database)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            schema = schemathesis.openapi.from_asgi(
                "/api/v1/openapi.json", app, headers={"host": "localhost"}
            )
            count = 0
            for result in schema.get_all_operations():
                assert isinstance(result, Ok), result
                operation = result.ok()
                if operation.path in (_ENDLESS, _STOPS):
                    continue
                count += 1

                @settings(
                    max_examples=_EXAMPLES, deadline=None, database=None, derandomize=True,
                    suppress_health_check=list(HealthCheck),
                )  # fmt: skip
                @given(case=operation.as_strategy())
                def send(case: schemathesis.Case[Any]) -> None:
                    case.call_and_validate(
                        headers={"host": "localhost"}, checks=[not_a_server_error], timeout=60
                    )

                send()
        assert count > 25
