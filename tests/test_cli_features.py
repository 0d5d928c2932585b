"""Features by name: the command line builds the same descriptors as the library."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from click.testing import CliRunner

import unfeature as uf
from unfeature.cli import cli
from unfeature.cli.feature_command import FAMILIES, OPTIONS, build


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Files of words and of a mixture."""
    phi = uf.BRIEF(bits=6, patch_size=8, step=3, softness=1.0)
    rng = np.random.default_rng(0)
    centres = rng.uniform(-0.6, 0.6, (8, 6))
    folder = tmp_path_factory.mktemp("words")
    uf.Vocabulary(phi, centres).save(folder / "words.npz")
    uf.Mixture(phi, centres, variances=np.full((8, 6), 0.2), priors=np.full(8, 0.125)).save(folder / "mixture.npz")
    return folder


@pytest.mark.parametrize(
    ("feature", "given", "expected"),
    [
        ("hog", {"variant": "dpm", "cell_size": 4}, lambda: uf.HOG(variant="dpm", cell_size=4)),
        ("dsift", {"bin_size": 5, "step": 3}, lambda: uf.DSIFT(bin_size=5, step=3)),
        ("phow", {"colour_space": "rgb"}, lambda: uf.PHOW(colour="rgb")),
        ("lbp", {"points": 6, "radius": 2.0}, lambda: uf.LBP(points=6, radius=2.0)),
        ("lbp", {"rotation_invariant": False}, lambda: uf.LBP(rotation_invariant=False)),
        ("brief", {"bits": 32}, lambda: uf.BRIEF(bits=32)),
    ],
)
def test_given_options_reach_the_descriptor(feature, given, expected):
    assert build(feature, given).to_config() == expected().to_config()
    assert build(feature, {}).to_config() == type(expected())().to_config()


def test_codes_of_words(words):
    given = {"words": words / "words.npz", "levels": (1, (3, 1))}
    vocabulary = uf.Vocabulary.load(words / "words.npz")
    for feature, kind in (("bovw", uf.BoVW), ("vlad", uf.VLAD), ("super-vector", uf.SuperVector)):
        assert build(feature, given).to_config() == kind(vocabulary, levels=(1, (3, 1))).to_config()
    fisher = build("fisher", {"words": words / "mixture.npz"})
    assert fisher.to_config() == uf.Fisher(uf.Vocabulary.load(words / "mixture.npz")).to_config()
    with pytest.raises(ValueError, match="needs a mixture"):
        build("fisher", {"words": words / "words.npz"})


def test_foreign_and_missing_options_are_named():
    with pytest.raises(ValueError, match="--bits is not an option of hog, which takes --variant"):
        build("hog", {"bits": 4})
    with pytest.raises(ValueError, match="bovw needs --words"):
        build("bovw", {})
    with pytest.raises(ValueError, match="cnn needs --layer"):
        build("cnn", {"net": "alexnet"})


def test_every_option_belongs_to_a_feature_and_every_feature_to_its_builder():
    assert {name for family in FAMILIES.values() for name in family.options} == set(OPTIONS)
    for family in FAMILIES.values():
        assert set(family.required) <= set(family.options)
        named = [p for p in inspect.signature(family.build).parameters.values() if p.kind is not p.VAR_KEYWORD]
        assert {p.name for p in named} <= set(family.options)


@pytest.mark.parametrize(("text", "levels"), [("1", (1,)), ("1,2,4", (1, 2, 4)), ("1,3x1", (1, (3, 1)))])
def test_pyramids_are_read(text, levels):
    from unfeature.cli.options import Levels

    assert Levels().convert(text, None, None) == levels


def test_pyramids_that_are_none_are_refused(words):
    done = CliRunner().invoke(cli, ["features", "a.png", "--feature", "bovw", "--levels", "1;2", "-o", "a.npy"])
    assert done.exit_code == 2 and "'1;2' is not a pyramid" in done.output
