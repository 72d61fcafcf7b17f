"""Files that another Python made, by other versions: `make test-runtime`, `make test-lowest`."""

from __future__ import annotations

import pytest

from fitted import expected_scores, given_folder, scores_of

pytestmark = pytest.mark.skipif(
    given_folder() is None, reason="needs FLAWMAP_FITTED; `make test-runtime` sets it"
)


def test_a_file_scores_here_as_where_it_was_made() -> None:
    folder = given_folder()
    assert folder is not None
    for name, scores in expected_scores(folder).items():
        assert scores_of(folder / name) == pytest.approx(scores, rel=1e-5)
