from __future__ import annotations

from typing import Any

from flawmap.support.flat import changes, flatten

COMPONENT: dict[str, Any] = {"type": "PCA", "ratio": 0.5, "inner": {"type": "Plain"}}


def test_components_in_components_get_dotted_names() -> None:
    assert flatten({"reducer": COMPONENT, "layers": [2, 3]}) == {
        "reducer": "PCA",
        "reducer.ratio": 0.5,
        "reducer.inner": "Plain",
        "layers": [2, 3],
    }


def test_a_mapping_that_is_no_component_stays() -> None:
    assert flatten({"weights": {"good": 1}}) == {"weights": {"good": 1}}


def test_only_what_differs_is_a_change() -> None:
    defaults = {"seed": 0, "reducer": COMPONENT}
    assert changes(defaults, defaults) == {}
    other = {"seed": 0, "reducer": COMPONENT | {"ratio": 0.25}}
    assert changes(other, defaults) == {"reducer.ratio": 0.25}
    # Of another component all own options are changes but those of the same name and value.
    assert changes({"reducer": {"type": "Max", "size": None}}, defaults) == {
        "reducer": "Max",
        "reducer.size": None,
    }
