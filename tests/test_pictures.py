"""Glyphs show what the code says, in the right direction; sheets and curves hold what they are given."""

from __future__ import annotations

import numpy as np
import pytest

from unfeature import BRIEF, HOG, BoVW, Vocabulary, glyph, sheet
from unfeature.display.curves import Series, line_chart
from unfeature.display.pictures import draw_tiles, oriented_lines, present_words


def stripes(angle, side=48):
    """A grating whose gradient points along `angle`, clockwise from +x."""
    y, x = np.mgrid[:side, :side]
    return 0.5 + 0.5 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * 0.8)


def direction_of_lines(picture):
    """The angle, in [0, π), along which a picture is most alike."""
    dy, dx = np.gradient(picture)
    gradient = 0.5 * np.arctan2(2 * (dx * dy).sum(), (dx**2 - dy**2).sum())
    return (gradient + np.pi / 2) % np.pi


@pytest.mark.parametrize("variant", ["uoctti", "dpm", "dalal-triggs"])
@pytest.mark.parametrize("texture", [True, False])
@pytest.mark.parametrize("degrees", [0, 40, 80, 140])
def test_lines_run_along_the_edges(variant, texture, degrees):
    angle = np.deg2rad(degrees)
    phi = HOG(variant=variant, texture=texture)
    picture = glyph(phi, phi(stripes(angle)))
    inner = picture[picture.shape[0] // 4 : -picture.shape[0] // 4, picture.shape[1] // 4 : -picture.shape[1] // 4]
    off = abs(direction_of_lines(inner) - (angle + np.pi / 2)) % np.pi
    assert min(off, np.pi - off) < np.deg2rad(6)


def test_a_single_weight_draws_a_single_line():
    lines = oriented_lines(np.array([0.0, np.pi / 2]), 21)
    weights = np.zeros((2, 3, 2))
    weights[1, 2, 0] = 0.5
    picture = draw_tiles(weights, lines)
    assert picture.shape == (42, 63)
    rows, columns = np.nonzero(picture > 0.1)
    assert picture.max() == 0.5
    assert rows.min() >= 21 + 9 and rows.max() <= 21 + 11
    assert columns.min() >= 42 and np.ptp(columns) >= 18


def test_negative_weights_have_a_panel_of_their_own():
    phi = HOG()
    positive = np.zeros((4, 4, 31), dtype=np.float32)
    positive[..., 18] = 1
    template = positive.copy()
    template[..., 22] = -1
    alone, both = glyph(phi, positive), glyph(phi, template)
    assert both.shape == (alone.shape[0], 2 * alone.shape[1] + 8)
    np.testing.assert_array_equal(both[:, : alone.shape[1]], alone)
    right = both[:, -alone.shape[1] :]
    assert right.max() == 1 and not np.array_equal(right, alone)


def test_brightness_follows_the_weights():
    phi = HOG()
    code = np.zeros((2, 2, 31), dtype=np.float32)
    code[0, 0, 20], code[0, 1, 20], code[1, 0, 20] = 0.1, 0.2, 0.4
    picture = glyph(phi, code)
    half = picture.shape[0] // 2
    tiles = [picture[:half, :half], picture[:half, half:], picture[half:, :half], picture[half:, half:]]
    brightness = [t.max() for t in tiles]
    np.testing.assert_allclose(brightness, [0.25, 0.5, 1, 0], atol=0.02)


def test_other_codes_are_drawn_too():
    class Other:
        pass

    grid = glyph(Other(), np.arange(24.0).reshape(2, 3, 4))
    assert grid.shape[0] * 3 == grid.shape[1] * 2
    assert grid[0, 0] < grid[-1, -1]
    vector = glyph(Other(), np.array([0.0, 1.0, -1.0]))
    filled = [column.mean() for column in np.array_split(vector, 3, axis=1)]
    assert filled[1] > 0.4 and filled[2] > 0.4 and filled[0] < 0.1
    assert glyph(HOG(), np.zeros((2, 2, 31))).max() == 0


@pytest.mark.parametrize("shape", [(3, 3), (3, 3, 5), (0, 3, 31)])
def test_codes_of_a_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError, match="shape"):
        glyph(HOG(), np.zeros(shape))


def test_codes_with_nan_are_refused():
    with pytest.raises(ValueError, match="4 non-finite"):
        glyph(HOG(), np.where(np.arange(124).reshape(2, 2, 31) % 31 == 0, np.nan, 0))


def test_a_sheet_holds_its_images_and_labels():
    images = [np.zeros((20, 30)), np.full((30, 20, 3), 0.5), np.full((8, 8, 1), 255, np.uint8)]
    page = sheet(images, ["black", "Dalal–Triggs", "white"], columns=2, side=64)
    assert page.dtype == np.uint8 and page.shape[2] == 3
    assert (page == 0).all(axis=2).sum() >= 64 * 42
    assert (page == 128).all(axis=2).sum() >= 64 * 42
    blank = sheet(images, ["", "", ""], columns=2, side=64)
    assert (blank != page).any(axis=2).sum() > 50
    with pytest.raises(ValueError, match="3 images and 1 labels"):
        sheet(images, ["a"])


def test_curves_leave_out_what_cannot_be_shown():
    chart = line_chart([Series("a<b", [1, 2, 3, 4], [1, np.nan, -1, 10])], "x", "y", log=True)
    assert "a&lt;b" in chart and "a<b" not in chart
    (points,) = [p.split('"')[0] for p in chart.split('points="')[1:]]
    assert len(points.split()) == 2
    assert "nan" not in chart


def test_curves_with_bands_dots_and_nothing_at_all():
    x = np.arange(5)
    chart = line_chart([Series("band", x, x, low=x - 1, high=x + 1), Series("dots", x, x, dots=True)], "x", "y")
    assert chart.count("<circle") == 5 and chart.count("<polygon") == 1
    empty = line_chart([Series("none", [], [])], "x", "y", log=True)
    assert 'points=""' in empty
    flat = line_chart([Series("flat", [1, 2], [3, 3])], "x", "y")
    assert "nan" not in flat and "inf" not in flat


def test_words_of_a_histogram_are_shown_by_their_patches():
    local = BRIEF(bits=6, patch_size=8, step=3, softness=1.0)
    patches = np.stack([np.full((16, 16), value, np.float32) for value in (0.1, 0.2, 0.5, 0.4)])
    words = np.random.default_rng(0).uniform(-0.6, 0.6, (4, 6))
    phi = BoVW(Vocabulary(local, words, patches=patches), levels=(1, (2, 1)))
    code = np.array([0, 2, 3, 1] * 3, dtype=np.float32) / 18
    page = present_words(phi, code)
    darkest = np.argwhere((page[4:60] == 0).all(axis=2))[:, 1]
    assert darkest.size > 50 * 60 and darkest.min() > 64, "the second most frequent word comes second"
    assert (page == 170).all(axis=2).sum() > 60 * 60
    assert present_words(phi, np.zeros(12)) is None
    assert present_words(BoVW(Vocabulary(local, words)), code) is None
    assert present_words(HOG(), np.zeros((2, 2, 31))) is None


def test_a_code_whose_norm_is_the_same_everywhere_is_not_drawn_as_an_empty_picture(photograph):
    for name in ("camera", "coffee"):
        phi = BRIEF(bits=64, patch_size=16, step=8)
        picture = glyph(phi, phi(photograph(name, 96)))
        assert picture.min() == 0 and picture.max() == 1 and picture.std() > 0.1
    assert (glyph(phi, np.ones((3, 4, 64))) == 1).all()
