"""Figures of the station for Prometheus; no serial, lot or person is in them."""

from __future__ import annotations

import time
from collections.abc import Iterator

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from flawmap.server.api.actors import Viewer
from flawmap.server.api.settings import WebDep
from flawmap.server.core.states import State
from flawmap.server.core.station import Station

router = APIRouter(tags=["station"])


class StationCollector(Collector):
    """What Prometheus asks for, read from the station when it asks.

    Args:
        station: whose figures these are.
    """

    def __init__(self, station: Station) -> None:
        self._station = station

    def collect(self) -> Iterator[Metric]:
        """Each figure with its values."""
        station = self._station
        inspections = CounterMetricFamily(
            "flawmap_inspections", "Production parts, by verdict.", labels=["product", "verdict"]
        )
        received = CounterMetricFamily(
            "flawmap_received", "Production parts that came.", labels=["product"]
        )
        for one in station.reader.counts():
            received.add_metric([one.product], one.received)
            for verdict in ("good", "reject", "undecided", "skipped"):
                inspections.add_metric([one.product, verdict], getattr(one, verdict))
        yield received
        yield inspections
        yield _gauge("waiting_images", "Parts without a verdict.", station.judge.waiting)
        oldest = station.judge.oldest_since
        waited = 0.0 if oldest is None else time.monotonic() - oldest
        yield _gauge("oldest_waiting_seconds", "How long the oldest of them waits.", waited)
        yield _gauge("stored_bytes", "Images and overlays.", station.stored_bytes)
        yield _gauge("record_events", "Events in the record.", station.last_seq)
        states = GaugeMetricFamily("flawmap_state", "1 for the state it is in.", labels=["state"])
        for state in State:
            states.add_metric([state.text], state is station.state)
        yield states
        yield from self._products()

    def _products(self) -> Iterator[Metric]:
        station = self._station
        info = InfoMetricFamily("flawmap_model", "The inspector in force.", labels=["product"])
        difference = GaugeMetricFamily(
            "flawmap_golden_difference_ratio",
            "How much the golden images differed on this machine.",
            labels=["product"],
        )
        inspectors = {row["model_sha256"]: row for row in station.reader.inspectors()}
        for product, row in station.reader.in_force().items():
            inspector = inspectors[row["model_sha256"]]
            names = ("model_sha256", "method_name", "version")
            info.add_metric([product], {name: inspector[name] for name in names})
            difference.add_metric([product], inspector["golden_difference"])
        yield info
        yield difference


@router.get("/metrics", response_class=Response)
def metrics(web: WebDep, actor: Viewer) -> Response:
    """Figures in the text format of Prometheus."""
    del actor
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StationCollector(web.station))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"flawmap_{name}", text, value=value)
