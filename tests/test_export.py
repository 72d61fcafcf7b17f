from __future__ import annotations

import base64
import itertools
import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import openvino
import pytest

from flawmap import Inspector, TileSize, load
from flawmap.cli.common import ExitCode
from flawmap.data.splits import sha256_of
from flawmap.errors import NotExportable, OptionError, ParityError
from flawmap.export import ExportFormat, export
from flawmap.memory.bank import TopShare
from flawmap.runtime import bundle
from flawmap.runtime.zones import Zones
from helpers import TINY, run, save, texture, with_defect

NEW = [texture(90, 80, 120), with_defect(texture(91, 130, 70), 40, 50)]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    for seed in range(12):
        save(folder / f"{seed:02}.png", texture(seed))
    return folder


@pytest.fixture(scope="module")
def part(good: Path) -> Path:
    file = good.parent / "part.flawmap"
    Inspector("patchcore", size=(64, 96), false_rejects=0.1, **TINY).fit(good).save(file)
    return file


@pytest.fixture(scope="module")
def letterboxed(good: Path) -> Path:
    wide = [texture(50 + seed, 50, 120) for seed in range(8)]
    file = good.parent / "letterboxed" / "part.flawmap"
    file.parent.mkdir()
    options: dict[str, Any] = {**TINY, "letterbox": True, "image_score": TopShare(0.05)}
    Inspector(size=(64, 96), false_rejects=0.1, **options).fit([*good.iterdir(), *wide]).save(file)
    return file


@pytest.fixture(scope="module")
def tiled(good: Path) -> Path:
    file = good.parent / "tiled" / "part.flawmap"
    file.parent.mkdir()
    large = [texture(50 + seed, 90, 150) for seed in range(4)]
    size = TileSize(64, overlap=0.25)
    Inspector(size=size, false_rejects=0.1, **TINY).fit([*good.iterdir(), *large]).save(file)
    return file


@pytest.fixture(scope="module")
def masked(good: Path) -> Path:
    file = good.parent / "masked" / "part.flawmap"
    file.parent.mkdir()
    mask = np.zeros((50, 50), bool)
    mask[7:33, 9:44] = True
    options: dict[str, Any] = {**TINY, "letterbox": True, "mask": mask}
    Inspector(size=(64, 96), false_rejects=0.1, **options).fit(good).save(file)
    return file


@pytest.fixture(scope="module")
def zoned(good: Path) -> Path:
    file = good.parent / "zoned" / "part.flawmap"
    file.parent.mkdir()
    labels = np.zeros((50, 50), np.uint8)
    labels[:20, :30], labels[20:40, 10:20], labels[45, 45] = 1, 2, 3
    mask = np.ones((50, 50), bool)
    mask[33:48, 20:] = False
    mask[44:47, 44:47] = True
    zones = Zones.of(labels, ("bore", "edge", "point"))
    options: dict[str, Any] = {**TINY, "mask": mask, "zones": zones}
    options |= {"zone_budgets": {"bore": 0.2}, "image_score": TopShare(0.1)}
    Inspector(size=(64, 96), false_rejects=0.1, **options).fit(good).save(file)
    return file


def size_in_input(settings: dict[str, Any], rows: int, columns: int) -> tuple[int, int]:
    """Height and width of an image in the input, as the JSON says."""
    preprocessing = settings["preprocessing"]
    height, width = preprocessing["height"], preprocessing["width"]
    letterbox = preprocessing["letterbox"]
    if letterbox is None:
        return height, width
    ratio = (columns * height) / (rows * width)
    if max(ratio, 1 / ratio) <= 1 + letterbox["beyond"]:
        return height, width
    scale = min(height / rows, width / columns)
    multiple = letterbox["multiple"]
    rounded = (max(1, round(side * scale / multiple)) * multiple for side in (rows, columns))
    inner_height, inner_width = rounded
    return min(inner_height, height), min(inner_width, width)


def counting_pixels(settings: dict[str, Any], rows: int, columns: int) -> np.ndarray:
    """Which pixels of an image count, as the JSON says."""
    mask = settings["preprocessing"]["mask"]
    if mask is None:
        return np.ones((rows, columns), bool)
    data = np.frombuffer(base64.b64decode(mask["png"]), np.uint8)
    grey = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))
    assert grey.shape == (mask["height"], mask["width"])
    counting = np.zeros((rows, columns), bool)
    for r, c in np.ndindex(rows, columns):
        row = (2 * r + 1) * mask["height"] // (2 * rows)
        column = (2 * c + 1) * mask["width"] // (2 * columns)
        counting[r, c] = grey[row, column] > 0
    return counting


def blank(settings: dict[str, Any], prepared: np.ndarray, counting: np.ndarray) -> None:
    """Give the cells that do not count their value, as the JSON says."""
    mask = settings["preprocessing"]["mask"]
    rows, columns = counting.shape
    h, w = size_in_input(settings, rows, columns)
    cell = mask["cell"]
    for t, left in itertools.product(range(0, h, cell), range(0, w, cell)):
        b, r = min(t + cell, h), min(left + cell, w)
        first, last = math.floor(t * rows / h), math.ceil(b * rows / h)
        begin, end = math.floor(left * columns / w), math.ceil(r * columns / w)
        if not counting[first:last, begin:end].any():
            prepared[:, t:b, left:r] = mask["padding"]


def preprocess_as(settings: dict[str, Any], image: np.ndarray) -> np.ndarray:
    """Prepare an image as the JSON says, with nothing of flawmap's."""
    preprocessing = settings["preprocessing"]
    counting = counting_pixels(settings, *image.shape[:2])
    colour = np.rint(255 * np.array(preprocessing["mean"])).astype(np.uint8)
    image = np.where(counting[:, :, None], image, colour)
    height, width = size_in_input(settings, *image.shape[:2])
    rows, columns = image.shape[:2]
    small = cv2.resize(
        image, (min(columns, width), min(rows, height)), interpolation=cv2.INTER_AREA
    )
    resized = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    mean, std = np.float32(preprocessing["mean"]), np.float32(preprocessing["std"])
    scaled = ((resized.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1)
    if not preprocessing["letterbox"]:
        return scaled
    shape = 3, preprocessing["height"], preprocessing["width"]
    padded = np.full(shape, preprocessing["letterbox"]["padding"], np.float32)
    padded[:, :height, :width] = scaled
    if preprocessing["mask"]:
        blank(settings, padded, counting)
    return padded


def run_graph(to: str, folder: Path, images: np.ndarray) -> list[np.ndarray]:
    settings = json.loads((folder / "part.json").read_text())["graph"]["compile_settings"]
    if to == "onnx":
        session = onnxruntime.InferenceSession(
            folder / "part.onnx", providers=["CPUExecutionProvider"]
        )
        return list(session.run(["score", "anomaly_map"], {"image": images}))
    compiled = openvino.Core().compile_model(folder / "part.xml", "CPU", settings)
    return [compiled(images)[name] for name in ("score", "anomaly_map")]


@pytest.mark.parametrize(
    ("to", "file"),
    [
        ("openvino", "part"),
        ("onnx", "part"),
        ("openvino", "letterboxed"),
        ("onnx", "letterboxed"),
        ("openvino", "masked"),
    ],
)
def test_a_stranger_with_graph_and_json_comes_to_the_same_verdicts(
    to: ExportFormat, file: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    part: Path = request.getfixturevalue(file)
    exported = export(part, tmp_path, to)
    assert exported.max_relative_difference < 1e-4
    settings = json.loads((tmp_path / "part.json").read_text())
    made_from, saved = settings["made_from"], bundle.load(part)
    assert made_from["sha256"] == sha256_of(part)
    assert made_from["model_sha256"] == saved.sha256
    assert made_from["scorer_sha256"] == saved.manifest.scorer_sha256
    hashes = {file.name: sha256_of(file) for file in exported.files[:-1]}
    assert settings["graph"]["files"] == hashes
    runtime, decision = load(part), settings["decision"]
    images = [texture(92, 80, 80), texture(93, 64, 64)] if file == "masked" else NEW
    inputs = np.stack([preprocess_as(settings, image) for image in images])
    scores, maps = run_graph(to, tmp_path, inputs)
    for image, score, distances in zip(images, scores, maps, strict=True):
        difference = preprocess_as(settings, image) - runtime.preprocessing(image)
        assert np.abs(difference).max() < 1e-5
        verdict = runtime.inspect(image)
        assert score == pytest.approx(verdict.score, rel=1e-4)
        assert (score > decision["threshold"]) == verdict.reject
        at_least = sum(good_score >= score for good_score in decision["good_scores"])
        assert (1 + at_least) / (1 + len(decision["good_scores"])) == pytest.approx(verdict.p_value)
        inner_height, inner_width = size_in_input(settings, *image.shape[:2])
        cut = distances[:inner_height, :inner_width]
        resized = cv2.resize(cut, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        heatmap = resized / decision["map_limit"]
        heatmap[~counting_pixels(settings, *image.shape[:2])] = 0
        assert np.abs(heatmap - verdict.heatmap).max() < 0.05 * verdict.heatmap.max()
    assert (size_in_input(settings, 130, 70) == (64, 32)) == (file != "part")
    assert decision["thresholds"]["0.1"] == pytest.approx(runtime.calibration.threshold)


def zone_labels(settings: dict[str, Any], counting: np.ndarray) -> np.ndarray:
    """The number of the zone of each pixel, as the JSON says."""
    zones = settings["decision"]["zones"]
    data = np.frombuffer(base64.b64decode(zones["png"]), np.uint8)
    grey = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))
    labels = np.zeros(counting.shape, np.uint8)
    rows, columns = counting.shape
    for r, c in zip(*counting.nonzero(), strict=True):
        row = (2 * r + 1) * zones["height"] // (2 * rows)
        labels[r, c] = grey[row, (2 * c + 1) * zones["width"] // (2 * columns)]
    return labels


def zone_patches(
    settings: dict[str, Any], labels: np.ndarray, place: tuple[int, int]
) -> list[np.ndarray]:
    """Which patches each zone has, as the JSON says."""
    patch, (h, w) = settings["decision"]["zones"]["patch"], place
    rows, columns = labels.shape
    count = len(settings["decision"]["zones"]["by_zone"])
    seen = np.zeros((count, h // patch, w // patch), int)
    for i, j in np.ndindex(h // patch, w // patch):
        first, last = i * patch * rows // h, math.ceil((i + 1) * patch * rows / h)
        begin, end = j * patch * columns // w, math.ceil((j + 1) * patch * columns / w)
        cell = labels[first:last, begin:end]
        seen[:, i, j] = [(cell == number).sum() for number in range(1, count + 1)]
    chosen = [(seen[n] > 0) & (seen.argmax(axis=0) == n) for n in range(count)]
    return [own if own.any() else seen[n] > 0 for n, own in enumerate(chosen)]


def test_a_stranger_scores_each_zone_as_the_json_says(zoned: Path, tmp_path: Path) -> None:
    export(zoned, tmp_path, "openvino")
    settings = json.loads((tmp_path / "part.json").read_text())
    join, zones = settings["decision"]["join"], settings["decision"]["zones"]
    assert settings["decision"]["threshold"] is None
    runtime = load(zoned)
    images = [texture(92, 80, 80), with_defect(texture(93, 60, 60), 12, 12, 4)]
    inputs = np.stack([preprocess_as(settings, image) for image in images])
    for image, distances in zip(images, run_graph("openvino", tmp_path, inputs)[1], strict=True):
        verdict = runtime.inspect(image)
        counting = counting_pixels(settings, *image.shape[:2])
        labels = zone_labels(settings, counting)
        height, width = size_in_input(settings, *image.shape[:2])
        patch = zones["patch"]
        cut = distances[: height // patch, : width // patch]
        deciding = []
        patches = zone_patches(settings, labels, (height, width))
        pairs = zip(zones["by_zone"], patches, verdict.by_zone, strict=True)
        for zone, own, said in pairs:
            count = max(1, round(join["share"] * min(own.sum(), join["patches_of_a_tile"])))
            score = np.sort(cut[own])[-count:].mean()
            assert score == pytest.approx(said.score, rel=1e-4)
            assert (zone["name"], zone["threshold"]) == (said.name, said.threshold)
            deciding.append((score > zone["threshold"], score / zone["threshold"], zone["name"]))
        assert max(deciding)[2] == verdict.zone
        blanked = preprocess_as(settings, image)[0, :height:patch, :width:patch]
        counts = (blanked > -5000).astype(np.float32)
        total, weight = (
            cv2.GaussianBlur(
                cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR),
                (2 * int(4 * join["sigma"] + 0.5) + 1,) * 2,
                join["sigma"],
                borderType=cv2.BORDER_REFLECT,
            )
            for values in (cut * counts, counts)
        )
        inner = np.repeat(np.repeat(counts, patch, 0), patch, 1)
        pixels = inner * total / np.maximum(weight, 1e-6)
        small = cv2.resize(
            pixels,
            (min(width, image.shape[1]), min(height, image.shape[0])),
            interpolation=cv2.INTER_AREA,
        )
        heatmap = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        limits = np.array([np.inf, *(zone["map_limit"] for zone in zones["by_zone"])])
        heatmap = heatmap / limits[labels]
        assert np.abs(heatmap - verdict.heatmap).max() < 1e-3 * verdict.heatmap.max()
    assert runtime.inspect(images[1]).zone == "bore"


def origins_as(length: int, tile: int, step: int) -> list[int]:
    last = max(0, length - tile)
    return [*range(0, last, step), last]


def weights_as(side: int, step: int, patch: int) -> np.ndarray:
    count, shared = side // patch, (side - step) // patch
    nearest = np.array([min(i, count - 1 - i) for i in range(count)])
    return np.clip(2 * (nearest + 0.5) / shared - 0.5, 0.001, 1) if shared else np.ones(count)


@pytest.mark.parametrize("to", ["openvino", "onnx"])
def test_a_stranger_cuts_and_joins_as_the_json_says(
    to: ExportFormat, tiled: Path, tmp_path: Path
) -> None:
    export(tiled, tmp_path, to)
    settings = json.loads((tmp_path / "part.json").read_text())
    tiles, join, preprocessing = (
        settings["preprocessing"]["tiles"],
        settings["decision"]["join"],
        settings["preprocessing"],
    )
    height, width, patch = preprocessing["height"], preprocessing["width"], tiles["patch"]
    mean, std = np.float32(preprocessing["mean"]), np.float32(preprocessing["std"])
    weights = np.outer(
        weights_as(height, tiles["row_step"], patch), weights_as(width, tiles["column_step"], patch)
    )
    runtime = load(tiled)
    for image in (texture(70, 130, 190), texture(71, 40, 100), with_defect(NEW[0], 40, 50)):
        rows, columns = (-(-side // patch) * patch for side in image.shape[:2])
        missing = rows - image.shape[0], columns - image.shape[1]
        whole = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        total, weight = np.zeros((2, rows // patch, columns // patch))
        for row in origins_as(rows, height, tiles["row_step"]):
            for column in origins_as(columns, width, tiles["column_step"]):
                cut = whole[row : row + height, column : column + width]
                tile = np.full((1, 3, height, width), tiles["padding"], np.float32)
                scaled = (cut.astype(np.float32) / 255 - mean) / std
                tile[0, :, : cut.shape[0], : cut.shape[1]] = scaled.transpose(2, 0, 1)
                distances = run_graph(to, tmp_path, tile)[1][0]
                place = np.s_[row // patch :, column // patch :]
                part = np.s_[: cut.shape[0] // patch, : cut.shape[1] // patch]
                total[place][part] += weights[part] * distances[part]
                weight[place][part] += weights[part]
        joined = (total / weight).astype(np.float32)
        verdict = runtime.inspect(image)
        count = max(1, round(join["share"] * min(joined.size, join["patches_of_a_tile"])))
        score = np.sort(joined.ravel())[-count:].mean()
        assert score == pytest.approx(verdict.score, rel=1e-4)
        grown = cv2.resize(joined, (columns, rows), interpolation=cv2.INTER_LINEAR)
        grown = grown[: image.shape[0], : image.shape[1]]
        kernel = (2 * int(4 * join["sigma"] + 0.5) + 1,) * 2
        smooth = cv2.GaussianBlur(grown, kernel, join["sigma"], borderType=cv2.BORDER_REFLECT)
        heatmap = smooth / settings["decision"]["map_limit"]
        assert np.abs(heatmap - verdict.heatmap).max() < 1e-3 * verdict.heatmap.max()


@pytest.mark.parametrize("file", ["part", "letterboxed", "tiled"])
@pytest.mark.parametrize("to", ["openvino", "onnx"])
def test_int8_is_scaled_by_good_images(
    to: ExportFormat, file: str, good: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    part: Path = request.getfixturevalue(file)
    assert export(part, tmp_path, to, "int8", good).max_relative_difference < 0.15
    settings = json.loads((tmp_path / "part.json").read_text())
    assert settings["graph"]["precision"] == "int8"
    if file == "tiled":
        return
    score = run_graph(to, tmp_path, preprocess_as(settings, NEW[0])[None])[0]
    assert score[0] == pytest.approx(load(part).inspect(NEW[0]).score, rel=0.1)
    with pytest.raises(OptionError, match="name them with --quantisation-images FOLDER"):
        export(part, tmp_path, to, "int8")


def test_a_graph_that_scores_otherwise_is_not_handed_out(part: Path, tmp_path: Path) -> None:
    manifest, arrays, _ = bundle.load(part)
    bundle.save(
        tmp_path / "part.flawmap",
        manifest,
        arrays | {"golden.scores": arrays["golden.scores"] * 1.001},
    )
    with pytest.raises(ParityError, match="as openvino in f32: golden image 1 of 2"):
        export(tmp_path / "part.flawmap", tmp_path / "out")
    assert not (tmp_path / "out" / "part.json").exists()


def test_what_no_graph_can_hold(good: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {name: value for name, value in TINY.items() if name != "coreset"}
    Inspector("spade", size=64, **options).fit(good).save(tmp_path / "part.flawmap")
    with pytest.raises(NotExportable, match="each image chooses the good ones"):
        export(tmp_path / "part.flawmap", tmp_path)


def test_what_was_fitted_in_int8_runs_and_stays_what_it_is(good: Path, tmp_path: Path) -> None:
    inspector = Inspector(size=64, precision="int8", **TINY).fit(good)
    inspector.save(tmp_path / "part.flawmap")
    runtime = load(tmp_path / "part.flawmap")
    for image in NEW:
        assert runtime.inspect(image).score == pytest.approx(
            inspector.inspect(image).score, rel=1e-3
        )
    with pytest.raises(OptionError, match="fitted in int8 and cannot run in f32"):
        load(tmp_path / "part.flawmap", "f32")
    with pytest.raises(OptionError, match="fit in f32 and export in int8"):
        export(tmp_path / "part.flawmap", tmp_path)


def test_the_command(part: Path, tmp_path: Path) -> None:
    code, output = run("export", part, "-o", tmp_path / "out")
    assert code == ExitCode.ALL_GOOD
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "part.xml",
        "part.bin",
        "part.json",
    }
    assert "golden images differ by at most" in output
