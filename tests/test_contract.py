"""What every descriptor of contract_list keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.contract import CHECKS, batch_of
from tests.contract_list import REPRESENTATIONS
from unfeature.features import DESCRIPTORS
from unfeature.features.gradients.dsift import DSIFT
from unfeature.features.gradients.hog import HOG
from unfeature.features.patterns.lbp import LBP

# Row and column of the centre of the first position.
CENTRES = {
    "hog": (1.5, 1.5), "hog-bilinear": (1.5, 1.5), "hog-smooth": (2, 2), "hog-dpm": (5.5, 5.5),
    "hog-dalal-triggs": (2.5, 2.5), "hog-skimage": (3.5, 3.5), "hog-skimage-roots": (5.5, 5.5),
    "hog-opencv": (3.5, 3.5), "dsift": (4.5, 4.5), "dsift-flat": (3, 6), "dsift-network": (4.5, 4.5),
    "phow": (7, 7), "phow-hsv": (4.5, 4.5), "phow-opponent": (5.5, 5.5), "cnn": (4, 4), "lbp": (1.5, 1.5),
    "lbp-turned": (1.5, 1.5), "brief": (5.5, 5.5), "default-hog": (3.5, 3.5), "default-dsift": (12, 12),
    "default-phow": (16, 16), "default-lbp": (3.5, 3.5), "default-brief": (15.5, 15.5),
}


@pytest.fixture(scope="module", params=REPRESENTATIONS, ids=str)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def phi(name):
    return REPRESENTATIONS[name]()


@pytest.mark.parametrize("check", CHECKS)
def test_contract(phi, check):
    CHECKS[check](phi)


def test_every_descriptor_is_on_the_list():
    assert {type(make()) for make in REPRESENTATIONS.values()} == set(DESCRIPTORS.values())


def test_centres_of_positions(name, phi):
    if not phi.has_positions:
        assert name not in CENTRES
        with pytest.raises(ValueError, match="has no positions"):
            phi.position_centres(161, 174)
        return
    if name not in CENTRES:
        for along, count in zip(phi.position_centres(61, 74), phi.output_shape(61, 74)[1:], strict=True):
            assert len(along) == count
            np.testing.assert_allclose(np.diff(along), phi.stride, rtol=0, atol=1e-9)
        return
    for size in ((48, 53), (61, 74), (97, 80)):
        for along, first, count in zip(phi.position_centres(*size), CENTRES[name], phi.output_shape(*size)[1:],
                                       strict=True):
            np.testing.assert_allclose(along, first + phi.stride * np.arange(count), rtol=0, atol=1e-9)


def test_the_order_of_channels_gives_the_code_of_the_mirror_image(name, phi):
    order = phi.mirrored_channels
    assert (order is not None) == (phi.in_channels[0] == 1 and isinstance(phi, HOG | DSIFT | LBP)
                                   and not name.startswith(("hog-skimage", "hog-opencv")))
    if order is None:
        return
    side = next(side for side in range(61, 200) if sum(phi.position_centres(side, side)[1][[0, -1]]) == side - 1)
    x = batch_of(phi, dtype=torch.float64, size=(70, side))
    torch.testing.assert_close(phi(x.flip(3)), phi(x)[:, torch.from_numpy(order)].flip(3), rtol=0, atol=1e-9)
