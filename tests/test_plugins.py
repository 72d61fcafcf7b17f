"""The package of docs/plugins.md, as a stranger writes, installs and uses it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from helpers import needs_fit, save, texture, with_defect

pytestmark = needs_fit

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "plugins.md"


class Plugin(NamedTuple):
    """Where the package and what it made lie, and what was printed on the way."""

    site: Path
    folder: Path
    template_file: Path
    patchcore_file: Path
    listed: str


def block(name: str, language: str) -> str:
    """The block of code that the page shows as a file."""
    match = re.search(rf"`{name}`:\n\n```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert match, name
    return match[1]


def install(site: Path) -> None:
    """Puts the package where an installer would."""
    (site / "acme_inspect.py").write_text(block("acme_inspect.py", "python"))
    project = tomllib.loads(block("pyproject.toml", "toml"))["project"]
    info = site / f"acme_inspect-{project['version']}.dist-info"
    info.mkdir()
    header = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(header)
    lines = []
    for group, points in project["entry-points"].items():
        lines.append(f"[{group}]")
        lines += [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))


def run_python(arguments: list[object], site: Path | None = None) -> str:
    """What a new process prints; with the package where its folder is given."""
    paths = [str(ROOT / "src"), *([str(site)] if site else [])]
    environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def run_commands(site: Path, *commands: list[object]) -> str:
    """What `flawmap` prints for one command after another, with the package."""
    words = [list(map(str, command)) for command in commands]
    script = f"from flawmap.cli import app\nfor words in {words}: app(words, standalone_mode=False)"
    return run_python(["-c", script], site)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    site = tmp_path_factory.mktemp("site")
    folder = tmp_path_factory.mktemp("images")
    install(site)
    for seed in range(8):
        save(folder / "good" / f"{seed}.png", texture(seed))
    save(folder / "defect.png", with_defect(texture(50), 40, 30))
    template_file = folder / "template.flawmap"
    patchcore_file = folder / "patchcore.flawmap"
    tiny = ["--size", "64", "--backbone", "test_resnet", "--weights", "random"]
    context = ["--set", "context=LocalMaximum", "--set", "context.side=5", *tiny]
    score = ["--set", "image_score=TopMean", "--coreset", "0.1", *context]
    printed = run_commands(
        site,
        ["fit", folder / "good", "-o", template_file, "--method", "template", *context],
        ["fit", folder / "good", "-o", patchcore_file, *score],
        ["methods"],
        ["methods", "template"],
    )
    assert printed.count("Fitted to 8 good images") == 2, printed
    listed = printed.rpartition("Fitted to")[2]
    return Plugin(site, folder, template_file, patchcore_file, listed)


def test_the_package_is_short() -> None:
    lines = block("acme_inspect.py", "python").splitlines()
    assert sum(bool(line.strip()) for line in lines) < 60


SCORE = """
import json, sys
folder, *files = sys.argv[1:]
loaded = {LOAD}
print(json.dumps([[inspector.inspect(f"{folder}/{name}.png").score
                   for name in ("good/0", "defect")] for inspector in loaded]))
"""


def scores(plugin: Plugin, load: str, site: Path | None) -> list[list[float]]:
    script = SCORE.replace("{LOAD}", load)
    printed = run_python(
        ["-c", script, plugin.folder, plugin.template_file, plugin.patchcore_file], site
    )
    scored: list[list[float]] = json.loads(printed.splitlines()[-1])
    return scored


def test_another_process_inspects_by_the_graph_with_neither_torch_nor_the_package(
    plugin: Plugin,
) -> None:
    with_torch = scores(plugin, "map(__import__('flawmap').Inspector.load, files)", plugin.site)
    without = "(sys.modules.update(torch=None), map(__import__('flawmap').load, files))[1]"
    by_graph = scores(plugin, without, None)
    for expected, actual in zip(with_torch, by_graph, strict=True):
        assert actual == pytest.approx(expected, rel=1e-4)
        assert actual[1] > 1.2 * actual[0]


LOAD_ALL = """
import sys
import flawmap
for file in sys.argv[1:]:
    try:
        flawmap.Inspector.load(file)
    except ValueError as error:
        print(error)
"""


def test_without_the_package_the_files_say_what_to_install(plugin: Plugin) -> None:
    printed = run_python(["-c", LOAD_ALL, plugin.template_file, plugin.patchcore_file])
    of_method, of_component = printed.splitlines()
    for line in (of_method, of_component):
        assert "comes from package acme-inspect, which is not registered here" in line
        assert "pip install acme-inspect" in line
    assert of_method.startswith("the method 'template'")
    assert "the context 'LocalMaximum'" in of_component
    assert "the image score 'TopMean'" in of_component


def test_methods_and_components_are_listed_with_their_package(plugin: Plugin) -> None:
    listed = plugin.listed
    assert re.search(r"template .*\n.*package acme-inspect", listed)
    assert "The mean patch vector of the good images at each position" in listed
    assert re.search(r"LocalMaximum .*\n.*package acme-inspect", listed)
    assert "side=3" in listed
