from __future__ import annotations

from flawmap.methods.preset import Preset


def test_a_preset_wants_no_size_and_changes_nothing_unless_told() -> None:
    assert Preset("plain").size is None
    assert dict(Preset("plain").options) == {}
