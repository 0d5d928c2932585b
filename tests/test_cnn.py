"""Layers of networks as codes: what they compute, what they leave alone, what they refuse."""

from __future__ import annotations

import copy
import json
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.tiny_networks import Residual, tiny
from unfeature.features.base import Representation
from unfeature.features.channel_statistics import statistics
from unfeature.features.networks.cnn import CNN, Layers
from unfeature.features.networks.hooks import run
from unfeature.features.networks.layer_stack import LayerStack
from unfeature.features.networks.preprocessing import Preprocessing
from unfeature.features.networks.zoo import network, randomise
from unfeature.inversion.recipes import best, ijcv2016
from unfeature.inversion.schedules import schedule_for
from unfeature.inversion.views import random_shifts

PLAIN = {"mean": 0, "std": 1}


def images(count=1, channels=3, side=25, dtype=torch.float32, seed=0):
    return torch.rand(count, channels, side, side, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def state_of(module):
    """All that a run might change in a module."""
    hooks = [len(hooks) for m in module.modules() for hooks in (m._forward_hooks, m._forward_pre_hooks,
                                                               m._backward_hooks, m._backward_pre_hooks)]
    tensors = [(name, id(t), t.requires_grad, t.grad is None, t.clone(), t.stride())
               for name, t in (*module.named_parameters(), *module.named_buffers())]
    return hooks, tensors, [(id(m), m.training) for m in module.modules()]


def same_state(before, after):
    assert before[0] == after[0] and before[2] == after[2]
    for one, other in zip(before[1], after[1], strict=True):
        assert one[:4] == other[:4] and torch.equal(one[4], other[4]) and one[5] == other[5]


def test_the_code_is_the_layer_of_the_preprocessed_image():
    x = images(2)
    scaled = 255 * x.flip(1) - torch.tensor([104.0, 117.0, 123.0]).view(3, 1, 1)
    for layer in ("conv1", "relu1", "pool1", "fire3", "fire3.squeeze", "prob"):
        (expected,) = run(tiny(), [layer], scaled)
        torch.testing.assert_close(CNN(tiny(), layer)(x), expected.detach(), rtol=1e-4, atol=1e-4)


def test_paths_are_names():
    x = images()
    assert torch.equal(CNN(tiny(), "features.6")(x), CNN(tiny(), "fire3")(x))


def test_grey_images_are_replicated():
    phi, grey = CNN(tiny(), "pool1"), images(channels=1)
    assert torch.equal(phi(grey), phi(grey.repeat(1, 3, 1, 1)))
    assert phi.in_channels == (3, 1)


def test_networks_of_one_channel():
    module = randomise(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), seed=0).eval()
    phi = CNN(module, "1", mean=(0.5,), std=(0.25,))
    assert phi.in_channels == (1,) and phi.centre == (0.5,)
    grey = images(channels=1)
    torch.testing.assert_close(phi(grey), module((grey - 0.5) / 0.25).detach())


@pytest.mark.parametrize("layer", tiny().layers)
def test_gradients_in_double_precision(layer):
    x = images(side=23, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(CNN(tiny(), layer), x, eps=1e-6, atol=1e-5, rtol=1e-3, fast_mode=True)


@pytest.mark.parametrize("layer", ["bn", "conv", "down", "fc"])
def test_gradients_through_modules_of_others(layer):
    x = images(side=16, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(CNN(Residual(), layer, **PLAIN, input_size=(16, 16)), x, fast_mode=True)


@pytest.mark.parametrize(("make", "layer"), [(tiny, "relu1"), (tiny, "prob"), (Residual, "act"), (Residual, "fc")])
def test_the_module_is_left_alone(make, layer):
    module = make()
    before = state_of(module)
    x = images(side=31).requires_grad_()
    phi = CNN(module, layer, **PLAIN, leak=0.05)
    phi.train()
    phi.requires_grad_(False)
    phi(x).square().sum().backward()
    phi.double()(x.double())
    same_state(before, state_of(module))


class Failing(Residual):
    def forward(self, x):
        x = self.stem(x)
        if x.shape[-1] == 11:
            raise RuntimeError("no images of this size, please")
        return self.down(x)


def test_the_module_is_left_alone_after_an_error():
    module = Failing()
    before = state_of(module)
    phi = CNN(module, "down", **PLAIN)
    with pytest.raises(ValueError, match=r"cannot take a 21×21 image.*no images of this size"):
        phi(images(side=21))
    assert phi(images(side=20)).shape == (1, 8, 5, 5)
    same_state(before, state_of(module))
    assert state_of(phi)[0] == [0] * len(state_of(phi)[0])


def test_layers_behind_are_not_run():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(7, 7)).eval()
    wrapped = nn.ModuleDict({"body": module})
    wrapped.forward = lambda x: module(x)
    assert CNN(module, "1", **PLAIN)(images()).shape == (1, 4, 23, 23)
    assert len(CNN(module, "1", **PLAIN).layer_stack.model) == 2


def test_nothing_is_trainable():
    assert list(CNN(tiny(), "prob").parameters()) == []
    assert list(CNN(Residual(), "fc", **PLAIN).parameters()) == []


def test_half_and_double_precision_follow_the_image():
    phi = CNN(tiny(), "fire3")
    for dtype in (torch.float64, torch.bfloat16, torch.float32):
        assert phi(images().to(dtype)).dtype == dtype
    torch.testing.assert_close(phi(images().double()).float(), phi(images()), rtol=1e-4, atol=1e-3)


def test_dead_units_leak_their_gradient_and_keep_their_output():
    module = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU(), nn.ReLU()).eval()
    randomise(module, seed=3)
    x = images(dtype=torch.float64).requires_grad_()
    dead, leaky = (CNN(module, "1", mean=0.5, std=0.1, leak=leak) for leak in (0.0, 0.05))
    assert torch.equal(dead(x), leaky(x))
    (gradient,) = torch.autograd.grad(leaky(x).sum(), x)
    weight = module[0].weight.detach().double()
    slopes = torch.where(leaky(x) > 0, 1.0, 0.05).double()
    torch.testing.assert_close(gradient, 10 * torch.einsum("nohw,ocij->nchw", slopes, weight))
    with pytest.raises(ValueError, match="leak needs ReLUs that are modules"):
        CNN(module, "0", **PLAIN, leak=0.05)
    with pytest.raises(ValueError, match="slope from 0 to 1"):
        CNN(module, "1", **PLAIN, leak=float("nan"))


def test_a_leaky_twin_shares_weights_and_description():
    phi = CNN(tiny(), "fire3")
    twin, given = phi.leaky(0.05), CNN(tiny(), "fire3", leak=0.05)
    assert (phi.leak, twin.leak, twin.leaky(0.02).leak) == (0.0, 0.05, 0.05)
    assert twin.leaky(0.05) is twin and twin.to_config() == given.to_config() and repr(twin) == repr(given)
    assert {b.data_ptr() for b in twin.buffers()} == {b.data_ptr() for b in phi.buffers()}
    x = images().requires_grad_()
    own, leaked, expected = (torch.autograd.grad(one(x).square().sum(), x)[0] for one in (phi, twin, given))
    torch.testing.assert_close(leaked, expected)
    assert (leaked - own).abs().max() > 1e-3 * own.abs().max()
    without = CNN(nn.Sequential(nn.Conv2d(3, 5, 1)).eval(), "0", **PLAIN)
    assert without.leaky(0.05) is without


def test_fields_of_modules_are_derived_or_measured():
    sizes = {"stem": (3, 2), "act": (3, 2), "conv": (7, 2), "down": (11, 4)}
    for layer, expected in sizes.items():
        phi = CNN(Residual(), layer, **PLAIN, input_size=(64, 64))
        assert (phi.receptive_field, phi.stride) == expected
    classifier = CNN(Residual(), "fc", **PLAIN, input_size=(64, 48))
    assert classifier.receptive_field == 64 and classifier.output_shape(64, 48) == (5,)
    told = CNN(Residual(), "down", **PLAIN, stride=7, receptive_field=9)
    assert (told.receptive_field, told.stride) == (9, 7)


def test_published_settings_follow_from_the_field():
    phi = CNN(tiny(), "pool1")
    schedule = schedule_for(phi)
    assert (phi.receptive_field, phi.stride, schedule.jitter, schedule.data_weight) == (9, 4, 1, 300)
    layers = ("conv2", "fire3", "fc4")
    assert [schedule_for(CNN(tiny(), layer)).data_weight for layer in layers] == [100, 20, 20]
    assert schedule_for(CNN(Residual(), "down", **PLAIN, stride=6)).jitter == 2
    np.testing.assert_allclose(phi.centre, np.array([123, 117, 104]) / 255)


def test_the_size_of_an_image_follows_from_its_code():
    phi = CNN(tiny(), "fire3")
    assert phi.image_size_for(phi.output_shape(25, 25)) == (25, 25)
    for height, width in ((17, 40), (33, 60)):
        shape = phi.output_shape(height, width)
        found = phi.image_size_for(shape)
        assert phi.output_shape(*found) == shape and found <= (height, width)
        smaller = phi.output_shape(found[0] - 1, found[1])
        assert smaller[1] < shape[1]
    with pytest.raises(ValueError, match=r"no image has a code of shape \(9, 5, 5\)"):
        phi.image_size_for((9, 5, 5))
    with pytest.raises(ValueError, match="give it, as size="):
        CNN(Residual(), "fc", **PLAIN).image_size_for((6,))


def test_weights_travel_by_their_fingerprint(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(dict(randomise(network("torchvision-squeezenet1_0"), seed=0).state_dict()), path)
    phi = CNN("torchvision-squeezenet1_0", "pool1", path)
    config = json.loads(json.dumps(phi.to_config()))
    assert str(tmp_path) not in json.dumps(config)
    again = Representation.from_config(config, weights=path)
    assert again.to_config() == config and torch.equal(again(images()), phi(images()))
    assert eval(repr(phi)).to_config() == config
    assert again.replace(layer="conv1").layer == "conv1"
    with pytest.raises(FileNotFoundError, match="squeezenet1_0-b66bff10"):
        Representation.from_config(config)
    save_file(dict(randomise(network("torchvision-squeezenet1_0"), seed=1).state_dict()), path)
    with pytest.raises(ValueError, match="are not those described"):
        Representation.from_config(config, weights=path)


def test_the_fingerprint_is_of_the_weights_that_matter():
    module, other = tiny(), tiny()
    with torch.no_grad():
        other.get_submodule("fc4").bias += 1
    assert CNN(module, "fire3").fingerprint == CNN(other, "fire3").fingerprint
    assert CNN(module, "fc4").fingerprint != CNN(other, "fc4").fingerprint
    assert CNN(module.double(), "fc4").fingerprint == CNN(tiny(), "fc4").fingerprint


def with_nan():
    module = tiny()
    with torch.no_grad():
        module.get_submodule("conv2").weight[0, 0, 0, 0] = torch.nan
    return module


@pytest.mark.parametrize(("make", "message"), [
    (lambda: CNN(Residual(), "features.1", **PLAIN), "no layer 'features.1'.*stem, bn, act, conv, down, idle, fc"),
    (lambda: CNN(tiny(), "conv3"), r"did you mean 'conv\d'"),
    (lambda: CNN(Residual(), "idle", **PLAIN), r"^the forward pass of Residual does not run the layers idle"),
    (lambda: CNN(Residual(), "stem"), r"does not state its preprocessing.*mean=\(0.485"),
    (lambda: CNN(Residual(), "stem", mean=(0, 0), std=1), r"cannot take a 224×224 image of 2 channels.*input_size="),
    (lambda: CNN(nn.Sequential(Residual()).eval(), "down", **PLAIN), "did you mean '0.down'"),
    (lambda: CNN(Residual(), "stem", mean=(0, 0), std=(1, 1, 1)), "mean has 2 values"),
    (lambda: CNN(with_nan(), "conv2"), "conv2.weight have 1 values that are not finite"),
    (lambda: CNN(network("alexnet"), "conv1"), "conv1.weight have no values"),
    (lambda: CNN(tiny(), "conv1", "w.pth"), "a module has its own"),
    (lambda: CNN(7, "conv1"), "a name or a torch module, got int"),
    (lambda: CNN(nn.Sequential(nn.Flatten(2)).eval(), "0", **PLAIN), r"^layer '0' gives shape \(1, 3"),
    (lambda: CNN(tiny(), "fc4").output_shape(9, 9), "a 9×9 image of 3 channels up to fc4: its own size is 25×25"),
])
def test_what_cannot_be_is_refused_in_words(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bfloat16_is_near_and_gives_codes_as_precise_as_the_images():
    x = images(side=32).requires_grad_()
    exact, rough = (CNN(tiny(), "relu2", precision=precision) for precision in (None, "bfloat16"))
    codes = exact(x), rough(x)
    gradients = [torch.autograd.grad(code.square().sum(), x)[0] for code in codes]
    for (a, b), bound in ((codes, 0.05), (gradients, 0.4)):
        assert b.dtype == torch.float32
        assert 0 < float((a - b).detach().norm() / a.detach().norm()) < bound
    assert rough.to_config()["precision"] == "bfloat16" and "bfloat16" in repr(rough)
    statistics(exact, [x.detach()]).check(rough)
    with pytest.raises(ValueError, match="precision is 'bfloat16'"):
        CNN(tiny(), "relu2", precision="half")


def test_deep_layers_are_inverted_under_jitter_and_shallow_ones_are_not():
    shallow, deep = best(CNN(tiny(), "conv1")), best(CNN(tiny(), "conv1").replace(receptive_field=99, stride=8))
    assert [stage.transforms for stage in shallow.stages] == [()]
    assert [stage.transforms for stage in deep.stages] == [random_shifts(2)] * 2 + [()] * 3
    assert [bool(stage.leak) for stage in deep.stages] == [True, True, True, False, False]
    assert [bool(stage.spatial_mean_weight) for stage in deep.stages] == [False, False, False, True, True]
    assert shallow.steps == deep.steps == ijcv2016(CNN(tiny(), "conv1")).steps == 350


def test_colours_that_timm_tells_are_used():
    module = Residual()
    module.pretrained_cfg = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.2), "input_size": (3, 64, 64)}
    phi = CNN(module, "stem")
    assert phi.centre == (0.5, 0.4, 0.3) and phi.image_size_for(phi.output_shape(64, 64)) == (64, 64)
    x = images(side=64)
    assert torch.equal(phi(x), CNN(Residual(), "stem", mean=(0.5, 0.4, 0.3), std=0.2)(x))


def test_a_layer_stack_takes_a_preprocessing():
    x, colours = images(side=64), Preprocessing((0.5, 0.4, 0.3), (0.2, 0.2, 0.2), order="BGR")
    expected = CNN(Residual(), "stem", mean=(0.5, 0.4, 0.3), std=0.2, order="BGR")(x)
    assert torch.equal(LayerStack(Residual(), ["stem"], preprocessing=colours)(x)["stem"], expected)
    with pytest.raises(ValueError, match="does not state its preprocessing"):
        LayerStack(Residual(), ["stem"])


@pytest.mark.parametrize("layers", ["conv1", [], ["conv1", "conv1"]])
@pytest.mark.parametrize("make", [Layers, LayerStack])
def test_layers_are_a_list_of_different_names(make, layers):
    with pytest.raises(ValueError, match="a list of different names"):
        make(tiny(), layers)


def test_modules_that_cannot_be_copied_say_so():
    module = Residual()
    module.lock = threading.Lock()
    with pytest.raises(ValueError, match="Residual cannot be copied"):
        CNN(module, "stem", **PLAIN)


def test_several_layers_come_from_one_pass():
    names = ["pool1", "conv1", "relu1", "fc4"]
    stack = LayerStack(tiny(), names)
    codes = stack(images(2))
    assert list(codes) == names
    for name, code in codes.items():
        torch.testing.assert_close(code, CNN(tiny(), name)(images(2)))
        assert stack.output_shapes(25, 25)[name] == tuple(code.shape[1:])
    assert codes["conv1"].min() < 0 and codes["relu1"].min() == 0


def test_gradients_of_several_layers_add_up():
    x = images(side=23, dtype=torch.float64).requires_grad_()
    stack = LayerStack(tiny(), ["conv1", "relu1", "fire3"])
    assert torch.autograd.gradcheck(lambda x: tuple(stack(x).values()), x, eps=1e-6, atol=1e-5, rtol=1e-3,
                                    fast_mode=True)


def test_descriptors_can_be_copied():
    phi = CNN(tiny(), "fire3")
    assert torch.equal(copy.deepcopy(phi)(images()), phi(images()))
