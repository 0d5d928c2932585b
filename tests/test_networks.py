"""The published networks against the tables of their papers and files, and receptive fields of any module."""

from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unfeature.features.networks.copies import frozen
from unfeature.features.networks.hooks import FoldedConv2d, LeakyReLU, run
from unfeature.features.networks.preprocessing import Preprocessing
from unfeature.features.networks.receptive_field import Field, derive, measure, step
from unfeature.features.networks.zoo import ClippedAvgPool2d, LocalNorm, network, randomise, resolve

# name: receptive field, stride, offset, channels, side of the map
TABLES = {
    "alexnet": """conv1 11 4 6 96 55, relu1 11 4 6 96 55, norm1 11 4 6 96 55, pool1 19 8 10 96 27, conv2 51 8 10 256 27,
        norm2 51 8 10 256 27, pool2 67 16 18 256 13, conv3 99 16 18 384 13, conv4 131 16 18 384 13,
        conv5 163 16 18 256 13, pool5 195 32 34 256 6, fc6 355 32 114 4096 1, fc7 355 32 114 4096 1,
        fc8 355 32 114 1000 1, prob 355 32 114 1000 1""",
    "caffenet": "conv1 11 4 6 96 55, pool1 19 8 10 96 27, norm1 19 8 10 96 27, norm2 67 16 18 256 13",
    "vgg-f": "conv1 11 4 6 64 54, norm1 11 4 6 64 54, pool1 19 8 10 64 27, pool5 195 32 34 256 6",
    "vgg-m": """conv1 7 2 4 96 109, pool1 11 4 6 96 54, conv2 27 8 10 256 26, pool2 43 16 18 256 13,
        conv5 139 16 18 512 13, pool5 171 32 34 512 6, fc6 331 32 114 4096 1""",
    "vgg-s": """conv1 7 2 4 96 109, pool1 11 6 6 96 37, conv2 35 6 18 256 33, pool2 41 12 21 256 17,
        conv5 113 12 21 512 17, pool5 137 36 33 512 6, fc6 317 36 123 4096 1""",
    "vgg-vd-16": """conv1_1 3 1 1 64 224, pool1 6 2 1.5 64 112, pool2 16 4 2.5 128 56, pool3 44 8 4.5 256 28,
        conv4_3 92 8 4.5 512 28, pool4 100 16 8.5 512 14, relu5_3 196 16 8.5 512 14, pool5 212 32 16.5 512 7,
        fc6 404 32 112.5 4096 1, fc8 404 32 112.5 1000 1""",
    "vgg-vd-19": "conv3_4 48 4 2.5 256 56, conv5_4 252 16 8.5 512 14, pool5 268 32 16.5 512 7",
    "overfeat-fast": """conv1 11 4 6 96 56, pool1 15 8 8 96 28, conv2 47 8 24 256 24, pool2 55 16 28 256 12,
        conv3 87 16 28 512 12, conv5 151 16 28 1024 12, pool5 167 32 36 1024 6, fc6 327 32 116 3072 1,
        fc8 327 32 116 1000 1""",
    "overfeat-accurate": """conv1 7 2 4 96 108, pool1 11 6 6 96 36, conv2 47 6 24 256 30, pool2 53 12 27 256 15,
        conv6 149 12 27 1024 15, pool6 173 36 39 1024 5, fc7 317 36 111 4096 1, fc9 317 36 111 1000 1""",
    "squeezenet1_0": """conv1 7 2 4 96 111, pool1 11 4 6 96 55, fire2 19 4 6 128 55, fire4 35 4 6 256 55,
        pool4 43 8 10 256 27, fire5 59 8 10 256 27, fire8 107 8 10 512 27, pool8 123 16 18 512 13,
        fire9 155 16 18 512 13, conv_final 155 16 2 1000 15""",
    "torchvision-alexnet": "conv1 11 4 4 64 55, pool1 19 8 8 64 27, conv2 51 8 8 192 27, pool5 195 32 32 256 6",
    "torchvision-vgg16": "pool1 6 2 1.5 64 112, fc8 404 32 112.5 1000 1",
    "torchvision-squeezenet1_0": "fire9 155 16 18 512 13, conv_final 155 16 18 1000 13",
}
PARAMETERS = {"alexnet": 60965224, "caffenet": 60965224, "vgg-f": 60834536, "vgg-m": 102908520, "vgg-s": 102908520,
              "vgg-vd-16": 138357544, "vgg-vd-19": 143667240, "squeezenet1_0": 1248424,
              "torchvision-alexnet": 61100840, "torchvision-vgg16": 138357544, "torchvision-vgg19": 143667240,
              "torchvision-squeezenet1_0": 1248424, "overfeat-fast": 145920872, "overfeat-accurate": 144656488}
FILES = {"imagenet-caffe-alex": "alexnet", "imagenet-caffe-ref": "caffenet", "imagenet-vgg-f": "vgg-f",
         "imagenet-vgg-m": "vgg-m", "imagenet-vgg-s": "vgg-s", "imagenet-vgg-verydeep-16": "vgg-vd-16"}


def blank(net):
    return torch.zeros(1, 3, *net.preprocessing.input_size, device="meta")


def described(net, layer, x):
    (code,) = run(net, [layer], x)
    field, complete = derive(net, layer, x)
    assert complete
    return [field.size, field.stride, field.offset, code.shape[1], code.shape[2]]


@pytest.mark.parametrize("name", TABLES)
def test_layers_have_the_published_fields_and_shapes(name):
    net = network(name)
    x = blank(net) if name != "torchvision-squeezenet1_0" else torch.zeros(1, 3, 227, 227, device="meta")
    for row in TABLES[name].split(","):
        layer, *numbers = row.split()
        assert described(net, layer, x) == [float(n) for n in numbers], layer


@pytest.mark.parametrize("name", PARAMETERS)
def test_networks_have_the_published_number_of_parameters(name):
    assert sum(p.numel() for p in network(name).parameters()) == PARAMETERS[name]


def test_every_row_of_the_reference_tables(shared):
    text = (shared / "reference" / "cnn_specs.md").read_text(encoding="utf-8")
    for file, name in FILES.items():
        section = text.split(f"### {file}.mat")[1].split("###")[0].split("## 6")[0]
        rows = [re.split(r"\s*\|\s*", line)[1:-1] for line in section.splitlines() if re.match(r"\| \d", line)]
        net = network(name)
        assert net.layers == tuple(row[1] for row in rows)
        x = blank(net)
        for row in rows:
            side, _, channels = row[8].split("x")
            assert described(net, row[1], x) == [float(v) for v in (*row[9:12], channels, side)], row


def test_names_of_layers_paths_and_parts_are_all_accepted():
    net = network("squeezenet1_0")
    names = "fire2", "features.3", "features.3.squeeze", "fire2.squeeze", "classifier.1"
    assert [resolve(net, n) for n in names] == ["fire2", "fire2", "fire2.squeeze", "fire2.squeeze", "conv_final"]
    assert [resolve(network("vgg16"), n) for n in ("features.28", "classifier.3")] == ["conv5_3", "fc7"]
    assert [resolve(network("torchvision-alexnet"), n) for n in ("features.12", "classifier.6")] == ["pool5", "fc8"]


def test_scores_of_overfeat_may_be_negative():
    for name, last in (("overfeat-fast", "fc8"), ("overfeat-accurate", "fc9")):
        layers = network(name).layers
        assert layers[-2:] == (last, "prob") and layers[-4:-2] == (f"fc{int(last[2]) - 1}", f"relu{int(last[2]) - 1}")


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(ValueError, match=r"no layer 'fire10': one of conv1, relu1, .*did you mean 'fire\d'"):
        resolve(network("squeezenet1_0"), "fire10")
    with pytest.raises(ValueError, match="no layer ''"):
        resolve(network("alexnet"), "")
    with pytest.raises(ValueError, match=r"'vgg-vd-17': one of alexnet, caffenet.*did you mean 'vgg-vd-1"):
        network("vgg-vd-17")


def test_building_takes_no_memory_and_no_random_numbers():
    before = torch.get_rng_state()
    net = network("vgg-vd-19")
    assert all(p.is_meta for p in net.parameters())
    assert not any(m.training for m in net.modules())
    assert torch.equal(torch.get_rng_state(), before)


def test_random_weights_come_from_the_seed():
    first, again, other = (randomise(nn.Sequential(nn.Conv2d(3, 64, 5)), seed)[0].weight.detach() for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.std() == pytest.approx(math.sqrt(2 / 75), rel=0.05)


def test_preprocessing_is_the_formula():
    x = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    found = Preprocessing((104.0, 117.0, 123.0), (1.0, 2.0, 4.0), 255.0, "BGR")(x)
    for channel, (mean, std) in enumerate(((104, 1), (117, 2), (123, 4))):
        torch.testing.assert_close(found[:, channel], (255 * x[:, 2 - channel] - mean) / std)


def test_preprocessing_knows_the_mean_colour():
    assert Preprocessing((51.0, 102.0, 153.0), scale=255.0, order="BGR").colour == (0.6, 0.4, 0.2)
    assert Preprocessing((0.0, 0.0, 0.0)).colour == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(("options", "message"), [
    ({"mean": (0.0,) * 3, "order": "GRB"}, "'RGB' or 'BGR'"), ({"mean": (0.0, 0.0)}, "2 values and std 3"),
    ({"mean": (math.nan,) * 3}, "finite"), ({"mean": (0.0,) * 3, "std": (1.0, 0.0, 1.0)}, "positive"),
    ({"mean": (0.0,) * 3, "scale": -1.0}, "positive")])
def test_impossible_preprocessing_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**options)


@given(window=st.integers(1, 6), channels=st.integers(1, 7))
def test_local_normalisation_is_its_formula(window, channels):
    x = torch.randn(1, channels, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(window))
    found = LocalNorm(window, alpha=0.3 * window, beta=0.6, k=1.5)(x)
    for c in range(channels):
        low, high = max(c - (window - 1) // 2, 0), c + math.ceil((window - 1) / 2) + 1
        power = x[:, low:high].square().sum(1)
        torch.testing.assert_close(found[:, c], x[:, c] * (1.5 + 0.3 * power) ** -0.6)


def test_average_pooling_divides_by_what_lies_on_the_map():
    x = torch.arange(12.0, dtype=torch.float64).view(1, 1, 3, 4)
    found = ClippedAvgPool2d((2, 2), (2, 2), (1, 0, 0, 1))(x)
    assert found.tolist() == [[[[2.0, 3.5], [8.0, 9.5]]]]


@given(side=st.integers(9, 40), kernel=st.integers(2, 7), stride=st.integers(2, 4), pad=st.integers(0, 2))
def test_folded_convolutions_are_the_convolutions(side, kernel, stride, pad):
    conv = randomise(nn.Conv2d(3, 4, kernel, stride, pad, dtype=torch.float64), seed=0)
    assert FoldedConv2d.suits(conv)
    x = torch.rand(2, 3, side, side + 3, dtype=torch.float64, generator=torch.Generator().manual_seed(side),
                   requires_grad=True)
    found, expected = frozen(nn.Sequential(FoldedConv2d(conv)))(x), conv(x)
    torch.testing.assert_close(found, expected)
    weights = torch.sin(torch.arange(expected.numel(), dtype=torch.float64)).view(expected.shape)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, weights)[0] for y in (found, expected)))


def test_leaky_units_have_the_values_of_a_relu_and_the_slope_below_zero():
    x = torch.tensor([-2.0, -0.0, 0.0, 0.5, 3e38], dtype=torch.float64, requires_grad=True)
    found = LeakyReLU(0.05)(x)
    assert found.tolist() == [0.0, 0.0, 0.0, 0.5, 3e38]
    assert torch.autograd.grad(found.sum(), x)[0].tolist() == [0.05, 0.05, 0.05, 1.0, 1.0]


@given(layers=st.lists(st.tuples(st.booleans(), st.integers(1, 5), st.integers(1, 2)), min_size=1, max_size=4))
def test_measured_fields_are_the_derived_ones(layers):
    chain = nn.Sequential()
    for i, (pool, kernel, stride) in enumerate(layers):
        stride, pad = min(kernel, stride), (kernel - 1) // 2
        chain.add_module(str(i), nn.MaxPool2d(kernel, stride, pad) if pool else nn.Conv2d(3, 3, kernel, stride, pad))
    with torch.no_grad():
        x = torch.rand(1, 3, 150, 60)
        derived, complete = derive(chain, str(len(layers) - 1), x)
        measured = measure(chain, x)
    assert complete
    assert measured == derived


def test_fields_of_codes_without_positions_are_not_measured():
    assert measure(lambda x: x.mean((2, 3)), torch.zeros(1, 3, 8, 8)) is None
    assert measure(lambda x: x.mean((2, 3), keepdim=True), torch.zeros(1, 3, 8, 8)) is None


def test_positions_that_see_everything_are_as_far_apart_as_the_map_is_coarse():
    field = measure(lambda x: nn.functional.avg_pool2d(x, 4) * x.mean((2, 3), keepdim=True), torch.zeros(1, 3, 20, 20))
    assert field == Field(20, 4, 10.5 - 2 * 4)


def in_windows(x, rows):
    """The mean of each patch of 4 pixels, and of each window of rows of patches."""
    patches = nn.functional.avg_pool2d(x, 4)
    windows = nn.functional.avg_pool2d(patches, (rows, 1)).repeat_interleave(rows, 2)
    return patches + windows[:, :, :patches.shape[2]]


@pytest.mark.parametrize("rows", [2, 3, 7, 14])
def test_positions_in_windows_are_as_far_apart_as_the_patches(rows):
    field = measure(lambda x: in_windows(x, rows), torch.zeros(1, 3, 168, 20))
    assert field == Field(4 * rows, 4, 2.5)


def test_fields_that_reach_the_border_are_as_far_apart_as_the_map_is_coarse():
    blur = nn.Sequential(nn.AvgPool2d(8), nn.AvgPool2d(7, 1, 3), nn.AvgPool2d(7, 1, 3))
    assert measure(blur, torch.zeros(1, 3, 200, 8)) == Field(104, 8, 4.5)
    assert measure(blur, torch.zeros(1, 3, 104, 8)) == Field(104, 8, 4.5)


def test_upsampled_maps_have_the_stride_of_their_size():
    chain = nn.Sequential(nn.AvgPool2d(4), nn.Upsample(scale_factor=2))
    assert measure(chain, torch.zeros(1, 3, 40, 8)) == Field(4, 2, 1.5)


def test_modules_that_do_not_tell_their_windows_break_the_derivation():
    chain = nn.Sequential(nn.Conv2d(3, 3, 3, stride=2), nn.Upsample(scale_factor=2), nn.Conv2d(3, 3, 3))
    assert step(chain[1]) is None
    assert derive(chain, "2", torch.zeros(1, 3, 20, 20)) == (Field(3.0, 2, 2.0), False)


def test_layers_that_see_the_whole_map_have_an_infinite_field():
    chain = nn.Sequential(nn.Conv2d(3, 3, 3, stride=2), nn.AdaptiveAvgPool2d(1))
    field, complete = derive(chain, "1", torch.zeros(1, 3, 20, 20))
    assert complete and field.size == math.inf and field.stride == 2
