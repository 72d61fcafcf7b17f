"""Cyclomatic complexity of a function, counted in two ways.

`mccabe` counts statements only, as ruff's rule C901 does. `radon` also counts boolean operators,
conditional expressions, comprehensions and assertions, as the program of that name does; a
nested function adds to the one around it here, which radon itself omits.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef
Loop = ast.For | ast.AsyncFor | ast.While


def mccabe(function: Function) -> int:
    """Return the complexity by statements; a nested function counts 1 and its own branches.

    Args:
        function: syntax tree of the function.
    """
    nested = sum(isinstance(node, Function) for node in _walk_body(function))
    return 1 + nested + sum(map(_statement_branches, _walk_body(function)))


def radon(function: Function) -> int:
    """Return the complexity by statements and expressions.

    Args:
        function: syntax tree of the function.
    """
    statements = sum(map(_statement_branches, _walk_body(function)))
    return 1 + statements + sum(map(_expression_branches, _walk_body(function)))


def _walk_body(function: Function) -> Iterator[ast.AST]:
    for statement in function.body:
        yield from ast.walk(statement)


def _statement_branches(node: ast.AST) -> int:
    if isinstance(node, ast.If | Loop):
        return 1
    if isinstance(node, ast.Try | ast.TryStar):
        return len(node.handlers) + bool(node.orelse)
    if isinstance(node, ast.Match):
        return len(node.cases) - any(map(_is_wildcard, node.cases))
    return 0


def _is_wildcard(case: ast.match_case) -> bool:
    return isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None


def _expression_branches(node: ast.AST) -> int:
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.IfExp | ast.Assert):
        return 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    if isinstance(node, Loop):
        return bool(node.orelse)
    return 0
