"""The pages in Debian's Chromium, from a server on a port of its own."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs flawmap[station]")
uvicorn = pytest.importorskip("uvicorn", reason="needs flawmap[station]")

from flawmap.render.encode import encode_image
from flawmap.server.api.app import create_app
from flawmap.server.api.settings import Web
from flawmap.server.core.accounts import Accounts
from flawmap.server.core.station import Station
from flawmap.server.pages.site import add_pages
from helpers import texture
from small_bundle import save_small_bundle

CHROMIUM = shutil.which("chromium")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-quic", "--no-first-run"),
]
LONG_MS = 30_000


@contextmanager
def serving(web: Web) -> Iterator[str]:
    """The address of a server with the station."""
    app = create_app(web)
    add_pages(app, web)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="warning", lifespan="off", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            web.stopping.set()
            server.should_exit = True
            thread.join(60)
    assert not thread.is_alive()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    inspectors = tmp_path / "inspectors"
    inspectors.mkdir()
    save_small_bundle(inspectors / "small.flawmap")
    with Station(tmp_path / "data", inspectors=inspectors) as station:
        until = time.monotonic() + 60
        while not station.state.ready:
            assert time.monotonic() < until, station.reasons
            time.sleep(0.02)
        yield Web(station, Accounts(station.writer, station.database))


@pytest.fixture
def visit(web: Web) -> Iterator[Any]:
    """Opens pages of the station; nothing may complain, as of a content security policy."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("needs Chromium; install it so that `chromium` is on the PATH")
    complaints: list[str] = []
    asked: list[str] = []
    with serving(web) as address, api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)

        def visit(path: str, **options: Any) -> Any:
            page = browser.new_context(base_url=address, **options).new_page()
            page.set_default_timeout(LONG_MS)
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda request: asked.append(request.url))
            page.goto(path)
            return page

        yield visit
        browser.close()
    assert complaints == []
    assert asked
    assert [url for url in asked if not url.startswith(address)] == []


def test_a_part_appears_without_loading_the_page_again(web: Web, visit: Any) -> None:
    page = visit("/")
    page.evaluate("window.wasHere = true")
    assert page.locator(".card").count() == 0
    page.locator("#reload").focus()
    for number in range(2):
        image = encode_image(texture(number, 64, 64), ".png")
        serial = f"A{number} <b>"
        web.station.submit(image, "small", source="rest", actor="test", serial=serial)
        card = page.locator(".card", has_text=serial)
        card.locator(".verdict:not(.waiting)").wait_for()
        assert card.locator(".verdict").inner_text() in ("good", "reject")
        while not page.evaluate("document.querySelector('.card img').complete"):
            page.wait_for_timeout(20)
        assert page.evaluate("document.querySelector('.card img').naturalWidth") == 64
    assert f"{number + 1} received" in page.locator(".line").inner_text()
    assert page.evaluate("document.activeElement.id") == "reload"
    page.locator("#said", has_text="A1 <b>: ").wait_for(state="attached")
    assert page.evaluate("window.wasHere") is True


def test_a_page_whose_station_is_gone_says_that_it_is_old(web: Web, visit: Any) -> None:
    page = visit("/")
    assert not page.locator("#offline").is_visible()
    # The browser's own network log is not what is tested here.
    page.route("**/latest", lambda route: route.fulfill(status=200, body="", content_type="x/y"))
    web.station.halt("test", "lunch")
    page.locator("#offline").wait_for(state="visible")
    page.unroute("**/latest")
    web.station.release("test", "it is over")
    page.locator("#offline").wait_for(state="hidden")
    assert page.locator("#state").inner_text() == "The station is ready"


def test_without_script_all_is_there(web: Web, visit: Any) -> None:
    image = encode_image(texture(1, 64, 64), ".png")
    received = web.station.submit(image, "small", source="rest", actor="test", serial="A1")
    web.station.wait(received.id, 60)
    page = visit("/", java_script_enabled=False)
    assert page.locator(".card", has_text="A1").count() == 1
    page.locator("#reload").click()
    page.locator(".card a").click()
    page.locator("input[value=good]").check()
    page.locator("textarea").fill("dust")
    page.get_by_role("button", name="Put this on record").click()
    page.get_by_text("Your decision is on record").wait_for()
    (decision,) = web.station.reader.decisions(received.id)
    assert (decision["verdict"], decision["reason"]) == ("good", "dust")


def test_a_person_signs_in_and_decides_by_keyboard(web: Web, visit: Any) -> None:
    web.accounts.add("olga", "Olga", "operator", "correct horse battery", "test")
    page = visit("/")
    page.wait_for_url("**/sign-in")
    page.get_by_label("Login").focus()
    page.keyboard.type("olga")
    page.keyboard.press("Tab")
    page.keyboard.type("correct horse battery")
    page.keyboard.press("Enter")
    page.locator("#actor", has_text="olga").wait_for()
    page.get_by_role("button", name="Sign out").press("Enter")
    page.wait_for_url("**/sign-in")
    assert page.context.cookies() == []
