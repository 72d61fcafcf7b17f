"""The station under load: throughput beside that of the bare runtime, and latency at a steady rate.

    python bench/station_load.py INSPECTOR IMAGES [--seconds 20] [--rate 20]

INSPECTOR is what `flawmap fit` wrote, IMAGES a folder of image files. Starts `flawmap serve` as a
process of its own on loopback with a new data folder, SQLite and all of its record. First come
images as fast as four clients can send them, and the same images through `Runtime.inspect_many` in
the same run; then images at a steady rate, each sent when its time has come, whether the one before
is done or not. Latency is from the first byte sent to the verdict in the answer. Everything, client
included, shares this machine's cores.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import numpy as np

import flawmap

CLIENTS = 4
READY_S = 60
WAIT_S = 30


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inspector", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=20)
    arguments = parser.parse_args()
    files = sorted(path for path in arguments.images.rglob("*") if path.is_file())
    contents = [path.read_bytes() for path in files]
    bare = measure_runtime(arguments.inspector, contents, arguments.seconds)
    print(f"bare runtime, inspect_many      {bare:6.1f} images/s")
    with tempfile.TemporaryDirectory() as name, station(arguments.inspector, Path(name)) as url:
        product = arguments.inspector.stem
        served = measure_throughput(url, product, contents, arguments.seconds)
        print(f"station, {CLIENTS} clients              {served:6.1f} images/s")
        print(f"share of the bare runtime       {served / bare:6.2f}   (asked: 0.6)")
        latencies = measure_latency(url, product, contents, arguments.seconds, arguments.rate)
        p50, p99 = np.percentile(latencies, [50, 99])
        print(f"at {arguments.rate:g} images/s: p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f} ms")
        counts = httpx2.get(f"{url}/api/v1/counts").json()
        print(json.dumps(counts))


def measure_runtime(inspector: Path, contents: list[bytes], seconds: float) -> float:
    """Images a second through the runtime alone."""
    runtime = flawmap.load(inspector)
    list(runtime.inspect_many(contents[:32]))  # warm
    started = time.monotonic()

    def until_then() -> Iterator[bytes]:
        for content in itertools.cycle(contents):
            if time.monotonic() - started > seconds:
                return
            yield content

    count = sum(1 for _ in runtime.inspect_many(until_then()))
    return count / (time.monotonic() - started)


@contextmanager
def station(inspector: Path, folder: Path) -> Iterator[str]:
    """The address of a station of its own process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    inspectors = folder / "inspectors"
    inspectors.mkdir()
    (inspectors / inspector.name).write_bytes(inspector.read_bytes())
    command = [sys.executable, "-m", "flawmap", "serve", str(inspectors)]
    command += ["--data", str(folder / "data"), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, process)
        yield url
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(30)


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "the station ended"
        try:
            if httpx2.get(f"{url}/v2/health/ready").status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.2)
    raise TimeoutError("the station is not ready")


def measure_throughput(url: str, product: str, contents: list[bytes], seconds: float) -> float:
    """Images a second that clients get verdicts for, each sending one after the other."""
    counts = [0] * CLIENTS
    started = time.monotonic()

    def send(number: int) -> None:
        with httpx2.Client(base_url=url, timeout=WAIT_S) as client:
            for content in itertools.cycle(contents[number:] + contents[:number]):
                if time.monotonic() - started > seconds:
                    return
                inspect(client, product, content)
                counts[number] += 1

    threads = [threading.Thread(target=send, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - started)


def measure_latency(
    url: str, product: str, contents: list[bytes], seconds: float, rate: float
) -> list[float]:
    """Seconds from sending to the verdict, of images that come at a steady rate."""
    client = httpx2.Client(base_url=url, timeout=WAIT_S)

    def timed(content: bytes) -> float:
        started = time.monotonic()
        inspect(client, product, content)
        return time.monotonic() - started

    with client, ThreadPoolExecutor(16) as pool:
        started = time.monotonic()
        futures = []
        for number, content in enumerate(itertools.cycle(contents)):
            due = started + number / rate
            if due > started + seconds:
                break
            time.sleep(max(0, due - time.monotonic()))
            futures.append(pool.submit(timed, content))
        return [future.result() for future in futures]


def inspect(client: httpx2.Client, product: str, content: bytes) -> None:
    answer = client.post(
        f"/api/v1/inspections?product={product}&wait={WAIT_S}",
        content=content,
        headers={"content-type": "application/octet-stream"},
    )
    assert answer.status_code in (200, 201), answer.text
    assert answer.json()["state"] in ("good", "reject", "undecided"), answer.text


if __name__ == "__main__":
    main()
