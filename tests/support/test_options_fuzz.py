"""Whatever is typed behind `--set`, or stands in a saved file's options, works or is refused."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.errors import OptionError
from flawmap.methods import make_method
from flawmap.support.options import list_options, to_dict, with_option

_METHODS = ["patchcore", "padim", "glass", "vqflow"]
_NAMES = sorted({option.name for name in _METHODS for option in list_options(make_method(name))})

_LONG = ["1e999", "[" * 5000, "9" * 5000, '{"a":' * 5000]

_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=6), values),
    max_leaves=5,
)


@settings(max_examples=150)
@given(
    method=st.sampled_from(_METHODS),
    name=st.sampled_from(_NAMES) | st.text(max_size=12),
    value=_JSON.map(str)
    | st.text(max_size=12)
    | st.sampled_from(["1e999", "[" * 5000, "9" * 5000]),
)
def test_a_typed_option_is_taken_or_refused(method: str, name: str, value: str) -> None:
    whole = make_method(method)
    try:
        changed = with_option(whole, f"{name}={value}")
    except OptionError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        # What was taken can be saved, and comes back.
        assert type(changed).from_options(changed.options()).options() == changed.options()


@settings(max_examples=150)
@given(method=st.sampled_from(_METHODS), number=st.integers(0, 100), value=_JSON)
def test_options_of_a_file_are_taken_or_refused(method: str, number: int, value: Any) -> None:
    whole = make_method(method)
    values = to_dict(whole)
    values[list(values)[number % len(values)]] = value
    try:
        changed = type(whole).from_options(values)
    except OptionError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert type(whole).from_options(changed.options()).options() == changed.options()
