"""What the documentation names is there: commands, options, modules, files, headings."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import flawmap
from flawmap.cli import app
from flawmap.errors import DatasetError, OptionError
from flawmap.methods import METHODS
from helpers import run

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "docs/results/README.md",
]
PLUGIN_METHODS = {"template", "image_score=TopMean"}
"""Of the package in docs/plugins.md; tests/test_plugins.py fits with it."""

COMMANDS = typer.main.get_group(app).commands


def console_lines(text: str) -> Iterator[str]:
    """What is typed in blocks of console, after `$`, and in blocks of bash."""
    for language, block in re.findall(r"```(console|bash)\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            if language == "bash" or line.startswith("$ "):
                yield line.removeprefix("$ ").partition(" #")[0]


def code_spans(text: str) -> Iterator[str]:
    """What stands in backticks outside of blocks."""
    outside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", outside))


def words_of(command: str) -> list[str]:
    """Words of a command; of alternatives the first, without brackets and ellipses."""
    plain = re.sub(r"(\S+)( \| \S+)+", r"\1", command)
    plain = re.sub(r"[\[\]]|…$| … ", " ", plain)
    return [re.sub(r"^(N|\d…\d)$", "1", word) for word in shlex.split(plain)]


class WrongUsage(Exception):
    """A command that the command line does not take."""


def parse(words: list[str], *, complete: bool) -> None:
    """Parse a command without running it; arguments may lack unless it is complete."""
    name, *arguments = words
    if name not in COMMANDS:
        raise WrongUsage(f"no such command: {name}")
    try:
        COMMANDS[name].make_context(name, arguments)
    except typer.Exit:
        pass
    except Exception as error:
        lacks_something = type(error).__name__ in ("MissingParameter", "BadOptionUsage")
        if complete or not lacks_something:
            raise WrongUsage(f"{name}: {error}") from error


def commands() -> list[tuple[str, bool]]:
    found: dict[tuple[str, bool], None] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for line in console_lines(text):
            if line.startswith("flawmap "):
                found[line, True] = None
        for span in code_spans(text):
            if re.match(r"(/usr/bin/time -v )?flawmap [a-z-]", span):
                found[span.removeprefix("/usr/bin/time -v "), False] = None
            elif span.partition(" ")[0] in COMMANDS and " --" in span:
                found[f"flawmap {span}", False] = None
    return list(found)


def option_spans() -> list[str]:
    spans = {
        span
        for page in PAGES
        for span in code_spans(page.read_text(encoding="utf-8"))
        if span.startswith("--")
    }
    return sorted(spans)


@pytest.mark.parametrize(("command", "complete"), commands())
def test_every_command_parses(command: str, complete: bool) -> None:
    _, *words = words_of(command)
    parse(words, complete=complete)
    if "--set" in words:
        assert_options_work(words)


@pytest.mark.parametrize("span", option_spans())
def test_every_option_belongs_to_a_command(span: str) -> None:
    errors = []
    for name in COMMANDS:
        try:
            parse([name, *words_of(span)], complete=False)
        except WrongUsage as error:
            errors.append(str(error))
        else:
            break
    else:
        pytest.fail("\n".join(errors))
    if "--set " in span:
        assert_options_work(["fit", *words_of(span)])


def assert_options_work(words: list[str]) -> None:
    """Fit checks its options before it reads an image, and there is none to read."""
    name, *options = [word for word in words if not re.fullmatch("[A-Z]+|.*/", word)]
    if PLUGIN_METHODS & set(options):
        return
    if any(word.startswith("finetune.") for word in options) and "--finetune" not in options:
        options += ["--finetune", "synthetic"]
    errors = []
    for method in ["patchcore"] if "--method" in options else METHODS:
        fit_options = options if "--method" in options else [*options, "--method", method]
        try:
            run(name, "no such folder", *fit_options)
        except DatasetError:
            return
        except OptionError as error:
            errors.append(f"{method}: {error}")
    pytest.fail("\n".join(errors))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_and_files_are_there(page: Path) -> None:
    for span in code_spans(page.read_text(encoding="utf-8")):
        if re.fullmatch(r"flawmap(\.\w+)+", span) and not span.endswith(".methods"):
            resolve(span)
        if re.fullmatch(r"(tests|bench|docs|src|tools)/[\w./-]+", span):
            assert (ROOT / span).exists(), span
        script = re.match(r"python ((?:bench|tools)/\w+\.py)", span)
        if script:
            source = (ROOT / script[1]).read_text(encoding="utf-8")
            for option in re.findall(r"--[a-z][\w-]*", span):
                assert option in source, span


def resolve(name: str) -> None:
    """Import what a dotted name names."""
    *parents, last = name.split(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        assert hasattr(importlib.import_module(".".join(parents)), last), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, link


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_import_what_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flawmap"):
                module = importlib.import_module(node.module or flawmap.__name__)
                assert all(hasattr(module, alias.name) for alias in node.names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_are_short_but_in_tables(page: Path) -> None:
    text = re.sub(r"```json\n.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = text.splitlines()
    long = [line for line in lines if len(line) > 100 and not line.lstrip().startswith("|")]
    assert not long
