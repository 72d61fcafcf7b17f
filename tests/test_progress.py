from __future__ import annotations

from flawmap.progress import listening, step, track


def test_nobody_needs_to_listen() -> None:
    assert list(track([1, 2], "counting", 2)) == [1, 2]
    step("counting", 1, 2)


def test_who_listens_hears_only_inside() -> None:
    heard: list[tuple[str, int, int]] = []
    with listening(lambda *said: heard.append(said)):
        list(track("ab", "reading", 2))
        step("choosing", 5, 9)
    step("choosing", 6, 9)
    assert heard == [("reading", 0, 2), ("reading", 1, 2), ("reading", 2, 2), ("choosing", 5, 9)]
