"""Measures of how alike two images are."""

from __future__ import annotations

import numpy as np
import pytest

import unfeature as uf
from unfeature.io.images import bundled_path
from unfeature.io.similarity import naturalness


@pytest.fixture(scope="module")
def camera():
    return uf.resize_longer(uf.bundled("camera"), 64)


def test_likeness_of_an_image_with_itself_and_with_its_negative(camera):
    same, negative = uf.measures(camera, camera), uf.measures(camera, 1 - camera)
    assert same["correlation"] == pytest.approx(1) and same["ssim"] == pytest.approx(1) and same["psnr"] == np.inf
    assert same["naturalness"] == pytest.approx(1)
    assert negative["correlation"] == pytest.approx(-1) and negative["ssim"] < 0.2
    upright = np.repeat(np.linspace(0, 1, 32)[None], 32, 0)
    assert naturalness(upright, upright.T) == pytest.approx(0)


def test_values_are_those_of_their_formulas(camera):
    noisy = camera + np.random.default_rng(0).normal(0, 0.1, camera.shape).astype(np.float32)
    found = uf.measures(camera, noisy)
    assert list(found) == ["correlation", "ssim", "psnr", "naturalness"]
    assert found["psnr"] == pytest.approx(-10 * np.log10(np.square(camera - noisy).mean()), rel=1e-5)
    assert found["correlation"] == pytest.approx(np.corrcoef(camera.ravel(), noisy.ravel())[0, 1])
    darker = uf.measures(camera, 0.5 * noisy)
    assert darker["ssim"] == pytest.approx(found["ssim"], abs=1e-4) and darker["psnr"] < found["psnr"]


def test_images_come_as_files_bytes_and_colours():
    photograph = uf.bundled("astronaut")
    assert uf.measures(bundled_path("astronaut"), photograph)["psnr"] == np.inf
    assert uf.measures((photograph * 255).round().astype(np.uint8), photograph)["psnr"] > 100
    assert uf.measures(photograph, uf.to_grey(photograph))["psnr"] == np.inf


def test_an_image_of_one_colour_has_no_correlation(camera):
    found = uf.measures(camera, np.full_like(camera, 0.5))
    assert np.isnan(found["correlation"]) and found["naturalness"] == 0 and np.isfinite(found["psnr"])


@pytest.mark.parametrize(("image", "message"), [
    (np.zeros((64, 32)), "64 × 64 pixels and the image 64 × 32: resize one of them"),
    (np.zeros((4, 4)), r"shape \(4, 4\).*at least 7 × 7"),
    (np.full((64, 64), np.nan), "4096 values that are NaN or infinite"),
    (np.zeros((64, 64, 2)), "got"),
])
def test_images_that_cannot_be_compared_are_refused(camera, image, message):
    with pytest.raises(ValueError, match=message):
        uf.measures(camera, image)
