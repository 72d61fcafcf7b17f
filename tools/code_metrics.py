"""The figures of one package, from its source text; see measure_code.py for the definitions."""

from __future__ import annotations

import ast
import doctest
import math
import statistics
import tomllib
from collections.abc import Sequence
from pathlib import Path

from code_complexity import Function, mccabe, radon
from code_module import Definition, FunctionBody, Module

MAX_COLUMNS = 100
MAX_NAMES = 12
MAX_PARAMETERS = 7
MAX_RADON = 10

Figures = dict[str, float | None]
"""Each figure by its name; None where it is not known."""


def measure(source: Path) -> Figures:
    """Return all figures of the package in a folder.

    Args:
        source: folder of the package.

    Raises:
        FileNotFoundError: the folder holds no Python file.
    """
    modules = [Module(path) for path in sorted(source.rglob("*.py"))]
    if not modules:
        raise FileNotFoundError(f"{source}: no Python files in this folder")
    functions = [definition for module in modules for definition in module.functions]
    return {
        **_module_figures(modules),
        **_body_figures([body for module in modules for body in module.bodies()]),
        **_text_figures(modules),
        **_name_figures(modules),
        **_function_figures(functions),
        **_parameter_figures(source, modules),
        **_docstring_figures(
            [definition for module in modules for definition in module.definitions]
        ),
        "entries": _count_entries(source),
        "layers": _count_layers(source),
    }


def percentile(values: Sequence[float], fraction: float) -> float:
    """Return the value that this fraction of the values lies below.

    Args:
        values: at least one number, in any order.
        fraction: 0 to 1.
    """
    return sorted(values)[min(len(values) - 1, math.floor(fraction * len(values)))]


def _module_figures(modules: list[Module]) -> Figures:
    everywhere = [len(module.lines) for module in modules]
    without_stubs = [len(module.lines) for module in modules if not module.is_stub]
    return {
        "module_lines_median": statistics.median(without_stubs or everywhere),
        "module_lines_median_all": statistics.median(everywhere),
        "module_lines_max": max(everywhere),
    }


def _body_figures(bodies: list[FunctionBody]) -> Figures:
    lines = [body.lines for body in bodies] or [0]
    tokens = [body.tokens for body in bodies] or [0]
    return {
        "body_lines_median": statistics.median(lines),
        "body_lines_p90": percentile(lines, 0.9),
        "body_lines_max": max(lines),
        "body_tokens_median": statistics.median(tokens),
        "body_tokens_p90": percentile(tokens, 0.9),
    }


def _text_figures(modules: list[Module]) -> Figures:
    lines = [line for module in modules for line in module.lines]
    code_lines = sum(len(module.code_lines) for module in modules)
    tokens = sum(len(module.tokens) for module in modules)
    return {
        "tokens_per_line": tokens / code_lines if code_lines else 0,
        "long_lines": _percentage(sum(len(line) > MAX_COLUMNS for line in lines), len(lines)),
    }


def _name_figures(modules: list[Module]) -> Figures:
    counts = [len(module.public_names()) for module in modules]
    return {"names": sum(counts), "crowded_modules": sum(count > MAX_NAMES for count in counts)}


def _function_figures(functions: list[Definition]) -> Figures:
    nodes = [definition.node for definition in functions if isinstance(definition.node, Function)]
    return {
        "typed": _percentage(sum(map(_is_typed, functions)), len(functions)),
        "mccabe_max": max(map(mccabe, nodes), default=0),
        "radon_above": sum(radon(node) > MAX_RADON for node in nodes),
    }


def _parameter_figures(source: Path, modules: list[Module]) -> Figures:
    in_commands = 0
    elsewhere = 0
    largest = 0
    for module in modules:
        counts = [len(_parameters(definition)) for definition in module.functions]
        wide = sum(count > MAX_PARAMETERS for count in counts)
        largest = max([largest, *counts])
        if module.path.relative_to(source).parts[0] == "cli":
            in_commands += wide
        else:
            elsewhere += wide
    return {
        "wide_functions": in_commands + elsewhere,
        "most_parameters": largest,
        "wide_outside_cli": elsewhere,
    }


def _docstring_figures(definitions: list[Definition]) -> Figures:
    public = [definition for definition in definitions if definition.public]
    lines = sum(len(definition.docstring.splitlines()) for definition in public)
    with_arguments = [definition for definition in public if _has_arguments(definition)]
    explained = sum("Args:" in definition.docstring for definition in with_arguments)
    return {
        "args_sections": _percentage(explained, len(with_arguments)),
        "docstring_lines": lines / len(public) if public else 0,
        "examples": sum(_has_example(definition.docstring) for definition in definitions),
    }


def _count_entries(source: Path) -> int:
    ignored = {"py.typed", "__pycache__"}
    return sum(entry.name not in ignored for entry in source.iterdir())


def _count_layers(source: Path) -> int | None:
    for folder in source.resolve().parents:
        config = folder / "pyproject.toml"
        if config.is_file():
            return _layers_in(config, source.resolve().name)
    return None


def _layers_in(config: Path, package: str) -> int | None:
    settings = tomllib.loads(config.read_text(encoding="utf-8")).get("tool", {})
    for contract in settings.get("importlinter", {}).get("contracts", []):
        if contract["type"] == "layers" and contract.get("containers") == [package]:
            return len(contract["layers"])
    return None


def _percentage(count: int, total: int) -> float:
    return 100 * count / total if total else 0


def _is_typed(definition: Definition) -> bool:
    arguments = _parameters(definition) + _starred(definition)
    returns = getattr(definition.node, "returns", None)
    return returns is not None and all(argument.annotation for argument in arguments)


def _has_arguments(definition: Definition) -> bool:
    return isinstance(definition.node, Function) and bool(
        _parameters(definition) + _starred(definition)
    )


def _parameters(definition: Definition) -> list[ast.arg]:
    """Return the parameters but *args and **kwargs, and without self or cls."""
    if not isinstance(definition.node, Function):
        return []
    given = definition.node.args
    positional = given.posonlyargs + given.args
    if definition.method and not _is_static(definition.node):
        positional = positional[1:]
    return positional + given.kwonlyargs


def _starred(definition: Definition) -> list[ast.arg]:
    if not isinstance(definition.node, Function):
        return []
    given = definition.node.args
    return [argument for argument in (given.vararg, given.kwarg) if argument]


def _is_static(node: Function) -> bool:
    return any(
        isinstance(decorator, ast.Name) and decorator.id == "staticmethod"
        for decorator in node.decorator_list
    )


def _has_example(docstring: str) -> bool:
    return bool(doctest.DocTestParser().get_examples(docstring))
