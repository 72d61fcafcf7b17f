"""The report page's script: its ES modules, joined into one inline script.

A page that opens from disk cannot load modules: browsers refuse `file:` imports, and the page's
content security policy allows one script, by its hash. So the modules are checked and linted as
modules, and joined here. This reads the plain forms that the modules are written in (Biome keeps
them so), line by line: declarations that begin in the first column, named imports, and `export`
before a declaration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from importlib import resources

_IMPORT = re.compile(
    r'^import \{((?:\s*[\w$]+\s*(?:,|(?=\})))+)\s*\} from "\./([\w-]+\.js)";\n',
    re.MULTILINE,
)
_DECLARATION = re.compile(
    r"^(?P<export>export )?(?:(?:async )?function\*? ?|class |const |let |var )(?P<name>[\w$]+)",
    re.MULTILINE,
)
_OTHER_FORM = re.compile(r"^(?:import\b|export\b|(?:const|let|var) [\[{]).*", re.MULTILINE)
_ENDS_SCRIPT = re.compile(r"</script|<!--", re.IGNORECASE)


@dataclass(frozen=True)
class _Module:
    body: str
    imports: dict[str, set[str]]
    names: list[str]
    exports: set[str]


def page_script() -> str:
    """The script of the report page: all modules of `report/js`, joined.

    Raises:
        ValueError: the modules do not fit together; see `join_modules`.
    """
    folder = resources.files("flawmap.report").joinpath("js")
    files = {file.name: file for file in folder.iterdir() if file.name.endswith(".js")}
    return join_modules({name: files[name].read_text("utf-8") for name in sorted(files)})


def join_modules(modules: Mapping[str, str]) -> str:
    r"""One classic script that does what the modules do, each after those that it imports from.

    Args:
        modules: source text of each ES module by its file name, such as "numbers.js".

    Returns:
        The modules without their imports and `export` keywords, in a function of their own, so
        that no name becomes global.

    Raises:
        ValueError: a module imports what no module exports; modules import each other in a circle;
            two modules declare the same name; a form of import, export or declaration that cannot
            be joined; or a text that would end the script element of the page.

    Example:
        >>> area = 'import { PI } from "./pi.js";\nconsole.log(PI);\n'
        >>> print(join_modules({"area.js": area, "pi.js": "export const PI = 3;\n"}))
        (() => {
        "use strict";
        <BLANKLINE>
        // ---- pi.js ----
        <BLANKLINE>
        const PI = 3;
        <BLANKLINE>
        // ---- area.js ----
        <BLANKLINE>
        console.log(PI);
        <BLANKLINE>
        })();
    """
    parsed = {file: _parse(file, source) for file, source in modules.items()}
    _check_imports(parsed)
    _check_names(parsed)
    sections = [f"// ---- {file} ----\n\n{parsed[file].body}\n" for file in _order(parsed)]
    return '(() => {\n"use strict";\n\n' + "\n".join(sections) + "\n})();"


def _parse(file: str, source: str) -> _Module:
    if match := _ENDS_SCRIPT.search(source):
        raise ValueError(f"{file} holds {match[0]}, which would end the page's script element")
    imports: dict[str, set[str]] = {}
    for names, origin in _IMPORT.findall(source):
        imports.setdefault(origin, set()).update(re.findall(r"[\w$]+", names))
    body = _IMPORT.sub("", source)
    declarations = list(_DECLARATION.finditer(body))
    exports = {match["name"] for match in declarations if match["export"]}
    body = _DECLARATION.sub(lambda match: match[0].removeprefix("export "), body)
    if match := _OTHER_FORM.search(body):
        raise ValueError(f"{file} cannot be joined because of the line: {match[0]}")
    return _Module(body.strip(), imports, [match["name"] for match in declarations], exports)


def _check_imports(modules: Mapping[str, _Module]) -> None:
    for file, module in modules.items():
        for origin, names in module.imports.items():
            if origin not in modules:
                raise ValueError(f"{file} imports from {origin}, which is not there")
            if names - modules[origin].exports:
                missing = ", ".join(sorted(names - modules[origin].exports))
                raise ValueError(f"{file} imports {missing}, which {origin} does not export")


def _check_names(modules: Mapping[str, _Module]) -> None:
    declared: dict[str, str] = {}
    for file, module in modules.items():
        for name in module.names:
            if name in declared:
                raise ValueError(f"{declared[name]} and {file} both declare {name}: rename one")
            declared[name] = file


def _order(modules: Mapping[str, _Module]) -> list[str]:
    """File names, each after those that its module imports from."""
    graph = {file: list(module.imports) for file, module in modules.items()}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " → ".join(error.args[1])
        raise ValueError(f"modules import each other in a circle: {circle}") from error
