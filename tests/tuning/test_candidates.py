import pytest

from flawmap.data.auto_size import AutoSize
from flawmap.errors import OptionError
from flawmap.methods import make_method
from flawmap.tuning.candidates import Candidate, by_fit, candidates_for


def labels(candidates: list[Candidate]) -> list[str]:
    return [candidate.label for candidate in candidates]


def test_sizes_strides_and_image_scores_are_combined() -> None:
    method = make_method("patchcore")
    candidates = candidates_for(method)
    assert len(candidates) == (1 + 3) * 2 * 2 * 4
    assert candidates[0] == Candidate("as set")
    assert candidates[0].apply_to(method).options() == method.options()
    assert "448 px, stride 8, by place, top 1%" in labels(candidates)
    applied = candidates[-1].apply_to(method)
    assert getattr(applied, "stride", None) == 8
    assert getattr(applied, "place_scaling", None) is True
    assert candidates[-1].size == AutoSize(448)


def test_no_two_candidates_are_the_same() -> None:
    method = make_method("patchcore", stride=8)
    candidates = candidates_for(method, AutoSize(320))
    settings = [(c.size, str(c.apply_to(method).options())) for c in candidates]
    assert len(set(settings)) == len(settings)
    assert candidates[0].size == AutoSize(320)
    assert labels(candidates)[0] == "as set"
    assert "320 px" not in labels(candidates)
    assert "stride 16" in labels(candidates)


def test_the_cheapest_come_first() -> None:
    method = make_method("patchcore")
    work = [candidate.relative_work(method) for candidate in candidates_for(method)]
    assert work == sorted(work)
    assert work[0] == 1
    assert work[-1] == 8


def test_what_was_typed_stays() -> None:
    method = make_method("patchcore")
    assert labels(candidates_for(method, 224, ["size", "stride", "place_scaling"])) == [
        "as set",
        "top 0.5%",
        "top 1%",
        "top 2%",
    ]
    fixed = ["image_score.fraction", "stride", "place_scaling"]
    assert labels(candidates_for(method, fixed=fixed)) == [
        "as set",
        "224 px",
        "320 px",
        "448 px",
    ]


def test_a_method_without_an_option_is_not_given_it() -> None:
    for candidate in candidates_for(make_method("spade")):
        assert not any(option.startswith("image_score") for option in candidate.options)


def test_candidates_that_share_a_fit_are_together() -> None:
    groups = by_fit(candidates_for(make_method("patchcore")))
    assert [len(group) for group in groups] == [4] * 16
    for group in groups:
        assert len({candidate.size for candidate in group}) == 1
        assert len({candidate.fit_options for candidate in group}) == 1


def test_an_option_that_cannot_be_is_refused() -> None:
    with pytest.raises(OptionError, match="'colour=red'"):
        Candidate("red", options=("colour=red",)).apply_to(make_method("patchcore"))
