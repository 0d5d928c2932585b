"""HOG as scikit-image and OpenCV compute it: parity, gradients, stored vectors, inversion, bad arguments."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from skimage.feature import hog as skimage_hog

import unfeature as uf
from unfeature.cli.commands import cli
from unfeature.display.pictures import glyph
from unfeature.features.gradients.hog import HOG
from unfeature.io.images import bundled, to_bytes

NORMS = "L1", "L1-sqrt", "L2", "L2-Hys"
SETTINGS = [*({"orientations": o} for o in (6, 8, 12)), *({"cell_size": c} for c in (4, 7, 8)),
            *({"cells_per_block": b} for b in (1, 2, 3)), *({"block_norm": n} for n in NORMS),
            {"orientations": 8, "cell_size": 6, "cells_per_block": 2, "block_norm": "L2"}]


@pytest.fixture(scope="module")
def picture():
    """An 8-bit photograph whose sides are no multiples of a cell."""
    return np.ascontiguousarray(to_bytes(bundled("astronaut"))[100:229, 150:263])


def of_skimage(phi, image):
    return skimage_hog(image, phi.orientations, (phi.cell_size,) * 2, (phi.cells_per_block or 3,) * 2,
                       phi.block_norm or "L2-Hys", transform_sqrt=phi.square_root,
                       channel_axis=-1 if image.ndim == 3 else None)


def of_opencv(phi, image):
    cell, block = (phi.cell_size,) * 2, (phi.cell_size * (phi.cells_per_block or 2),) * 2
    window = image.shape[1] // cell[0] * cell[0], image.shape[0] // cell[0] * cell[0]
    extractor = cv2.HOGDescriptor(window, block, cell, cell, phi.orientations, 1, -1, 0, 0.2, phi.square_root)
    return extractor.compute(np.ascontiguousarray(image[..., ::-1]) if image.ndim == 3 else image)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("square_root", [False, True], ids=["", "roots"])
@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
def test_codes_are_those_of_scikit_image(picture, settings, colour, square_root, dtype):
    image, phi = picture if colour else picture[..., 1].copy(), HOG("skimage", square_root=square_root, **settings)
    expected = of_skimage(phi, image)
    found = phi((image / 255).astype(dtype))
    np.testing.assert_allclose(found.ravel(), expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(phi.from_library(expected, *image.shape[:2]).ravel(), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floating_point_images_have_scale_one(photograph, dtype):
    image = photograph(side=90).astype(dtype)
    phi = HOG("skimage", scale=1)
    np.testing.assert_allclose(phi(image).ravel(), of_skimage(phi, image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize("settings", [{}, {"orientations": 6}, {"orientations": 12}, {"cell_size": 6},
                                      {"cells_per_block": 3}, {"cells_per_block": 1, "cell_size": 5}],
                         ids=lambda s: "-".join(map(str, s.values())))
def test_codes_are_those_of_opencv(picture, settings, colour):
    image, phi = picture if colour else picture[..., 1].copy(), HOG("opencv", **settings)
    expected = phi.from_library(of_opencv(phi, image), *image.shape[:2])
    np.testing.assert_allclose(phi(image), expected, rtol=0, atol=1e-5)


def test_square_roots_of_opencv_are_single_precision(picture):
    phi = HOG("opencv", square_root=True)
    for image, tolerance in ((picture[..., 1].copy(), 1e-5), (picture, 1e-3)):
        expected = phi.from_library(of_opencv(phi, image), *image.shape[:2])
        np.testing.assert_allclose(phi(image), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("phi", [HOG("skimage", 4, 6, cells_per_block=2, block_norm=norm, square_root=root)
                                 for norm in NORMS for root in (False, True)] + [HOG("opencv", 4, 6)], ids=repr)
def test_gradcheck(phi):
    x = torch.rand(1, 3, 9, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    for descriptor in (phi, phi.surrogate(0.3)):
        assert torch.autograd.gradcheck(descriptor, x, eps=1e-7, atol=1e-4, rtol=1e-3, fast_mode=True)


@pytest.mark.parametrize("phi", [HOG("skimage"), HOG("skimage", block_norm="L1-sqrt", square_root=True),
                                 HOG("opencv"), HOG("opencv", square_root=True)], ids=repr)
def test_stored_vectors_are_inverted(phi, photograph):
    image = to_bytes(photograph(side=72))
    code = phi.from_library((of_skimage if phi.variant == "skimage" else of_opencv)(phi, image), *image.shape)
    result = uf.invert(phi, code)
    assert result.images.shape[1:3] == phi.image_size_for((code.shape[2], *code.shape[:2]))
    assert float(result.errors[0]) <= 0.1


@pytest.mark.parametrize("variant", ["skimage", "opencv"])
def test_square_roots_tell_the_contrast(variant, photograph):
    image = photograph(side=64)
    for root in (False, True):
        phi = HOG(variant, square_root=root)
        code, faint = phi(image), phi(0.3 + 0.5 * image)
        change = np.linalg.norm(faint - code) / np.linalg.norm(code)
        assert phi.contrast_invariant != root and (change > 0.05) == root


@pytest.mark.parametrize(("kwargs", "message"), [
    ({"variant": "skimage", "bilinear": True}, "leave bilinear at False"),
    ({"variant": "skimage", "block_norm": "L2-hys"}, "did you mean 'L2-Hys'"),
    ({"variant": "skimage", "cells_per_block": 0}, "cells_per_block is a whole number"),
    ({"variant": "opencv", "block_norm": "L1"}, 'by "L2-Hys" only'),
    ({"cells_per_block": 2, "square_root": True}, "cells_per_block, square_root: options of .* uoctti does not have"),
])
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        HOG(**kwargs)


def test_what_does_not_fit_is_refused():
    phi = HOG("skimage")
    with pytest.raises(ValueError, match=r"smaller than a block of 24 × 24 pixels \(3 cells of 8\)"):
        phi.output_shape(23, 40)
    with pytest.raises(ValueError, match=r"has 2 × 3 × 81 = 486 values .*, got 485"):
        phi.from_library(np.zeros(485), 32, 40)
    with pytest.raises(ValueError, match=r'take HOG\("skimage"\)'):
        HOG("dalal-triggs").from_library(np.zeros(486), 32, 40)


def test_flat_cells_are_known(photograph):
    """OpenCV's cells reach half a cell further."""
    whole, inner = slice(8, 32), slice(16, 24)
    for phi, part in ((HOG("skimage"), whole), (HOG("skimage", block_norm="L1"), whole), (HOG("opencv"), inner)):
        x = torch.from_numpy(photograph(side=64))[None, None].clone()
        assert not phi.flat_pixels(phi(x), *x.shape[-2:])[..., part, part].any()
        x[..., 7:34, 7:34] = 0.5
        flat = phi.flat_pixels(phi(x), *x.shape[-2:])
        assert flat[..., part, part].all() and int(flat.sum()) == (part.stop - part.start) ** 2


@pytest.mark.parametrize("variant", ["skimage", "opencv"])
def test_the_command_line_and_drawings_know_them(variant, tmp_path, photograph):
    image, photo = tmp_path / "photo.png", to_bytes(photograph(side=64))
    Image.fromarray(photo).save(image)
    out = tmp_path / "code.npy"
    done = CliRunner().invoke(cli, ["features", str(image), "--feature", "hog", "--variant", variant,
                                     "--cells-per-block", "2", "-o", str(out)])
    assert done.exit_code == 0, done.output
    phi, code = HOG(variant, cells_per_block=2), np.load(out)
    np.testing.assert_allclose(code, phi(photo), atol=1e-6)
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    drawn = glyph(phi, phi(ramp))
    assert drawn.std(axis=0).max() > 0.1
