"""The three measures, on codes small enough to compute by hand."""

from __future__ import annotations

import numpy as np
import pytest

import unfeature as uf
from unfeature.inversion.measures import relative_errors

ZERO, THREE, FOUR = np.zeros(2), np.array([3.0, 0.0]), np.array([0.0, 4.0])


def test_the_normaliser_of_each_measure():
    normaliser = uf.Normaliser.of([ZERO, THREE, FOUR])
    assert normaliser.euclidean == pytest.approx((3 + 4 + 5) / 3)
    assert normaliser.squared == pytest.approx(2 * (9 + 16 + 25) / 9)


def test_codes_of_photographs_of_other_sizes_are_padded_with_zeros():
    tall = np.arange(1.0, 7.0).reshape(3, 2, 1)
    assert uf.Normaliser.of([tall, np.array([1.0, 3.0, 5.0, 2.0])]).euclidean == pytest.approx(np.sqrt(4**2 + 6**2))


def test_each_measure_of_one_error():
    normaliser = uf.Normaliser.of([ZERO, THREE, FOUR])
    found, code = np.array([3.0, 6.0]), np.array([0.0, 10.0])
    assert uf.euclidean(found, code, normaliser) == pytest.approx(5 / 4)
    assert uf.squared(found, code, normaliser) == pytest.approx(25 / (100 / 9))
    assert uf.relative(found, code) == pytest.approx(0.5)


def test_measures_are_zero_for_a_match_and_undefined_for_nothing():
    normaliser = uf.Normaliser(1.0, 1.0)
    assert uf.euclidean(THREE, THREE, normaliser) == uf.squared(THREE, THREE, normaliser) == 0
    assert uf.relative(THREE, THREE) == 0
    assert np.isnan(uf.relative(THREE, ZERO))


def test_mistakes_are_explained():
    with pytest.raises(ValueError, match="at least two of their codes, got 1"):
        uf.Normaliser.of([THREE])
    with pytest.raises(ValueError, match="all photographs are equal"):
        uf.Normaliser.of([THREE, THREE])
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\) cannot be compared"):
        uf.relative(THREE, np.ones(3))


def test_errors_of_a_batch_are_those_of_the_formula():
    code = np.arange(24, dtype=np.float64).reshape(1, 2, 3, 4)
    found = code + 1
    relative, centred = relative_errors(found, code)
    assert relative[0] == uf.relative(found[0], code[0]) == pytest.approx(np.sqrt(24 / np.square(code).sum()))
    spread = code - code.mean((1, 2), keepdims=True)
    assert centred[0] == pytest.approx(np.sqrt(24 / np.square(spread).sum()))
    assert np.isnan(relative_errors(np.ones((1, 3)), np.zeros((1, 3)))).all()
