"""Portilla and Simoncelli's statistics: plenoptic's numbers, in units of their own, and textures made from them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from skimage.data import brick

from unfeature.features.textures.portilla_simoncelli import ROUNDING, PortillaSimoncelli
from unfeature.inversion.invert import invert

SMALL = {"size": (48, 64), "scales": 2, "orientations": 3, "neighbourhood": 5}


@pytest.fixture(scope="module")
def texture():
    return brick()[100:148, 40:104].astype(np.float32) / 255


def test_the_numbers_are_those_of_plenoptic(texture):
    phi = PortillaSimoncelli(**SMALL)
    code = phi(texture)
    model = phi._model(phi.size)
    theirs = model(torch.from_numpy(texture)[None, None])[0, 0].numpy()
    assert len(code) == len(theirs) == len(phi.units)
    has_unit = phi.units.numpy() != 1
    np.testing.assert_allclose(code[~has_unit], theirs[~has_unit], atol=0.05)
    np.testing.assert_allclose((code * phi.units.numpy())[has_unit], theirs[has_unit], rtol=0.05, atol=2 * ROUNDING**2)
    groups = phi.groups(code)
    assert groups["std_reconstructed"].shape == (3,) and groups["magnitude_std"].shape == (6,)
    assert sum(part.size for part in groups.values()) == len(code)
    units = phi.groups(phi.units.numpy())
    assert (units["auto_correlation_reconstructed"] == 1).all() and units["var_highpass_residual"] == [7e-4]
    assert (np.diff(units["std_reconstructed"]) > 0).all()
    assert units["pixel_statistics"].tolist() == [1, 0.036, 1, 1, 1, 1]


def test_images_of_all_sizes_have_codes_of_one_length(texture):
    phi = PortillaSimoncelli(**SMALL)
    assert phi(texture[:31, :42]).shape == phi(texture).shape == phi.output_shape(999, 30)
    np.testing.assert_array_equal(phi(texture[:31, :42]), phi(texture[1:29, 1:41]))
    assert phi.image_size_for((len(phi.units),)) == (48, 64)
    with pytest.raises(ValueError, match="an image of 23 × 40 pixels is too small for 2 scales, which take 24"):
        phi(texture[:23, :40])
    with pytest.raises(ValueError, match="too small for 4 scales, which take 128"):
        PortillaSimoncelli((64, 64))
    with pytest.raises(ValueError, match=r"has shape \(\d+,\), got \(7,\)"):
        phi.image_size_for((7,))
    with pytest.raises(ValueError, match="odd side"):
        PortillaSimoncelli(neighbourhood=4)


def test_a_texture_is_made_from_its_code(texture):
    phi = PortillaSimoncelli(**SMALL)
    code = phi(texture)
    result = invert(phi, code, steps=60)
    assert result.error < 0.1 and result.image.shape == (48, 64)
    assert abs(np.corrcoef(result.image.ravel(), texture.ravel())[0, 1]) < 0.5
    larger = invert(phi, code, size=(64, 80), steps=30)
    assert larger.error < 0.3 and larger.image.shape == (64, 80)


def test_without_plenoptic_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "plenoptic", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "unfeature\[textures\]"'):
        PortillaSimoncelli((40, 40), scales=1)
