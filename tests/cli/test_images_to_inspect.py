from __future__ import annotations

from flawmap.cli.images_to_inspect import unique_names


def test_names_stay_unique_and_depend_on_earlier_ones_only() -> None:
    names = ["a.png", "a.png (2)", "A.png", "b.png", "a.png", "a.png"]
    unique = list(unique_names(names))
    assert unique == ["a.png", "a.png (2)", "A.png (3)", "b.png", "a.png (4)", "a.png (5)"]
    for count in range(len(names)):
        assert list(unique_names(names[:count])) == unique[:count]


def test_a_hundred_thousand_names_are_compared_a_few_times_each() -> None:
    class Name(str):
        """Counts how often it is looked at."""

        __slots__ = ()
        looked_at = 0

        def casefold(self) -> str:
            Name.looked_at += 1
            return super().casefold()

    same, different = [Name("a.png")] * 50_000, [Name(f"{n}.png") for n in range(50_000)]
    names = list(unique_names(same + different))
    assert len(set(names)) == 100_000
    assert names[49_999] == "a.png (50000)"
    assert Name.looked_at <= 3 * 100_000
