"""One source file: its definitions, names, tokens and the bodies of its functions."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from code_complexity import Function

NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


@dataclass(frozen=True)
class Definition:
    """A function or class in a module.

    Args:
        node: syntax tree of the definition.
        public: whether it and all classes around it have public names, outside any function.
        method: whether it stands directly in a class.
    """

    node: Function | ast.ClassDef
    public: bool
    method: bool

    @property
    def docstring(self) -> str:
        """Its docstring without indentation, empty if there is none."""
        return ast.get_docstring(self.node) or ""


@dataclass(frozen=True)
class FunctionBody:
    """Size of what a function does: its statements without the docstring."""

    lines: int
    tokens: int


class Module:
    """One source file, parsed.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text(encoding="utf-8")
        self.lines = self.text.splitlines()
        self.tree = ast.parse(self.text)
        self.definitions = list(_find_definitions(self.tree))
        self.tokens = _code_tokens(self.text, self.tree)

    @property
    def functions(self) -> list[Definition]:
        """All functions and methods, nested ones too."""
        return [
            definition for definition in self.definitions if isinstance(definition.node, Function)
        ]

    @property
    def is_stub(self) -> bool:
        """Whether it is a package file of one line at most, or `__main__.py`."""
        one_line = self.path.name == "__init__.py" and len(self.lines) <= 1
        return one_line or self.path.name == "__main__.py"

    @property
    def code_lines(self) -> set[int]:
        """Numbers of the lines that hold code."""
        return {line for token in self.tokens for line in range(token.start[0], token.end[0] + 1)}

    def public_names(self) -> set[str]:
        """Names without leading underscore that the module defines at its top level."""
        names = {name for statement in self.tree.body for name in _defined_names(statement)}
        return {name for name in names if not name.startswith("_")}

    def bodies(self) -> Iterator[FunctionBody]:
        """Sizes of the bodies of all functions that have more than a docstring."""
        for definition in self.functions:
            body = _without_docstring(definition.node)
            if body:
                first, last = _first_line(body[0]), body[-1].end_lineno or 0
                tokens = sum(first <= token.start[0] <= last for token in self.tokens)
                yield FunctionBody(last - first + 1, tokens)


def _find_definitions(
    parent: ast.AST, public: bool = True, method: bool = False
) -> Iterator[Definition]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, Function | ast.ClassDef):
            shown = public and not node.name.startswith("_")
            is_class = isinstance(node, ast.ClassDef)
            yield Definition(node, shown, method)
            yield from _find_definitions(node, shown and is_class, is_class)
        else:
            yield from _find_definitions(node, public, method)


def _code_tokens(text: str, tree: ast.Module) -> list[tokenize.TokenInfo]:
    strings = _string_statement_lines(tree)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [
        token for token in tokens if token.type not in NO_CODE and token.start[0] not in strings
    ]


def _string_statement_lines(tree: ast.Module) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and _is_string(node):
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def _is_string(node: ast.AST) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _defined_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, Function | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        targets = [node for target in statement.targets for node in ast.walk(target)]
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        targets = []
    return [node.id for node in targets if isinstance(node, ast.Name)]


def _without_docstring(node: Function | ast.ClassDef) -> list[ast.stmt]:
    return node.body[1:] if _is_string(node.body[0]) else node.body


def _first_line(statement: ast.stmt) -> int:
    if isinstance(statement, Function | ast.ClassDef) and statement.decorator_list:
        return statement.decorator_list[0].lineno
    return statement.lineno
