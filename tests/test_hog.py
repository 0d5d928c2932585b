"""HOG: parity with VLFeat and the deformable part models, gradients, sizes, bad input."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.io import imread

from unfeature.features.backend import BACKENDS, backend
from unfeature.features.gradients.hog import HOG

GOLDEN = Path(__file__).with_name("golden") / "hog.npz"
NAMES = {"UoCTTI": "uoctti", "DalalTriggs": "dalal-triggs"}
VARIANTS = "uoctti", "dpm", "dalal-triggs"
PATHS = pytest.mark.parametrize("arithmetic", BACKENDS)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
KINDS = [{"variant": v, **kind} for v in VARIANTS for kind in ({}, {"bilinear": True}, {"softness": 0.2},
                                                           {"bilinear": True, "softness": 0.2})]


def batch(image, dtype=torch.float32):
    """A picture on the 0–255 scale as a batch in [0, 1]."""
    a = np.ascontiguousarray(image[..., None] if image.ndim == 2 else image)
    return torch.from_numpy(a).to(dtype).permute(2, 0, 1)[None] / 255


def code(phi, x, arithmetic="compiled"):
    with backend(arithmetic):
        return phi(x)[0].permute(1, 2, 0).numpy()


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN, allow_pickle=False) as stored:
        return dict(stored)


@PATHS
@DTYPES
def test_the_stored_codes_of_vlfeat(golden, arithmetic, dtype):
    keys = [k for k in golden if k.startswith(tuple(NAMES))]
    assert len(keys) == 16
    for key in keys:
        variant, cell, orientations, colour, bins = key.split("-")
        image = golden["image"] if colour == "colour" else golden["image"][..., 1]
        phi = HOG(NAMES[variant], int(cell), int(orientations), bilinear=bins == "bilinear")
        tolerance = 1e-3 if phi.bilinear and dtype == torch.float64 else 1e-5  # VLFeat's arc cosine is single precision
        np.testing.assert_allclose(code(phi, batch(image, dtype), arithmetic), golden[key], rtol=0, atol=tolerance,
                                   err_msg=key)


@PATHS
@DTYPES
def test_the_stored_codes_of_the_part_models(golden, arithmetic, dtype):
    phi = HOG("dpm", int(golden["dpm-sbin"]))
    found = code(phi, batch(golden["dpm-image"], dtype), arithmetic)
    np.testing.assert_allclose(found, golden["dpm-feat"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(code(phi.replace(texture=False), batch(golden["dpm-image"], dtype), arithmetic),
                                  found[..., :27])


@PATHS
def test_all_codes_of_the_part_models(shared, arithmetic):
    with np.load(shared / "data" / "golden" / "dpm_hog.npz", allow_pickle=False) as cases:
        count = int(cases["n_cases"])
        assert count == 12
        for k in range(count):
            found = code(HOG("dpm", int(cases[f"sbin_{k}"])), batch(cases[f"image_{k}"]), arithmetic)
            np.testing.assert_allclose(found, cases[f"feat_{k}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("bilinear", [False, True], ids=["hard", "bilinear"])
@pytest.mark.parametrize("variant", NAMES)
def test_vlfeat_on_twenty_photographs(shared, variant, bilinear):
    vlfeat = pytest.importorskip("cyvlfeat.hog", reason="cyvlfeat is missing: see tests/install_vlfeat.sh")
    wrong = cells = 0
    for k, path in enumerate(islice(sorted((shared / "data" / "imagenet_sample").iterdir())[::5], 20)):
        image = imread(path)[: 180 - k, : 160 + 3 * k].astype(np.float32)
        image = image if image.ndim == 3 and k % 2 else image.reshape(*image.shape[:2], -1)[..., 0]
        image = np.ascontiguousarray(image)
        cell = 4 + k % 13
        expected = vlfeat.hog(image, cell, variant=variant, bilinear_interpolation=bilinear)
        found = code(HOG(NAMES[variant], cell, bilinear=bilinear), batch(image))
        wrong += int((np.abs(found - expected).max(-1) > 1e-5).sum())
        cells += expected[..., 0].size
    assert cells > 10_000
    assert wrong < 1e-3 * cells


@PATHS
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: "-".join(map(str, k.values())))
def test_gradcheck(kind, arithmetic):
    phi = HOG(cell_size=3, orientations=4, **kind)
    x = torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    with backend(arithmetic):
        assert torch.autograd.gradcheck(phi, x, eps=1e-7, atol=1e-4, rtol=1e-4, nondet_tol=0)


@PATHS
@DTYPES
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: "-".join(map(str, k.values())))
def test_gradients_are_finite(kind, arithmetic, dtype):
    x = torch.zeros(6, 1, 20, 21, dtype=dtype)
    x[1], x[2] = 1, 0.3
    x[3] = torch.rand(x[3].shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    x[4, :, :, 10:] = 1
    x[5, :, 10:] = 1e-20
    phi = HOG(cell_size=4, **kind)
    x.requires_grad_()
    with backend(arithmetic):
        y = phi(x)
    (gradient,) = torch.autograd.grad((y * torch.linspace(1, 2, y.numel(), dtype=dtype).view_as(y)).sum(), x)
    assert torch.isfinite(y).all()
    assert torch.isfinite(gradient).all()
    assert (gradient[:3] == 0).all()
    assert (gradient[3:5] != 0).any()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("cell", [4, 5])
def test_the_receptive_field_is_what_one_position_depends_on(variant, cell):
    phi = HOG(variant, cell)
    x = torch.rand(1, 1, 9 * cell, 9 * cell, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x.requires_grad_()
    with backend("torch"):
        y = phi(x)
    (gradient,) = torch.autograd.grad(y[0, :27, y.shape[2] // 2, y.shape[3] // 2].sum(), x)
    used = gradient[0, 0].abs().sum(0).nonzero()
    assert used.max() - used.min() + 1 == phi.receptive_field


@given(st.sampled_from(VARIANTS), st.integers(1, 9), st.integers(16, 60), st.integers(16, 60), st.booleans())
def test_sizes(variant, cell, height, width, texture):
    phi = HOG(variant, cell, texture=texture)
    cells = (height + cell // 2) // cell, (width + cell // 2) // cell
    if min(cells) < (3 if variant == "dpm" else 2):
        with pytest.raises(ValueError, match="smaller cell_size"):
            phi.output_shape(height, width)
        return
    x = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(0))
    shape = tuple(phi(x).shape[1:])
    assert shape == phi.output_shape(height, width)
    assert shape[0] == {"uoctti": 31 if texture else 27, "dpm": 32 if texture else 27, "dalal-triggs": 36}[variant]
    assert phi.output_shape(*phi.image_size_for(shape)) == shape


@pytest.mark.parametrize("bilinear", [False, True])
def test_surrogates_tend_to_the_descriptor(bilinear, photograph):
    x = torch.from_numpy(photograph(side=60))[None, None].double()
    phi = HOG("dpm", bilinear=bilinear)
    errors = [float((phi.surrogate(s)(x) - phi(x)).abs().max()) for s in (0.5, 0.05, 0.005, 1e-7)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-4
    soft = phi.surrogate(0.2)
    assert soft.surrogate(0.1) is soft


def test_what_is_above_the_clamp_has_a_gradient_in_surrogates_alone():
    cells = torch.full((1, 18, 3, 3), 1e-3, dtype=torch.float64)
    cells[:, 4] = 1.0
    for softness, slope in ((0.0, 0.0), (0.4, 0.2)):
        phi = HOG(bilinear=True, softness=softness)
        leaf = cells.clone().requires_grad_()
        code = phi.normalise(leaf)[0, 4, 1, 1]
        unit = 2 / math.sqrt(4 * (1 + 1e-3) ** 2 + 32e-6 + 1e-4)
        assert float(code.detach()) == pytest.approx(0.4 + slope * (unit - 0.4), rel=1e-3)
        (gradient,) = torch.autograd.grad(code, leaf)
        assert (float(gradient[0, 4, 1, 1]) > 0) == (slope > 0)


@pytest.mark.parametrize(("kwargs", "message"), [
    ({"variant": "uoctty"}, "did you mean 'uoctti'"),
    ({"variant": "dalal"}, "did you mean 'dalal-triggs'"),
    ({"cell_size": 0}, "cell_size is a whole number"),
    ({"orientations": 2.5}, "orientations is a whole number"),
    ({"scale": -1}, "scale is a positive number"),
    ({"softness": -0.1}, "softness is a number of at least 0"),
    ({"softness": float("nan"), "bilinear": True}, "softness is a number of at least 0"),
])
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        HOG(**kwargs)


def test_bad_sizes():
    with pytest.raises(ValueError, match="needs 2 each way"):
        HOG()(np.zeros((8, 40), np.float32))
    with pytest.raises(ValueError, match="D = 31"):
        HOG().image_size_for((32, 4, 4))
    with pytest.raises(ValueError, match="needs 2 each way"):
        HOG().image_size_for((31, 1, 4))
