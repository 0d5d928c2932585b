"""Metamers: the code of one photograph, the looks of another; the prior that holds them there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import unfeature as uf
from unfeature.cli import main
from unfeature.cli.common import filling
from unfeature.features.gradients.hog import HOG
from unfeature.inversion.recipes import fast
from unfeature.io.images import bundled_path


@pytest.fixture(scope="module")
def phi():
    return HOG(cell_size=6)


@pytest.fixture(scope="module")
def a(photograph):
    return photograph("astronaut", 96, True)


@pytest.fixture(scope="module")
def b(photograph, a):
    return filling(photograph("chelsea", 160, True), a.shape)


def likeness(x, y):
    return float(np.corrcoef(*(gaussian_filter(image, 8.0).ravel() for image in (x, y)))[0, 1])


def relative(phi, image, code):
    return float(np.linalg.norm(phi(image.clip(0, 1)) - code) / np.linalg.norm(code))


def test_a_metamer_has_the_code_of_one_and_the_looks_of_the_other(phi, a, b):
    result = uf.metamer(phi, phi(a), like=b, preset="fast", weight=40.0, starts=2, steps=60)
    assert result.images.shape == (2, *b.shape) and result.errors.max() < 0.5 < 0.8 < relative(phi, b, phi(a))
    for image, found in zip(result.images, result.provenance["likeness"], strict=True):
        assert found == pytest.approx(likeness(image, b), abs=1e-5) and found > 0.85
    assert not np.array_equal(*result.images) and result.uncertainty.max() > 0.01
    assert "decoder" not in result.provenance and result.codes.shape == (2, *phi(a).shape)


def test_weight_trades_the_error_for_likeness(phi, a, b):
    loose, tight = (uf.metamer(phi, phi(a), like=b, preset="fast", weight=weight, steps=45) for weight in (0.05, 50.0))
    assert loose.error < tight.error and loose.provenance["likeness"][0] < tight.provenance["likeness"][0] - 0.1
    free = uf.metamer(phi, phi(a), like=b, preset="fast", weight=0.0, steps=2)
    assert (free.history["Near"] == 0).all()


def test_metamers_of_several_codes_are_those_of_each(phi, a, b):
    codes = np.stack([phi(a), phi(np.ascontiguousarray(a[:, ::-1]))])
    together = uf.metamer(phi, codes, like=b, preset="fast", steps=4)
    alone = [uf.metamer(phi, code, like=b, preset="fast", steps=4).image for code in codes]
    np.testing.assert_array_equal(together.images, alone)


def test_a_code_of_another_size_is_refused(phi, a, b):
    with pytest.raises(ValueError, match=r"the code has shape .* 80 × 96 pixels"):
        uf.metamer(phi, phi(a), like=b[:80])
    with pytest.raises(ValueError, match="one colour"):
        uf.metamer(phi, phi(a), like=np.full_like(b, 0.3))


def test_near_holds_an_inversion_at_an_image(phi, a, b):
    held = uf.Near(b, 1e4)
    recipe = replace(fast(phi), near=None, contrast=None, priors=(*fast(phi).priors, held))
    recipe = replace(recipe, stages=tuple(replace(stage, guidance=1.0) for stage in recipe.stages))
    result = uf.invert(phi, phi(a), preset=recipe, start=b, size=b.shape)
    assert np.abs(result.image - b).max() < 0.25
    with pytest.raises(ValueError, match=r"Near has shape \(1, 1, 40, 40\)"):
        uf.invert(phi, phi(a), preset=replace(recipe, priors=(uf.Near(b[:40, :40]),)), size=b.shape)
    with pytest.raises(ValueError, match="not negative"):
        uf.Near(b, float("nan"))


@pytest.mark.parametrize("size", [(30, 41), (64, 20), (7, 7)])
def test_the_middle_of_an_image_fills_any_size(size):
    image = np.linspace(0, 1, 50 * 33, dtype=np.float32).reshape(50, 33)
    found = filling(image, size)
    assert found.shape == size
    assert abs(found.mean() - 0.5) < 0.02
    assert filling(np.repeat(image[..., None], 3, axis=2), size).shape == (*size, 3)


def test_the_command_writes_both_photographs(phi, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["metamer", str(bundled_path("camera")), "--like", str(bundled_path("coffee")), "--cell-size", "6",
              "--size", "72", "--preset", "fast", "--steps", "5", "--weight", "2", "-o", str(tmp_path / "out")])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and "likeness 0." in text
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {"preimage.png", "image.npy", "code.npy", "original.png", "like.png", "result.json", "report.html"}
    result = uf.Result.load(tmp_path / "out", phi)
    like = filling(uf.to_grey(uf.bundled("coffee")), (72, 72))
    expected = uf.metamer(phi, result.codes, like=like, preset="fast", steps=5, weight=2.0)
    np.testing.assert_array_equal(result.images, expected.images)
    assert torch.is_tensor(uf.Near(like).image)
