from __future__ import annotations

import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest

from flawmap.report.script import join_modules, page_script

NODE = shutil.which("node")
MODULES = sorted(Path(str(resources.files("flawmap.report"))).joinpath("js").glob("*.js"))
needs_node = pytest.mark.skipif(
    NODE is None, reason="needs Node.js; install it so that `node` is on the PATH"
)


def run(*arguments: str, script: str = "") -> str:
    """What node prints; a script comes by standard input."""
    assert NODE
    command = [NODE, *arguments]
    done = subprocess.run(command, check=False, input=script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_module_stands_after_those_that_it_imports_from() -> None:
    script = join_modules(
        {
            "a.js": 'import { c } from "./c.js";\nimport { b } from "./b.js";\nc(b);\n',
            "b.js": 'import { c } from "./c.js";\nexport const b = c(1);\n',
            "c.js": "export function c(value) {\n  return value;\n}\n",
        }
    )
    assert re.findall(r"^// ---- (.*) ----$", script, re.MULTILINE) == ["c.js", "b.js", "a.js"]
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)


@needs_node
def test_the_joined_script_does_what_the_modules_do(tmp_path: Path) -> None:
    modules = {
        "main.js": 'import {\n  count,\n  increase,\n} from "./state.js";\n\n'
        "increase();\nconsole.log(count, typeof globalThis.count);\n",
        "state.js": "export let count = 1;\n\n/** Adds `import { x }`. */\n"
        "export function increase() {\n  count += 1;\n}\n",
    }
    for name, source in modules.items():
        (tmp_path / name).write_text(source, "utf-8")
    (tmp_path / "package.json").write_text('{"type": "module"}', "utf-8")
    assert run(str(tmp_path / "main.js")) == "2 undefined\n"
    assert run("-", script=join_modules(modules)) == "2 undefined\n"


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (
            {"a.js": 'import { b } from "./b.js";\n'},
            "a.js imports from b.js, which is not there",
        ),
        (
            {
                "a.js": 'import { b, c } from "./b.js";\n',
                "b.js": "export const c = 1;\nconst b = 2;\n",
            },
            "a.js imports b, which b.js does not export",
        ),
        (
            {
                "a.js": 'import { b } from "./b.js";\nexport const a = 1;\n',
                "b.js": 'import { a } from "./a.js";\nexport const b = 1;\n',
            },
            "modules import each other in a circle: ",
        ),
        (
            {"a.js": "const step = 1;\n", "b.js": "export async function step() {}\n"},
            "a.js and b.js both declare step",
        ),
        ({"a.js": "let a = 1;\nclass a {}\n"}, "a.js and a.js both declare a"),
        (
            {"a.js": 'import { b as c } from "./b.js";\n', "b.js": "export const b = 1;\n"},
            "a.js cannot be joined because of the line: import { b as c }",
        ),
        ({"a.js": 'import * as b from "./b.js";\n'}, r"a.js cannot be joined .* import \* as b"),
        ({"a.js": "export default 1;\n"}, "a.js cannot be joined .* export default 1;"),
        ({"a.js": "const a = 1;\nexport { a };\n"}, "a.js cannot be joined .* export { a };"),
        ({"a.js": "const { a } = b;\n"}, "a.js cannot be joined .* const { a } = b;"),
        ({"a.js": 'const a = "</SCRIPT>";\n'}, "a.js holds </SCRIPT"),
    ],
    ids=[
        *("no such module", "not exported", "circle", "same name", "same name in one module"),
        *("renamed", "namespace", "default", "export list", "destructured", "end of the script"),
    ],
)
def test_what_cannot_be_joined_is_named(modules: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        join_modules(modules)


def test_the_page_has_five_modules_in_the_order_of_their_imports() -> None:
    sections = re.findall(r"^// ---- (\w+)\.js ----$", page_script(), re.MULTILINE)
    assert sorted(sections) == ["curves", "gallery", "histogram", "lightbox", "numbers"]
    assert sections[:2] == ["numbers", "histogram"]
    assert sections.index("gallery") < sections.index("lightbox")


@needs_node
@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.name)
def test_each_file_is_an_es_module(file: Path, tmp_path: Path) -> None:
    module = tmp_path / f"{file.stem}.mjs"
    shutil.copyfile(file, module)
    run("--check", str(module))


@needs_node
def test_the_page_script_is_a_classic_script(tmp_path: Path) -> None:
    file = tmp_path / "script.cjs"
    file.write_text(page_script(), "utf-8")
    run("--check", str(file))
