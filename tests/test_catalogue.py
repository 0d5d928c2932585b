"""A descriptor of ten lines, added at run time, keeps the contract and is found wherever the others are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch.nn.functional import avg_pool2d

import unfeature as uf
from tests.contract import CHECKS
from unfeature import features
from unfeature.features import DESCRIPTORS
from unfeature.features.base import Representation
from unfeature.inversion import PRESETS


class Toy(Representation):
    """Mean colours of square cells."""

    def __init__(self, side: int = 3, gain: float = 1.0) -> None:
        super().__init__()
        self.side, self.gain, self.stride, self.receptive_field = side, gain, side, side

    def output_shape(self, height, width):
        if min(height, width) < self.side:
            raise ValueError(f"an image of {height} × {width} pixels is smaller than a cell of {self.side} pixels")
        return 1, height // self.side, width // self.side

    def image_size_for(self, code_shape):
        h, w = self._grid_of(code_shape, 1)
        return h * self.side, w * self.side

    def forward(self, x):
        return self.gain * avg_pool2d(x.mean(1, keepdim=True), self.side)


@pytest.fixture(autouse=True)
def toy():
    DESCRIPTORS["toy"] = Toy
    yield Toy(side=4)
    del DESCRIPTORS["toy"]


@pytest.mark.parametrize("check", CHECKS)
def test_contract(toy, check):
    CHECKS[check](toy)


def test_it_is_found_by_its_names():
    assert DESCRIPTORS["toy"] is DESCRIPTORS.find("toy") is features.Toy is uf.Toy is Toy
    assert DESCRIPTORS.class_names()["Toy"] == "toy"
    with pytest.raises(ValueError, match=r"unknown feature 'tou'.*did you mean 'toy'"):
        DESCRIPTORS.find("tou")


def test_its_description_rebuilds_it(toy):
    rebuilt = Representation.from_config({"type": "Toy", "side": 4, "gain": 1.0})
    assert isinstance(rebuilt, Toy) and repr(rebuilt) == repr(toy) == "Toy(side=4)"
    del DESCRIPTORS["toy"]
    with pytest.raises(ValueError, match=r'unknown descriptor \'Toy\'.*DESCRIPTORS\["my-name"\] = Toy'):
        Representation.from_config(toy.to_config())
    DESCRIPTORS["toy"] = Toy


def test_it_is_inverted_and_its_result_read_again(toy, tmp_path):
    image = np.random.default_rng(0).random((24, 28), dtype=np.float32)
    result = uf.invert(toy, toy(image), steps=30)
    assert result.images[0].shape[:2] == (24, 28)
    assert result.errors[0] < 0.1
    result.save(tmp_path)
    assert isinstance(uf.Result.load(tmp_path), uf.Result)


def test_centres_are_those_of_the_cells(toy):
    rows, columns = toy.position_centres(27, 30)
    np.testing.assert_allclose(rows, 1.5 + 4 * np.arange(6), atol=1e-9)
    np.testing.assert_allclose(columns, 1.5 + 4 * np.arange(7), atol=1e-9)


def test_a_preset_added_at_run_time_is_found(toy):
    PRESETS["short"] = lambda phi: replace(PRESETS["fast"](phi), name="short")
    try:
        result = uf.invert(toy, toy(np.full((12, 12), 0.4, np.float32)), preset="short", steps=3)
    finally:
        del PRESETS["short"]
    assert result.provenance["method"] == "short"
    with pytest.raises(ValueError, match=r"unknown preset 'fist'.*did you mean 'fast'"):
        uf.invert(toy, toy(np.full((12, 12), 0.4, np.float32)), preset="fist")
