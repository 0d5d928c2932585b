"""The metamer test: measures by their formulas, and the null over all pairs."""

from __future__ import annotations

import itertools
from dataclasses import astuple, replace

import numpy as np
import pytest
from scipy.stats import spearmanr

import unfeature as uf


def codes(count, shape=(4, 3, 5), seed=0):
    return list(np.random.default_rng(seed).normal(0.3, 1, (count, *shape)).clip(0).astype(np.float32))


def by_formula(found, code):
    a, b = (x.astype(np.float64).ravel() for x in (found, code))
    return (spearmanr(a, b).statistic, np.corrcoef(a, b)[0, 1] ** 2,
            10 * np.log10((b**2).sum() / ((a - b) ** 2).sum()))


def test_agreement_is_the_published_formulas_and_leaves_the_codes_alone():
    code, noise = codes(2)
    found = code + 0.2 * noise
    before = found.copy(), code.copy()
    np.testing.assert_allclose(astuple(uf.agreement(found, code)), by_formula(found, code), rtol=1e-6)
    assert (found == before[0]).all() and (code == before[1]).all()


def test_a_match_and_codes_that_cannot_be_compared():
    code = codes(1)[0]
    same = uf.agreement(code, code)
    assert same.spearman == pytest.approx(1) and same.r2 == pytest.approx(1) and same.snr == np.inf
    flat = uf.agreement(0 * code + 0.1, code)
    assert np.isnan([flat.spearman, flat.r2]).all() and 0 < flat.snr < 3
    assert np.isnan(astuple(uf.agreement(code, 0 * code))).all()
    assert not flat.exceeds(flat) and not flat.exceeds(replace(flat, spearman=-1, r2=-1, snr=-1))
    assert same.exceeds(uf.Agreement(0.9, 0.9, 50.0)) and not same.exceeds(uf.Agreement(0.9, 1.1, 50.0))


def test_the_null_is_the_best_of_all_pairs_in_both_orders():
    several = codes(5)
    pairs = [by_formula(a, b) for a, b in itertools.permutations(several, 2)]
    np.testing.assert_allclose(astuple(uf.chance_agreement(several)), np.max(pairs, axis=0), rtol=1e-5)
    with_flat = uf.chance_agreement([*several, np.full_like(several[0], 0.5)])
    assert (with_flat.spearman, with_flat.r2) == astuple(uf.chance_agreement(several))[:2]


@pytest.mark.parametrize(("given", "words"), [
    (codes(1), "at least two photographs"), ([], "at least two"), ([*codes(1), *codes(1, (2, 2, 5))], "of one size"),
    ([np.ones((2, 3)), np.ones((2, 3))], "cannot be compared|can be compared"),
])
def test_photographs_that_make_no_null_are_named(given, words):
    with pytest.raises(ValueError, match=words):
        uf.chance_agreement(given)


def test_codes_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="cannot be compared"):
        uf.agreement(codes(1)[0], codes(1, (2, 2, 5))[0])
