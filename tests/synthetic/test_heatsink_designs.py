from __future__ import annotations

import cv2
import numpy as np
import pytest

from flawmap.synthetic.heatsink_damage import DAMAGES
from flawmap.synthetic.heatsink_designs import DESIGNS, Design


@pytest.mark.parametrize("design", DESIGNS.values(), ids=list(DESIGNS))
def test_defects_are_known_and_100_percent_together(design: Design) -> None:
    assert set(design.defects) <= set(DAMAGES)
    assert sum(design.defects.values()) == 100


@pytest.mark.parametrize("design", DESIGNS.values(), ids=list(DESIGNS))
def test_print_and_words_are_on_the_plate(design: Design) -> None:
    plate = np.array(design.plate, np.float32)
    ends = [(word.x, word.y) for word in design.words]
    ends += [(word.x + word.width, word.y) for word in design.words]
    corners = [corner for outline in (*design.painted, *design.bars) for corner in outline]
    for x, y in ends + corners:
        assert cv2.pointPolygonTest(plate, (float(x), float(y)), False) >= 0
