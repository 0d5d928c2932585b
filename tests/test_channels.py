"""Masks of channels and positions, and statistics of channels over images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.tiny_networks import tiny
from unfeature.features.channel_statistics import Statistics, statistics
from unfeature.features.masks import centre_mask, channel_mask, group_mask, neuron
from unfeature.features.networks.cnn import CNN


def images(count, side, seed):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_masks_mark_parts_of_a_code():
    shape = (4, 8, 7)
    assert channel_mask(shape, [0, -1]).sum((2, 3)).tolist() == [[56, 0, 0, 56]]
    assert group_mask(shape, 0).sum((2, 3)).tolist() == [[56, 56, 0, 0]]
    assert torch.equal(group_mask(shape, 0) + group_mask(shape, 1), torch.ones(1, *shape))
    assert group_mask((6,), 2, groups=3).tolist() == [[0, 0, 0, 0, 1, 1]]
    rows, columns = (centre_mask(shape, 5)[0, 0].amax(axis).nonzero().flatten().tolist() for axis in (1, 0))
    assert rows == [1, 2, 3, 4, 5] and columns == [1, 2, 3, 4, 5]
    assert centre_mask((2, 3, 3)).sum() == 18
    assert neuron(shape, 2).nonzero().tolist() == [[0, 2, 4, 3]]
    assert neuron(shape, 1, 0, -1).nonzero().tolist() == [[0, 1, 0, 6]]
    assert neuron((5,), 3).tolist() == [[0, 0, 0, 1, 0]]


@pytest.mark.parametrize(("make", "message"), [
    (lambda: channel_mask((4, 2, 2), [4]), "no channel 4: the code has 4"), (lambda: group_mask((5,), 0), "5 channels"),
    (lambda: group_mask((4,), 2), "no group 2"), (lambda: centre_mask((4,)), "neighbourhood"),
    (lambda: neuron((4, 2, 2), 0, row=2), "no row 2"), (lambda: neuron((4,), 0, 1, 1), "no rows and columns"),
    (lambda: centre_mask((1, 2, 2), 0), "side 0")])
def test_parts_that_are_not_there_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_statistics_are_those_of_all_positions(tmp_path):
    phi = CNN(tiny(), "conv2")
    seen = [images(2, 25, seed=1), images(3, 41, seed=2), images(1, 31, seed=3) / 4]
    found = statistics(phi, iter(seen))
    values = np.concatenate([phi(x).transpose(0, 1).flatten(1).numpy() for x in seen], 1).astype(float)
    for name in ("mean", "std", "max"):
        np.testing.assert_allclose(getattr(found, name), getattr(values, name)(axis=1), rtol=1e-6)
    assert (found.images, found.positions) == (6, values.shape[1])
    found.save(tmp_path / "s.npz")
    loaded = Statistics.load(tmp_path / "s.npz", phi.replace(leak=0.05))
    assert loaded.images == 6 and np.array_equal(loaded.std, found.std)
    with pytest.raises(ValueError, match=r"another descriptor .*layer 'conv2' instead of 'conv1'"):
        Statistics.load(tmp_path / "s.npz", phi.replace(layer="conv1"))


def test_statistics_take_photographs_and_refuse_none(photograph):
    picture = photograph(side=32, grey=False)
    found = statistics(CNN(tiny(), "relu2"), [picture, (255 * picture).astype(np.uint8)])
    assert found.images == 2 and (found.std > 0).any() and (found.max >= found.mean).all()
    with pytest.raises(ValueError, match="no images"):
        statistics(CNN(tiny(), "relu2"), [])
