"""Networks that belong to others: nothing changes them, and any number of threads reads them at the same time."""

from __future__ import annotations

import pickle
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import fx, nn
from torch.nn.utils import parametrizations, spectral_norm

from tests.tiny_networks import ResNet, tiny
from unfeature.features.channel_statistics import statistics
from unfeature.features.networks.cnn import CNN, Layers
from unfeature.features.networks.layer_stack import LayerStack
from unfeature.inversion.caricature import caricature
from unfeature.inversion.invert import invert
from unfeature.inversion.maximize import maximize

COLOURS = {"mean": (0.5, 0.4, 0.3), "std": 0.2, "input_size": (32, 32)}


def images(count=1, side=32, dtype=torch.float32, seed=0):
    return torch.rand(count, 3, side, side, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def picture():
    return images()[0].permute(1, 2, 0).contiguous().numpy()


class TwoGraphs(fx.GraphModule):
    """An extractor with a graph for each mode, which a copy starts in training, as torchvision's does."""

    def __init__(self, root, graph):
        super().__init__(root, graph)
        self.train()

    def _deepcopy_init(self):
        return TwoGraphs.__init__


def extractor():
    """A traced network that stops at a layer, and returns it in a dictionary."""
    net = fx.symbolic_trace(ResNet())
    nodes = list(net.graph.nodes)
    nodes[-1].args = ({"f": next(node for node in nodes if node.name == "layer2_0_relu_1")},)
    net.graph.eliminate_dead_code()
    return TwoGraphs(net, net.graph).eval()


def state_of(module):
    tensors = [(name, t.clone(), t.requires_grad, id(t), t.data_ptr(), t.grad is None)
               for name, t in (*module.named_parameters(), *module.named_buffers())]
    hooks = [(dict(m._forward_hooks), dict(m._forward_pre_hooks), dict(m._backward_hooks)) for m in module.modules()]
    return tensors, hooks, [m.training for m in module.modules()]


def assert_same_state(module, before):
    (tensors, *rest), (expected, *others) = state_of(module), before
    assert rest == others
    for (name, found, *facts), (other, wanted, *stated) in zip(tensors, expected, strict=True):
        assert name == other and facts == stated and torch.equal(found, wanted), name


NETWORKS = {"plain": ResNet, "traced": lambda: fx.symbolic_trace(ResNet()), "extractor": extractor,
            "training": lambda: ResNet().train(), "double": lambda: ResNet().double()}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_codes_statistics_and_inversions_leave_a_network_as_it_was(name, dtype):
    net = NETWORKS[name]()
    net.conv1.register_forward_hook(lambda *_: None)
    net.conv1.weight.requires_grad_(False)
    before, x = state_of(net), images(2, dtype=dtype).requires_grad_()
    phi = CNN(net, "layer2.0.relu", **COLOURS)
    code = phi(x)
    code.square().sum().backward()
    expected = CNN(ResNet(), "layer2.0.relu", **COLOURS)(x.detach())
    torch.testing.assert_close(code, expected, rtol=1e-4, atol=1e-5)
    assert not any(part.training for part in phi.layer_stack.modules())
    statistics(phi, [x.detach()])
    for dtyped in (phi.double(), phi.float()):
        dtyped.train()
        dtyped(x.detach())
    assert_same_state(net, before)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_verbs_leave_a_network_as_it_was(name):
    net = NETWORKS[name]()
    before = state_of(net)
    phi = CNN(net, "layer2.0.relu", **COLOURS)
    target = phi(picture())
    found = invert(phi, target, steps=4)
    maximize(phi, channel=1, steps=3)
    caricature(phi, picture(), steps=3)
    assert_same_state(net, before)
    expected = invert(CNN(ResNet(), "layer2.0.relu", **COLOURS), target, steps=4)
    np.testing.assert_allclose(found.images, expected.images, atol=1e-3)


class Counting(nn.Module):
    """It counts its passes in a buffer, in place, and remembers its last map."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("passes", torch.zeros(()))
        self.last = None

    def forward(self, x):
        self.passes += 1
        self.last = self.conv(x)
        return torch.relu(self.last)


def test_buffers_that_a_pass_writes_are_not_shared():
    net = nn.Sequential(Counting())
    net(images())
    before = state_of(net)
    CNN(net, "0", **COLOURS)(images())
    assert_same_state(net, before)
    assert net[0].passes == 1


@pytest.mark.parametrize("wrap", [spectral_norm, parametrizations.spectral_norm, parametrizations.weight_norm])
def test_normalised_weights_are_computed_as_in_the_network(wrap):
    net = nn.Sequential(wrap(nn.Conv2d(3, 4, 3)), nn.ReLU()).train()
    net(images())
    before = state_of(net)
    code = CNN(net, "1", mean=0, std=1)(images())
    assert_same_state(net, before)
    torch.testing.assert_close(code, net.eval()(images()).detach())


def test_shared_modules_and_tied_weights_stay_shared():
    conv = nn.Conv2d(3, 3, 3, padding=1)
    net = nn.Sequential(conv, nn.ReLU(), conv, nn.Conv2d(3, 3, 3, padding=1)).eval()
    net[3].weight = conv.weight
    phi = CNN(net, "3", **COLOURS)
    model = phi.layer_stack.model
    assert model[0] is model[2] and model[3].weight is model[0].weight
    torch.testing.assert_close(phi(images()), net((images() - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / 0.2))


def test_networks_that_cannot_be_copied_say_what_to_do():
    lazy = nn.Sequential(nn.LazyConv2d(4, 3)).eval()
    with pytest.raises(ValueError, match=r"0\.weight of Sequential have no shape yet: run it once"):
        CNN(lazy, "0", **COLOURS)
    locked = nn.Sequential(nn.Conv2d(3, 4, 3)).eval()
    locked.lock = threading.Lock()
    with pytest.raises(ValueError, match=r"ModuleList cannot be copied.*lock.*__deepcopy__"):
        CNN(nn.ModuleList([locked]), "0.0", **COLOURS)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_compiled_modules_are_refused():
    with pytest.raises(ValueError, match="compiled by TorchScript, whose parts cannot be copied: give the module that"):
        CNN(torch.jit.trace(ResNet(), images()), "layer1", **COLOURS)


class Rest(nn.Module):
    """It gives something else than real numbers with a gradient."""

    def __init__(self, change):
        super().__init__()
        self.conv, self.end, self.change = nn.Conv2d(3, 4, 3), nn.Identity(), change
        self.eval()

    def forward(self, x):
        return self.end(self.change(self.conv(x)))


def test_layers_without_gradient_are_refused_when_it_is_needed():
    phi = CNN(Rest(lambda t: t.detach()), "end", **COLOURS)
    assert phi(images()).shape == (1, 4, 30, 30)
    with pytest.raises(ValueError, match=r"layer 'end' has no gradient: the network computes it under torch\.no_grad"):
        invert(phi, phi(picture()), steps=2)
    for change, dtype in ((torch.fft.fft2, "complex64"), (lambda t: t.argmax(1), "int64")):
        with pytest.raises(ValueError, match=f"layer 'end' gives values of type torch.{dtype}, but a code is real"):
            CNN(Rest(change), "end", **COLOURS)


def test_copies_made_in_inference_mode_have_gradients_later():
    with torch.inference_mode():
        phi = CNN(ResNet(), "layer1", **COLOURS)
        phi(images(dtype=torch.float64))
    for dtype in (torch.float32, torch.float64):
        x = images(dtype=dtype).requires_grad_()
        phi(x).sum().backward()
        assert x.grad.abs().max() > 0


class Stateful(nn.Module):
    """It keeps the size of the image on itself between two of its parts."""

    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 6, 5, 2), nn.ReLU()

    def forward(self, x):
        self.size = x.shape[-2:]
        x = self.conv(x)
        return self.act(nn.functional.interpolate(x, self.size))


def codes_in_threads(phi, inputs, workers=4):
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(phi, inputs))


@pytest.mark.parametrize("make", [
    lambda: CNN(tiny(), "fire3"), lambda: CNN(ResNet(), "layer2.0.bn2", **COLOURS),
    lambda: Layers(ResNet(), ["layer1", "relu", "layer2.0.conv1"], **COLOURS),
    lambda: CNN(nn.Sequential(Stateful()).eval(), "0.act", **COLOURS)], ids=["tiny", "resnet", "layers", "stateful"])
def test_codes_of_four_threads_are_those_of_one(make):
    phi = make()
    inputs = [images(1 + i % 2, side=32 + 8 * (i % 3), dtype=(torch.float32, torch.float64)[i % 4 == 3], seed=i)
              for i in range(36)]
    expected = [phi(x) for x in inputs]
    for round_of_codes in (codes_in_threads(phi, inputs) for _ in range(4)):
        for found, wanted in zip(round_of_codes, expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_inversions_in_threads_are_those_of_one():
    phi = CNN(ResNet(), "layer1.0.relu", **COLOURS)
    targets = [phi(images(seed=i)[0].permute(1, 2, 0).numpy()) for i in range(8)]
    expected = [invert(phi, target, steps=5).images for target in targets]
    for found, wanted in zip(codes_in_threads(lambda t: invert(phi, t, steps=5).images, targets), expected,
                             strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_descriptor_used_by_threads_can_be_copied_and_keeps_few_copies():
    stack = LayerStack(ResNet(), ["layer1"], preprocessing=CNN(ResNet(), "layer1", **COLOURS).layer_stack.preprocessing)
    codes_in_threads(stack, [images(seed=i) for i in range(40)])
    assert sum(map(len, stack._copies._idle.values())) <= 4
    again = pickle.loads(pickle.dumps(stack))
    assert torch.equal(again(images())["layer1"], stack(images())["layer1"])


def test_hooks_of_tools_on_the_copy_fire():
    phi, seen = CNN(ResNet(), "layer2", **COLOURS), Counter()
    phi.layer_stack.model.layer1.register_forward_hook(lambda *_: seen.update(["layer1"]))
    phi(images())
    assert seen["layer1"] == 1


@pytest.mark.parametrize(("make", "layer", "options"), [
    (ResNet, "layer1.0.conv2", COLOURS), (ResNet, "fc", COLOURS | {"call": -1}),
    (ResNet, "layer2", COLOURS | {"leak": 0.05}),
    (lambda: nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3)).eval(), "0", COLOURS)])
def test_a_network_is_pickled_once(make, layer, options):
    network = make()
    weights = sum(t.numel() * t.element_size() for t in network.state_dict().values())
    phi = CNN(network, layer, **options)
    for descriptor in (phi, phi.leaky(0.1)):
        saved = pickle.dumps(descriptor)
        structure = len(pickle.dumps(network)) - weights
        assert len(saved) < 1.1 * weights + 3 * structure
        again = pickle.loads(saved)
        assert torch.equal(again(images()), phi(images())) and again.to_config() == descriptor.to_config()
    other = pickle.loads(pickle.dumps(phi)).replace(layer=list(dict(network.named_children()))[-1], leak=0.0)
    assert other(images()).shape[0] == 1
