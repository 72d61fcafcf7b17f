from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from flawmap.metrics.defects_found import OPERATING_POINTS, defects_found
from flawmap.metrics.metric import Metric
from flawmap.report.data import ReportData
from flawmap.report.gallery import Gallery
from flawmap.report.page import render_page, write_page
from flawmap.runtime.calibration import Calibration
from records import THRESHOLD, add_to_gallery, make_record

CALIBRATION_SCORES = [round(0.5 + 0.02 * number, 2) for number in range(99)]
CHROMIUM = shutil.which("chromium")
FLAGS = [
    *(
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
    ),
    *("--disable-sync", "--disable-quic", "--no-first-run"),
]
HOSTILE = [
    "parts/</script><script>window.hacked = 1</script>.png",
    "parts/<img src=x onerror='window.hacked = 1'>.png",
    "parts/\"quoted\" & 'quoted' {{ 7 * 7 }}.png",
    "parts/größe/裂纹 1.png",
]


def make_report(
    images: Sequence[tuple[str | None, float]], paths: Sequence[str] = (), **changes: Any
) -> ReportData:
    """A report on images of some defect types and scores."""
    gallery = Gallery()
    records = []
    for number, (defect_type, score) in enumerate(images):
        path = paths[number] if paths else f"parts/{defect_type}/{number:03}.png"
        records.append(add_to_gallery(gallery, path, defect_type, score))
    report = ReportData(
        title="bolt",
        subtitle="patchcore · calibrated on 99 good images",
        threshold=THRESHOLD,
        calibration_scores=CALIBRATION_SCORES,
        guarantees=["At most 1 % of good parts are rejected."],
        records=records,
        gallery=gallery,
        metrics={},
        by_defect_type={},
        confusion=None,
        details={"Settings": {"backbone": "tiny"}},
    )
    return replace(report, **changes)


def labelled_images() -> list[tuple[str | None, float]]:
    """Thirty good images, twenty defective ones of two types, with ties between and within."""
    rng = np.random.default_rng(0)
    good = [("good", round(float(score), 1)) for score in rng.normal(1.4, 0.4, 30).clip(0.1)]
    defective = [
        (("dent", "scratch")[n % 2], round(float(score), 1))
        for n, score in enumerate(rng.normal(2.6, 0.7, 20))
    ]
    return [*good, *defective]


def labelled_report() -> ReportData:
    dent = {"image AUROC": Metric(0.9, 0.8, 0.95), "pixel AP": Metric(unavailable="no masks here")}
    return make_report(
        labelled_images(),
        metrics={
            "image AUROC": Metric(0.95871, 0.939, 0.974),
            "AUPRO": Metric(unavailable="no image has a mask"),
        },
        by_defect_type={"dent": dent, "scratch": dent},
        confusion={"TP": 15, "FP": 2, "FN": 5, "TN": 28},
    )


def found_report(num_good: int = 30, num_calibration: int = 99) -> ReportData:
    """A report with the metrics that an evaluation has."""
    images = labelled_images()
    scores = np.array([score for defect_type, score in images if defect_type != "good"])
    scores = np.concatenate([np.linspace(0.5, 2.4, num_good), scores])
    labels = np.repeat([0, 1], [num_good, len(scores) - num_good])
    calibration = Calibration(np.arange(num_calibration) / 40, np.ones(num_calibration))
    metrics = defects_found(scores, labels, calibration)
    dents = np.concatenate([scores[:num_good], scores[num_good::2]])
    dent = defects_found(dents, np.repeat([0, 1], [num_good, len(dents) - num_good]), calibration)
    auroc = {"image AUROC": Metric(0.9, 0.8, 0.95)}
    return make_report(images, metrics=metrics | auroc, by_defect_type={"dent": dent | auroc})


def embedded(page: str) -> Any:
    return json.loads(
        re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[0]
    )


# ---- the page as text ----


def test_the_page_needs_nothing_from_outside() -> None:
    page = render_page(labelled_report())
    assert not re.search(r"(src|href|action|data)\s*=\s*[\"']?\s*(https?:|//|file:)", page)
    assert "@import" not in page
    assert "url(" not in page.replace("url(#hatch)", "")
    assert "default-src 'none'" in page


def test_paths_cannot_break_out() -> None:
    page = render_page(
        make_report([("good", 1.0)] * len(HOSTILE), HOSTILE, title="<script>alert(1)</script>")
    )
    assert "<script>alert" not in page
    assert page.count("</script>") == 2
    assert "<img src=x" not in page
    assert "{{ 7 * 7 }}" in page
    assert [card["image"] for card in embedded(page)["cards"]] == HOSTILE


def test_a_path_that_is_no_text_does_not_stop_the_page(tmp_path: Path) -> None:
    write_page(tmp_path / "report.html", make_report([("good", 1.0)], ["caf\udce9.png"]))
    assert r"caf\xe9.png" in (tmp_path / "report.html").read_text("utf-8")


def test_numbers_that_are_none_never_reach_the_page() -> None:
    report = make_report(
        [("good", 1.0)],
        records=[make_record("a.png", 1.0, "good"), make_record("b.png", None, "good")],
        calibration_scores=[math.inf, 1.0, math.nan],
    )
    page = render_page(report)
    data = embedded(page)
    assert data["calibrationScores"] == [1.0]
    assert data["scores"] == [["good", 1.0]]
    assert not re.search(
        r"\b(nan|NaN|inf|Infinity)\b", page.split('id="data">')[1].split("</script>")[0]
    )


def test_metrics_are_percent_with_their_interval_and_unavailable_ones_say_why() -> None:
    page = render_page(labelled_report())
    assert "95.87" in page
    assert "(93.9 – 97.4)" in page
    assert "no image has a mask" in page
    assert "no masks here" in page


def section(page: str, name: str) -> str:
    """The text of a section, without its tags."""
    html = re.findall(rf'<section id="{name}".*?</section>', page, re.DOTALL)[0]
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_defects_found_stand_first_with_their_intervals_and_costs() -> None:
    report = found_report(120)
    page = render_page(report)
    found = section(page, "defects-found")
    headings = "Calibrated threshold By rank among test images"
    assert headings in found
    for defect_type, metrics in {"all defects": report.metrics, **report.by_defect_type}.items():
        row = found[found.index(headings) :].split(f" {defect_type} ")[1]
        cells = [metrics[point.defects_found] for point in OPERATING_POINTS]
        texts = [
            f"{_percent(cell.value)} ({_percent(cell.low)} – {_percent(cell.high)})"
            for cell in cells
        ]
        assert row.split(" ", 1)[1].startswith(" ".join(texts))
    costs = found.split("good parts rejected")[1]
    for point in OPERATING_POINTS:
        assert f" {_percent(report.metrics[point.false_rejects].value)} (" in costs
    for other in ("metrics", "defect-types"):
        assert "image AUROC" in section(page, other)
        assert "false rejects at" not in section(page, other)
        assert "defects found at" not in section(page, other)
    assert page.index('id="defects-found"') < page.index('id="trial"') < page.index('id="metrics"')


def _percent(fraction: float | None) -> str:
    assert fraction is not None
    return f"{100 * fraction:.1f}"


def test_defects_found_say_why_a_value_is_missing() -> None:
    found = section(render_page(found_report(30, 50)), "defects-found")
    assert "1 % takes 99 good test images; there are 30" in found
    assert "1 % takes 99 good images to calibrate on; there are 50" in found
    assert "5 % takes" not in found
    row = found.split(" all defects ")[1].split(" dent ")[0]
    assert row.count("–") == 4, "two dashes, and two intervals"


def test_without_labels_the_labelled_sections_are_not_there() -> None:
    page = render_page(make_report([(None, 1.0), (None, 3.0)]))
    body = page[page.index("<body>") : page.index('<script type="application/json"')]
    for name in ("defects-found", "metrics", "curves", "defect-types", "defect-type-filter"):
        assert f'id="{name}"' not in body
    for name in ("count-missed", "misses", "count-false-rejects"):
        assert f'id="{name}"' not in body
    assert "confusion" not in body
    assert 'id="count-rejected" class="big">1<' in body
    assert 'id="count-good" class="big">1<' in body


def test_images_that_are_not_shown_are_counted() -> None:
    gallery = Gallery(capacity=2)
    for number in range(1500):
        add_to_gallery(gallery, str(number), "good", 1.0)
    page = render_page(make_report([], gallery=gallery))
    assert "2 most telling of 1,500 images; all scores are in scores.csv" in " ".join(page.split())


def test_unreadable_images_stand_with_their_errors() -> None:
    records = [
        make_record("a.png", None, "dent", error="the file is <empty>"),
        make_record("b.png", 1.0, "good"),
    ]
    page = render_page(make_report([], records=records))
    assert "the file is &lt;empty&gt;" in page
    assert 'id="count-unreadable" class="big">1<' in page


def test_warnings_and_guarantees_are_shown() -> None:
    page = render_page(make_report([("good", 1.0)], warnings=["The backbone is random."]))
    assert "The backbone is random." in page
    assert "At most 1 % of good parts are rejected." in page


def test_paths_are_shown_without_their_common_folder() -> None:
    for separator in ("/", "\\"):
        paths = [separator.join(("", "data", "parts", name)) for name in ("test1.png", "test2.png")]
        page = render_page(make_report([("good", 1.0), ("good", 1.5)], paths))
        assert f'<span class="path">{separator}data{separator}parts{separator}</span>' in page
        assert '<span class="name">test1.png</span>' in page


# ---- the page in a browser ----


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("needs Chromium; install it so that `chromium` is on the PATH")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def labelled_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    write_page(file, labelled_report())
    return file


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """Opens pages; at the end, nothing may have complained or asked the network for anything."""
    contexts, complaints, requests = [], [], []

    def visit(file: Path, **options: Any) -> Any:
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        # Generous: each action waits for what it needs, and no longer, on a busy machine too.
        page.set_default_timeout(60_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.fixture
def page(visit: Any, labelled_file: Path) -> Any:
    return visit(labelled_file)


def text(page: Any, selector: str) -> str:
    return str(page.locator(selector).inner_text()).strip()


def visible(page: Any) -> list[str]:
    shown = "all => all.filter(c => c.offsetParent).map(c => c.dataset.path)"
    return list(page.eval_on_selector_all(".card", shown))


def count(threshold: float) -> dict[str, int]:
    images = labelled_images()
    return {
        "missed": sum(
            defect_type != "good" and score <= threshold for defect_type, score in images
        ),
        "detected": sum(
            defect_type != "good" and score > threshold for defect_type, score in images
        ),
        "false-rejects": sum(
            defect_type == "good" and score > threshold for defect_type, score in images
        ),
        "accepted": sum(
            defect_type == "good" and score <= threshold for defect_type, score in images
        ),
    }


def counts_on(page: Any) -> dict[str, int]:
    outcomes = ("missed", "detected", "false-rejects", "accepted")
    return {outcome: int(text(page, f"#count-{outcome}")) for outcome in outcomes}


def test_the_page_opens_at_the_saved_threshold(page: Any) -> None:
    assert counts_on(page) == count(THRESHOLD)
    assert not page.is_visible("#moved")
    assert page.is_disabled("#reset")


def test_the_slider_by_keyboard_says_what_would_happen(page: Any) -> None:
    page.focus("#threshold")
    thresholds = set()
    for key in (
        "ArrowRight",
        "ArrowRight",
        "PageUp",
        "PageDown",
        "PageDown",
        "Home",
        "ArrowUp",
        "End",
        "ArrowLeft",
    ):
        page.keyboard.press(key)
        thresholds.add(float(page.input_value("#threshold")))
        check_readout(page, float(page.input_value("#threshold")))
    assert len(thresholds) > 6
    page.click("#reset")
    check_readout(page, THRESHOLD)


def check_readout(page: Any, threshold: float) -> None:
    expected = count(threshold)
    assert counts_on(page) == expected
    beyond = 1 + sum(score > threshold for score in CALIBRATION_SCORES)
    assert text(page, "#rejects-per-1000") == f"{1000 * expected['false-rejects'] / 30:.1f}"
    assert text(page, "#expected-per-1000") == f"{1000 * beyond / 100:.1f}"
    assert text(page, "#misses") == str(expected["missed"])
    cells = {name: int(text(page, f"[data-cell={name}]")) for name in ("TP", "FN", "FP", "TN")}
    outcomes = ("detected", "missed", "false-rejects", "accepted")
    assert list(cells.values()) == [expected[outcome] for outcome in outcomes]


def test_the_command_sets_the_expected_rate(page: Any) -> None:
    for threshold in np.linspace(0.45, 2.9, 12):
        page.fill("#threshold-number", f"{threshold:.4f}")
        rank = 1 + sum(score > round(threshold, 4) for score in CALIBRATION_SCORES)
        if rank > len(CALIBRATION_SCORES):
            assert not page.is_visible("#command")
            continue
        start = "flawmap threshold INSPECTOR.flawmap --false-rejects "
        rate = float(text(page, "#command").removeprefix(start))
        assert math.floor(rate * (len(CALIBRATION_SCORES) + 1) + 1e-9) == rank
        assert text(page, "#command-note") == f"which puts it at {CALIBRATION_SCORES[-rank]:g}"


def test_badges_and_filters_follow_the_threshold(page: Any) -> None:
    page.fill("#threshold-number", "2.55")
    missed = {
        f"parts/{defect_type}/{n:03}.png"
        for n, (defect_type, s) in enumerate(labelled_images())
        if defect_type != "good" and s <= 2.55
    }
    page.click("[data-outcome=missed]")
    assert set(visible(page)) == missed
    assert text(page, "[data-outcome=missed] b") == str(len(missed))
    assert set(page.locator(".card:visible .badge").all_inner_texts()) == {"missed"}
    assert page.is_visible("#moved")
    page.click("#moved-reset")
    assert len(visible(page)) == count(THRESHOLD)["missed"]


def test_defect_type_search_and_order(page: Any) -> None:
    page.select_option("#defect-type-filter", "dent")
    assert len(visible(page)) == 10
    page.fill("#search", "PARTS/dent/03")
    assert visible(page) == [path for path in visible(page) if path.startswith("parts/dent/03")]
    assert len(visible(page)) == 5
    page.fill("#search", "nowhere")
    assert visible(page) == []
    page.click("#clear")
    assert len(visible(page)) == 50
    page.select_option("#sort", "path")
    assert visible(page) == sorted(visible(page))
    page.select_option("#sort", "score")
    scores = {
        f"parts/{defect_type}/{n:03}.png": score
        for n, (defect_type, score) in enumerate(labelled_images())
    }
    assert [scores[path] for path in visible(page)] == sorted(scores.values(), reverse=True)
    page.select_option("#sort", "worst")
    assert visible(page) == [card.record.image for card in labelled_report().gallery.cards()]


def test_the_large_view_by_keyboard(page: Any) -> None:
    page.click("[data-outcome=missed]")
    first, second, *_ = visible(page)
    page.focus(f'.card[data-path="{first}"]')
    page.keyboard.press("Enter")
    assert text(page, "#lightbox-path") == first
    assert page.locator("#lightbox img").count() == 3
    assert page.locator("#lightbox-regions tbody tr td").all_inner_texts() == [
        "1",
        "20",
        "10",
        "8 × 4",
        "32",
        "1.30",
    ]
    page.keyboard.press("ArrowRight")
    assert text(page, "#lightbox-path") == second
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert text(page, "#lightbox-path") == first
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    assert not page.is_visible("#lightbox")
    # The browser first gives the focus back to the card that was opened, and tells of the closing
    # afterwards.
    page.wait_for_function("path => document.activeElement.dataset.path === path", arg=second)
    assert page.evaluate("document.activeElement.dataset.path") == second


def test_the_large_view_by_mouse(page: Any) -> None:
    path = visible(page)[0]
    page.click(f'.card[data-path="{path}"]')
    assert text(page, "#lightbox-path") == path
    page.hover("#lightbox-regions tbody tr")
    left_edges = "all => all.map(r => r.getAttribute('x'))"
    boxes = page.eval_on_selector_all("#lightbox-images rect", left_edges)
    assert boxes == ["20"] * 3
    page.click("#next")
    page.click("#close")
    assert not page.is_visible("#lightbox")


def test_keys_search_and_walk_through_the_cards(page: Any) -> None:
    paths = visible(page)
    walked = []
    for key in ("j", "j", "ArrowRight", "k", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
        walked.append(paths.index(page.evaluate("document.activeElement.dataset.path")))
    assert walked[:4] == [0, 1, 2, 1]
    assert walked[4] > 2
    assert walked[5] == 1
    page.keyboard.press("/")
    page.keyboard.type("j/k")
    assert page.input_value("#search") == "j/k"


def test_the_curves_hold_the_areas_that_the_scores_have(page: Any) -> None:
    labels = [int(defect_type != "good") for defect_type, _ in labelled_images()]
    scores = [score for _, score in labelled_images()]
    # Axis marks tell where 0 and 1 are.
    frame = page.evaluate("""() => Object.fromEntries(["roc", "pr"].map((id) => {
        const lines = [...document.querySelectorAll(`#${id} .grid`)];
        const grid = lines.map((g) => g.getAttribute("d").match(/[\\d.]+/g));
        return [id, {left: +grid[0][0], right: +grid[0][2], bottom: +grid[0][1], top: +grid[4][1],
                     path: document.querySelector(`#${id} .curve`).getAttribute("d")}];
    }))""")
    roc = np.array(re.findall(r"[ML]([\d.]+) ([\d.]+)", frame["roc"]["path"]), float)
    box = frame["roc"]
    x, y = (
        (roc[:, 0] - box["left"]) / (box["right"] - box["left"]),
        (box["bottom"] - roc[:, 1]) / (box["bottom"] - box["top"]),
    )
    assert len(roc) == 1 + len(set(scores))
    assert float(np.trapezoid(y, x)) == pytest.approx(roc_auc_score(labels, scores), abs=0.005)
    box, area, at = frame["pr"], 0.0, frame["pr"]["left"]
    for up, across in re.findall(r"V([\d.]+)H([\d.]+)", box["path"]):
        area += (box["bottom"] - float(up)) / (box["bottom"] - box["top"]) * (float(across) - at)
        at = float(across)
    assert area / (box["right"] - box["left"]) == pytest.approx(
        average_precision_score(labels, scores), abs=0.005
    )


def test_a_click_on_a_curve_moves_the_threshold_there(page: Any) -> None:
    page.hover("#roc svg", position={"x": 200, "y": 60})
    shown = text(page, "#roc-at")
    page.click("#roc svg", position={"x": 200, "y": 60})
    assert page.is_visible("#moved")
    assert f"At {text(page, '#moved-to')}:" in shown
    assert text(page, "#roc-at") == shown


def test_hostile_paths_are_only_text(visit: Any, tmp_path: Path) -> None:
    write_page(
        tmp_path / "größe 裂.html",
        make_report([("good", 1.0), ("dent", 3.0), (None, 1.0), ("a<b>", 2.0)], HOSTILE),
    )
    page = visit(tmp_path / "größe 裂.html")
    shown = page.eval_on_selector_all(
        ".card", "all => all.map(c => c.querySelector('.path').textContent)"
    )
    assert sorted(f"parts/{path}" for path in shown) == sorted(HOSTILE)
    assert sorted(visible(page)) == sorted(HOSTILE)
    page.focus(".card")
    page.keyboard.press("Enter")
    for _ in HOSTILE:
        assert text(page, "#lightbox-path") in HOSTILE
        page.keyboard.press("ArrowRight")
    assert page.evaluate("typeof window.hacked") == "undefined"


def test_without_labels_the_page_works_too(visit: Any, tmp_path: Path) -> None:
    write_page(tmp_path / "report.html", make_report([(None, 1.0), (None, 1.5), (None, 3.0)]))
    page = visit(tmp_path / "report.html")
    page.fill("#threshold-number", "1.2")
    assert (text(page, "#count-rejected"), text(page, "#count-good")) == ("2", "1")
    page.click("[data-outcome=reject]")
    assert visible(page) == ["parts/None/002.png", "parts/None/001.png"]


@pytest.mark.parametrize(
    ("images", "calibration_scores"),
    [
        ([], []),
        ([], [1.0]),
        ([("good", 1.0)], [1.0, 1.0]),
        ([("dent", 1.0), ("dent", 3.0)], [1.0]),
        ([("good", 1.0), ("dent", 1.0), ("good", 1.0)], [1.0, 1.0]),
        ([("good", 0.0), ("dent", 0.0)], []),
        ([("good", 1e-7), ("dent", 5e6)], [1e-7]),
        ([("good", 1.0), (None, 1.0)], [1.0]),
    ],
    ids=[
        "nothing",
        "calibration only",
        "one good",
        "defects only",
        "ties",
        "zeros",
        "far apart",
        "one without truth",
    ],
)
def test_unusual_scores_are_shown(
    visit: Any,
    tmp_path: Path,
    images: list[tuple[str | None, float]],
    calibration_scores: list[float],
) -> None:
    write_page(tmp_path / "report.html", make_report(images, calibration_scores=calibration_scores))
    page = visit(tmp_path / "report.html")
    page.focus("#threshold")
    for key in ("Home", "ArrowRight", "End"):
        page.keyboard.press(key)
    html = page.content().split('<script type="application/json"')[0]
    assert not re.search(r"NaN|Infinity|undefined", html)


def test_the_page_fits_a_narrow_screen(visit: Any, labelled_file: Path) -> None:
    page = visit(labelled_file, viewport={"width": 360, "height": 700}, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 21, 23)"


def test_without_scripts_what_does_not_need_them_is_there(visit: Any, labelled_file: Path) -> None:
    page = visit(labelled_file, java_script_enabled=False)
    assert counts_on(page) == count(THRESHOLD)
    assert not page.is_visible("#threshold")
    assert page.locator(".card").count() == 50
    assert page.is_visible("text=no image has a mask")
