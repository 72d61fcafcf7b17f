from __future__ import annotations

from flawmap.support.progress import listen, report_progress, track


def test_nobody_needs_to_listen() -> None:
    assert list(track([1, 2], "counting", 2)) == [1, 2]
    report_progress("counting", 1, 2)


def test_who_listens_hears_only_inside() -> None:
    heard: list[tuple[str, int, int]] = []
    with listen(lambda *said: heard.append(said)):
        list(track("ab", "reading", 2))
        report_progress("choosing", 5, 9)
    report_progress("choosing", 6, 9)
    assert heard == [("reading", 0, 2), ("reading", 1, 2), ("reading", 2, 2), ("choosing", 5, 9)]
