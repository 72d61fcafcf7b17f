from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flawmap.errors import OptionError, UnknownName
from flawmap.support.registry import Registry


class Tool:
    pass


class Hammer(Tool):
    pass


class Saw(Tool):
    pass


class Tools(Registry[type]):
    """A registry of classes; ints belong to another one."""

    def accept(self, value: object) -> type | None:
        if isinstance(value, int):
            return None
        if isinstance(value, type):
            return value
        raise OptionError(f"{value!r} is no tool")

    def class_of(self, entry: type) -> type:
        if entry.__name__ == "Broken":
            raise RuntimeError("it cannot be made")
        return entry


@pytest.fixture
def tools() -> Tools:
    return Tools("tool", "flawmap.test_tools", {"hammer": Hammer})


Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package of one module, with an entry point for each name."""

    def put(package: str, source: str, **names: str) -> None:
        module = package.replace("-", "_")
        folder = tmp_path / package
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{module}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {module}:{attribute}" for name, attribute in names.items()]
        (info / "entry_points.txt").write_text("\n".join(["[flawmap.test_tools]", *lines]))
        monkeypatch.syspath_prepend(str(folder))

    return put


def test_a_class_registered_after_first_use_is_there(tools: Tools) -> None:
    assert list(tools) == ["hammer"]
    with pytest.raises(UnknownName, match="there is no tool 'saw'; there are hammer"):
        tools["saw"]
    tools.register("saw", Saw)
    assert tools["saw"] is Saw
    assert list(tools) == ["hammer", "saw"]
    assert tools.name_of(Saw) == ("saw", f"module {Saw.__module__}")


def test_it_keeps_to_what_a_mapping_does(tools: Tools) -> None:
    assert "saw" not in tools
    assert tools.get("saw") is None
    assert len(tools) == 1
    assert dict(tools) == {"hammer": Hammer}


def test_a_name_of_flawmaps_own_is_taken(tools: Tools) -> None:
    with pytest.raises(OptionError, match=r"'hammer' of module .* flawmap itself has one"):
        tools.register("hammer", Saw)
    assert tools["hammer"] is Hammer


def test_a_module_that_runs_again_replaces_its_own(tools: Tools) -> None:
    tools.register("saw", Saw)
    again = type("Saw", (Tool,), {"__module__": Saw.__module__})
    tools.register("saw", again)
    assert tools["saw"] is again


@pytest.mark.parametrize(("value", "why"), [("a word", "'a word' is no tool"), (3, "3 is no tool")])
def test_what_is_no_tool_is_refused(tools: Tools, value: object, why: str) -> None:
    with pytest.raises(OptionError, match=why):
        tools.register("saw", value)


def test_a_package_is_imported_when_its_name_is_asked_for(tools: Tools, install: Install) -> None:
    install("acme-a", "class Drill: pass", drill="Drill")
    install("acme-b", "raise RuntimeError('imported')", lathe="Lathe")
    assert tools["hammer"] is Hammer
    assert tools["drill"].__name__ == "Drill"
    assert tools.source("drill") == "package acme-a"
    assert tools.name_of(tools["drill"]) == ("drill", "package acme-a")


def test_one_that_fails_to_import_is_named_and_the_others_go_on(
    tools: Tools, install: Install
) -> None:
    install("acme-c", "import no_such_module", lathe="Lathe")
    install("acme-d", "class Drill: pass", drill="Drill")
    reason = r"flawmap.test_tools 'lathe' of package acme-c \(acme_c:Lathe\) .*no_such_module"
    with pytest.warns(UserWarning, match=reason):
        assert list(tools) == ["hammer", "drill"]
    with pytest.raises(OptionError, match=reason):
        tools["lathe"]


def test_one_that_cannot_be_made_is_named_and_the_others_go_on(
    tools: Tools, install: Install
) -> None:
    install("brokentools", "class Broken: pass", broken="Broken")
    message = (
        r"'broken' of package brokentools .* cannot be used: RuntimeError\('it cannot be made'"
    )
    with pytest.warns(UserWarning, match=message):
        assert list(tools) == ["hammer"]
    with pytest.raises(OptionError, match=message):
        tools["broken"]


def test_so_is_one_that_is_no_tool(tools: Tools, install: Install) -> None:
    install("acme-e", "drill = 'a word'; lathe = 3", drill="drill", lathe="lathe")
    with pytest.raises(OptionError, match=r"'drill' of package acme-e .* 'a word' is no tool"):
        tools["drill"]
    with pytest.warns(UserWarning, match="acme-e"):
        assert list(tools) == ["hammer"]  # lathe is another registry's


def test_two_packages_with_one_name_are_both_named(tools: Tools, install: Install) -> None:
    install("acme-f", "class Drill: pass", drill="Drill")
    install("acme-g", "class Drill: pass", drill="Drill")
    both = "packages acme-f and acme-g both offer the tool 'drill'"
    with pytest.raises(OptionError, match=both):
        tools["drill"]
    with pytest.warns(UserWarning, match=both):
        assert list(tools) == ["hammer"]


def test_flawmaps_own_stands_against_a_package(tools: Tools, install: Install) -> None:
    install("acme-h", "class Hammer: pass", hammer="Hammer")
    assert tools["hammer"] is Hammer
    with pytest.warns(UserWarning, match="'hammer' of package acme-h is not used: flawmap itself"):
        assert list(tools) == ["hammer"]


def test_a_registered_class_may_be_offered_too(tools: Tools, install: Install) -> None:
    install("acme-i", "class Drill: pass", drill="Drill")
    from acme_i import Drill

    tools.register("drill", Drill)
    assert tools.source("drill") == "module acme_i"
    assert list(tools) == ["hammer", "drill"]
    assert tools.source("drill") == "package acme-i"


def test_a_class_that_nobody_registered_goes_by_its_own_name(tools: Tools) -> None:
    assert tools.name_of(Saw) == ("Saw", f"module {Saw.__module__}")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("package acme-inspect", "comes from package acme-inspect.*pip install acme-inspect"),
        ("module acme.tools", "comes from module acme.tools.*import acme.tools first"),
        ("", "there is no tool 'lathe'; there are hammer"),
    ],
)
def test_what_a_file_needs_and_is_not_here_says_whose_it_is(
    tools: Tools, source: str, why: str
) -> None:
    with pytest.raises(OptionError, match=why):
        tools.from_source("lathe", source)


def test_another_packages_tool_of_that_name_is_no_substitute(
    tools: Tools, install: Install
) -> None:
    install("acme-j", "class Drill: pass", drill="Drill")
    assert tools.from_source("drill", "package acme-j") is tools["drill"]
    assert tools.from_source("drill", "module acme_j") is tools["drill"]
    for name, source in (("drill", "package other"), ("hammer", "package other"), ("drill", "")):
        with pytest.raises(OptionError, match=f"the tool '{name}' comes from"):
            tools.from_source(name, source)
