from __future__ import annotations

from flawmap.features.registration import NoRegistration, SpatialTransformerRegistration
from flawmap.methods.fr_patchcore import fr_patchcore


def test_images_are_registered_as_published() -> None:
    expected = SpatialTransformerRegistration(epochs=50, learning_rate=1e-4, batch_size=32)
    assert fr_patchcore().registration == expected
    assert fr_patchcore(registration=NoRegistration()).registration == NoRegistration()
