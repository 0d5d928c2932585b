"""Layers whose channels come last, tokens, several outputs and several calls: what a code takes from them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from tests.tiny_networks import Block, ResNet, Swin, ViT, convnext, randomise, tiny
from unfeature.features.base import Representation
from unfeature.features.networks.cnn import CNN, Layers
from unfeature.features.networks.layer_stack import LayerStack
from unfeature.inversion.invert import invert
from unfeature.inversion.maximize import maximize

COLOURS = {"mean": 0, "std": 1, "input_size": (64, 96)}
SIZE = COLOURS["input_size"]


def images(count=1, height=64, width=96, seed=0):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def output(network, layer, x):
    """What a layer returns."""
    found = []
    handle = network.get_submodule(layer).register_forward_hook(lambda _, __, given: found.append(given))
    with torch.no_grad():
        network(x)
    handle.remove()
    return found[0]


# network, layer, the code's axes in the output, tokens before those of the patches
MAPS = {
    "swin": (Swin, {"patch_embed": False, "layers.0": True, "layers.0.0": True, "layers.0.0.norm1": True,
                    "layers.0.0.mlp": True, "layers.1": True, "layers.1.0": True, "norm": True}),
    "convnext": (convnext, {"0": False, "1": False, "2": False, "2.conv_dw": False, "2.norm": True, "2.mlp": True,
                            "2.mlp.0": True, "3": False, "4": False, "4.mlp.2": True}),
}
TOKENS = {
    "class-token": (ViT, 1), "registers": (lambda: ViT(registers=4), 5), "patches-alone": (lambda: ViT(False), 0),
    "unstated": (lambda: ViT(states_prefix=False), 1), "unstated-alone": (lambda: ViT(False, states_prefix=False), 0),
    "unstated-registers": (lambda: ViT(registers=3, states_prefix=False), 4),
}


@pytest.mark.parametrize("name", MAPS)
def test_maps_have_their_channels_first_or_last(name):
    make, layers = MAPS[name]
    network, x = make(), images(2)
    for layer, last in layers.items():
        found = output(network, layer, x)
        phi = CNN(network, layer, **COLOURS)
        code = phi(x)
        torch.testing.assert_close(code, found.permute(0, 3, 1, 2) if last else found)
        assert code.is_contiguous() and phi.output_shape(*SIZE) == code.shape[1:]
        assert phi.to_config()["layout"] == ("channels_last" if last else "channels_first")


@pytest.mark.parametrize("name", TOKENS)
@pytest.mark.parametrize("layer", ["blocks.0", "blocks.1.attn", "blocks.0.attn.qkv", "blocks.1.mlp.0", "norm"])
def test_tokens_are_the_grid_of_patches(name, layer):
    make, prefix = TOKENS[name]
    network = make()
    told = {"layout": "tokens"} if name == "unstated-registers" else {}
    phi = CNN(network, layer, **COLOURS, **told)
    for height, width in (SIZE, (48, 40)):
        x = images(2, height, width)
        patches = output(network, layer, x)[:, prefix:]
        code = phi(x)
        assert code.shape == (2, patches.shape[2], height // 8, width // 8)
        for row, column in ((0, 0), (0, 3), (4, 1)):
            torch.testing.assert_close(code[:, :, row, column], patches[:, row * width // 8 + column])
    assert phi.to_config()["layout"] == "tokens"


class SequenceFirst(nn.Module):
    """Blocks on (T, N, D), as in torch's own transformers and OpenAI's CLIP."""

    def __init__(self):
        super().__init__()
        self.patch_embed, self.token = nn.Conv2d(3, 12, 8, 8), nn.Parameter(torch.zeros(1, 1, 12))
        self.block, self.norm = nn.TransformerEncoderLayer(12, 2, 16, 0.0), nn.LayerNorm(12)
        randomise(self, seed=9)
        self.eval()

    def forward(self, x):
        patches = self.patch_embed(x).flatten(2).permute(2, 0, 1)
        x = self.block(torch.cat([self.token.expand(-1, x.shape[0], -1), patches]))
        return self.norm(x.transpose(0, 1))


@pytest.mark.parametrize("batch", [1, 2, 97])
def test_sequences_may_come_first(batch):
    network, x = SequenceFirst(), images(batch)
    expected = output(network, "block", x).transpose(0, 1)
    for layout, wanted in (("tokens", expected[:, 1:].mT.unflatten(2, (8, 12))), ("class_token", expected[:, 0])):
        phi = CNN(network, "block", **COLOURS, layout=None if layout == "tokens" else layout)
        torch.testing.assert_close(phi(x), wanted)
        assert phi.to_config()["layout"] == layout
        stack = LayerStack(network, ["norm", "block"], layout=layout, preprocessing=phi.layer_stack.preprocessing)
        torch.testing.assert_close(stack(x)["block"], wanted)


def test_the_class_token_is_a_code_of_its_own():
    network, x = ViT(registers=2), images(2)
    phi = CNN(network, "norm", **COLOURS, layout="class_token")
    torch.testing.assert_close(phi(x), output(network, "norm", x)[:, 0])
    assert phi.output_shape(*SIZE) == (12,) and not phi.has_positions
    assert "layout='class_token'" in repr(phi)
    again = Representation.from_config(phi.to_config(), network=network)
    assert torch.equal(again(x), phi(x))
    patches = CNN(network, "norm", **COLOURS)
    assert patches.to_config() != phi.to_config()
    with pytest.raises(ValueError, match="which are all of patches: it has no class token; give layout='tokens'"):
        CNN(ViT(False), "norm", **COLOURS, layout="class_token")


@pytest.mark.parametrize(("make", "layer", "options"), [
    (ViT, "blocks.1", {}), (lambda: ViT(registers=4), "norm", {"layout": "class_token"}), (ViT, "head", {}),
    (Swin, "layers.1", {}), (convnext, "2.norm", {})], ids=["tokens", "class-token", "head", "swin", "convnext"])
def test_they_are_inverted_and_maximized(make, layer, options, photograph):
    phi = CNN(make(), layer, **COLOURS, **options)
    picture = photograph("coffee", 96, grey=False)
    code = phi(picture)
    few, many = (invert(phi, code, size=SIZE, steps=steps) for steps in (2, 20))
    assert many.images.shape == (1, *SIZE, 3)
    assert float(many.errors[0]) < 0.8 * float(few.errors[0])
    weak, strong = (maximize(phi, channel=3, size=SIZE, steps=steps).provenance["responses"][0] for steps in (1, 8))
    assert strong > weak
    channels = code.shape[-1]
    with pytest.raises(ValueError, match=f"no channel {channels}"):
        maximize(phi, channel=channels, size=SIZE, steps=1)


@dataclass
class ModelOutput(OrderedDict):
    """As Hugging Face's: attributes, and a dictionary of those that are not None."""

    last_hidden_state: torch.Tensor
    pooler_output: torch.Tensor
    hidden_states: tuple | None = None

    def __post_init__(self):
        self.update((name, value) for name, value in vars(self).items() if value is not None)


class Encoder(nn.Module):
    """Tokens of patches and their mean, packed as asked."""

    def __init__(self, pack):
        super().__init__()
        vit = ViT(False)
        self.patch_embed, self.blocks, self.pack = vit.patch_embed, vit.blocks, pack

    def forward(self, x):
        tokens = self.blocks(self.patch_embed(x).flatten(2).mT)
        return self.pack(tokens, tokens.mean(1))


def encoder(pack):
    return nn.Sequential(Encoder(pack)).eval()


PACKED = {
    "single": (lambda t, p: (t,), None), "tuple": (lambda t, p: (p, t), 1), "from-the-end": (lambda t, p: (p, t), -1),
    "list": (lambda t, p: [t, p, None], 0), "text": (lambda t, p: (p, t), "1"), "gap": (lambda t, p: (None, p, t), 2),
    "dict": (lambda t, p: {"tokens": t, "pooled": p}, "tokens"), "nested": (lambda t, p: {"out": (t,)}, None),
    "numbered": (lambda t, p: {1: t, 0: p}, 1), "hugging-face": (ModelOutput, "last_hidden_state"),
    "place": (ModelOutput, 0), "states": (lambda t, p: ModelOutput(p, p, (p, t)), "hidden_states.1"),
    "dots": (lambda t, p: {"layer.0": t, "layer.1": p}, "layer.0"),
}


@pytest.mark.parametrize("name", PACKED)
def test_one_of_several_outputs_is_the_code(name):
    pack, key = PACKED[name]
    x = images(2)
    tokens = Encoder(lambda t, p: t).eval()(x).detach()
    phi = CNN(encoder(pack), "0", **COLOURS, output=key)
    torch.testing.assert_close(phi(x).flatten(2).mT, tokens)
    again = Representation.from_config(phi.to_config(), network=encoder(pack))
    assert torch.equal(again(x), phi(x))


def test_the_mean_of_tokens_is_a_code_without_positions():
    phi = CNN(encoder(ModelOutput), "0", **COLOURS, output="pooler_output")
    assert phi(images()).shape == (1, 12) and not phi.has_positions


def test_an_output_is_inverted_and_maximized(photograph):
    phi = CNN(encoder(ModelOutput), "0", **COLOURS, output="last_hidden_state")
    picture = photograph("coffee", 96, grey=False)
    few, many = (float(invert(phi, phi(picture), steps=steps).errors[0]) for steps in (2, 20))
    assert many < 0.8 * few
    weak, strong = (maximize(phi, channel=3, size=SIZE, steps=steps).provenance["responses"][0] for steps in (1, 8))
    assert strong > weak


class Repeating(nn.Module):
    """One convolution that runs three times, and one that never runs."""

    def __init__(self):
        super().__init__()
        self.conv, self.idle = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
        randomise(self, seed=6)
        self.eval()

    def forward(self, x):
        return self.conv(self.conv(self.conv(x).relu_()).relu_())


@pytest.mark.parametrize(("call", "times"), [(0, 1), (1, 2), (2, 3), (-1, 3), (-2, 2), (-3, 1)])
def test_one_of_several_calls_is_the_code(call, times):
    network, x = Repeating(), images(2)
    expected = x
    for done in range(times):
        expected = network.conv(expected.relu() if done else expected)
    phi = CNN(network, "conv", **COLOURS, call=call)
    torch.testing.assert_close(phi(x), expected.detach())
    assert (phi.receptive_field, phi.stride) == (1 + 2 * times, 1)
    again = Representation.from_config(phi.to_config(), network=network)
    assert torch.equal(again(x), phi(x))


def test_the_relu_of_a_residual_block_runs_twice():
    network, x = ResNet(), images()
    block, before = network.layer1[0], output(network, "maxpool", x)
    inner = block.bn1(block.conv1(before)).relu()
    first, last = (CNN(network, "layer1.0.relu", **COLOURS, call=call)(x) for call in (0, -1))
    torch.testing.assert_close(first, inner.detach())
    torch.testing.assert_close(last, block(before).detach())
    assert isinstance(block, Block)


class Recurrent(nn.Module):
    """Returns different tensors in its two calls."""

    def __init__(self):
        super().__init__()
        self.part = Encoder(lambda t, p: {"tokens": t, "pooled": p})
        self.eval()

    def forward(self, x):
        self.part(x)
        return self.part(x.flip(2))


def test_layout_output_and_call_hold_together_and_for_several_layers():
    network, x = Recurrent(), images()
    options = {"output": "tokens", "call": 1, "layout": "tokens"}
    phi = CNN(network, "part", **COLOURS, **options)
    expected = network.part(x.flip(2))["tokens"].detach()
    torch.testing.assert_close(phi(x).flatten(2).mT, expected)
    both = Layers(ViT(registers=4), ["blocks.0", "norm"], **COLOURS, layout="class_token")
    stack = LayerStack(ViT(registers=4), ["blocks.0", "norm"], layout="class_token",
                       preprocessing=both.layer_stack.preprocessing)
    assert both(x).shape == (1, 24)
    assert torch.equal(both(x), torch.cat(list(stack(x).values()), 1))
    mixed = Layers(ViT(), ["blocks.0", "norm", "head"], **COLOURS)
    parts = mixed.split(mixed(x), *SIZE)
    assert [tuple(part.shape[1:]) for part in parts.values()] == [(12, 8, 12), (12, 8, 12), (5,)]
    assert mixed.to_config()["layout"] == "tokens"


def test_codes_of_networks_stay_on_numpy_and_in_other_precisions():
    phi = CNN(Swin(), "layers.1", **COLOURS)
    picture = images()[0].permute(1, 2, 0).numpy()
    assert phi(picture).shape == (8, 12, 12)
    x = images()
    torch.testing.assert_close(phi(x.double()).float(), phi(x), rtol=1e-4, atol=1e-4)
    grad = x.clone().requires_grad_()
    phi(grad).square().sum().backward()
    assert grad.grad.abs().amax((0, 1)).min() > 0


class Odd(nn.Module):
    """A square map of as many channels as rows: nothing tells the axes apart but another image."""

    def __init__(self, last):
        super().__init__()
        self.last, self.inner = last, nn.Identity()

    def forward(self, x):
        x = nn.functional.avg_pool2d(x.repeat(1, 2, 1, 1), 8)
        return self.inner(x.permute(0, 2, 3, 1) if self.last else x)


@pytest.mark.parametrize("last", [False, True])
def test_another_size_tells_the_axes_apart(last):
    phi = CNN(Odd(last).eval(), "inner", mean=0, std=1, input_size=(48, 48))
    x = images(1, 48, 48)
    torch.testing.assert_close(phi(x), nn.functional.avg_pool2d(x, 8).repeat(1, 2, 1, 1))
    assert phi.to_config()["layout"] == ("channels_last" if last else "channels_first")


class Between(nn.Module):
    """The channels lie between rows and columns."""

    def __init__(self):
        super().__init__()
        self.conv, self.inner = nn.Conv2d(3, 7, 8, 8), nn.Identity()

    def forward(self, x):
        return self.inner(self.conv(x).transpose(1, 2))


def test_rows_are_not_taken_for_channels():
    with pytest.raises(ValueError, match=r"gives shape \(1, 8, 7, 12\), whose channels are not recognised"):
        CNN(Between().eval(), "inner", **COLOURS)


class Fixed(Odd):
    """It takes images of one size."""

    def forward(self, x):
        if x.shape[2:] != (48, 48):
            raise RuntimeError("48 × 48, please")
        return super().forward(x)


def fixed(**options):
    return CNN(Fixed(True).eval(), "inner", mean=0, std=1, input_size=(48, 48), **options)


def test_a_layout_that_is_not_recognised_is_asked_for():
    with pytest.raises(ValueError, match=r"'inner' gives shape \(1, 6, 6, 6\), whose channels are not recognised: give "
                                         r"layout='channels_last' for \(N, h, w, D\), layout='channels_first'"):
        fixed()
    x = images(1, 48, 48)
    expected = nn.functional.avg_pool2d(x, 8).repeat(1, 2, 1, 1)
    torch.testing.assert_close(fixed(layout="channels_last")(x), expected)


def test_attention_in_windows_is_no_code():
    with pytest.raises(ValueError, match=r"'layers.0.0.attn' gives shape \(24, 16, 6\) for 1 images, but a code has "
                                         "one row for each: choose a layer around it"):
        CNN(Swin(), "layers.0.0.attn", **COLOURS)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: CNN(ViT(), "norm", **COLOURS, layout="token"), "unknown layout 'token'.* did you mean 'tokens'"),
    (lambda: CNN(ViT(), "norm", **COLOURS, layout="channels_last"),
     r"gives shape \(1, 97, 12\), which layout='channels_last' does not describe: give layout='tokens' for the"),
    (lambda: CNN(Swin(), "norm", **COLOURS, layout="tokens"),
     r"gives shape \(1, 8, 12, 12\), which layout='tokens' does not describe: give layout='channels_last'"),
    (lambda: CNN(ViT(), "norm", **COLOURS, output="x"), "'norm' gives one tensor: leave out output='x'"),
    (lambda: CNN(encoder(ModelOutput), "0", **COLOURS),
     r"gives 2 outputs: 'last_hidden_state' \(1, 96, 12\), 'pooler_output' \(1, 12\)\. Give output=, one of their "
     "names, such as output='last_hidden_state'"),
    (lambda: CNN(encoder(lambda t, p: (t, (p, p))), "0", **COLOURS, output=1),
     r"gives 2 outputs: '1\.0' \(1, 12\), '1\.1' \(1, 12\)\. Give output=.*such as output='1\.0'"),
    (lambda: CNN(encoder(ModelOutput), "0", **COLOURS, output="pooled"),
     r"has no output 'pooled': one of 'last_hidden_state' \(1, 96, 12\), 'pooler_output'"),
    (lambda: CNN(encoder(lambda t, p: (t, p)), "0", **COLOURS, output=2), "has no output 2: one of '0'"),
    (lambda: CNN(encoder(lambda t, p: None), "0", **COLOURS), "gives a NoneType without tensors"),
    (lambda: CNN(encoder(lambda t, p: t[:, 5:]), "0", **COLOURS, layout="tokens"),
     "gives 91 tokens for a 64×96 image, which are no grid of patches"),
    (lambda: CNN(Repeating(), "conv", **COLOURS, call=3), "no call 3: the forward pass of Repeating runs conv 3 times"),
    (lambda: CNN(Repeating(), "conv", **COLOURS, call=-4), "no call -4: .* runs conv 3 times"),
    (lambda: CNN(Repeating(), "conv", **COLOURS, call="1"), "call is a whole number, 0 for the first call or -1"),
    (lambda: CNN(Repeating(), "idle", **COLOURS, call=1), "does not run the layers idle"),
    (lambda: CNN(tiny(), "fire3", layout="tokens"), "does not describe: give layout='channels_last'"),
])
def test_wrong_options_say_which_are_right(make, message):
    with pytest.raises(ValueError, match=message):
        make()
