"""Weights from files, against networks computed in NumPy from the same arrays, and files that are refused."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.io import savemat
from scipy.signal import correlate2d
from torch import nn

from tests.tiny_networks import COLOURS, tiny
from unfeature.features.networks import weights as weights_module
from unfeature.features.networks.matconvnet import read_matconvnet
from unfeature.features.networks.weights import SOURCES, fill, load_network, read_tensors
from unfeature.features.networks.zoo import NETWORKS, network, randomise

RANDOM = np.random.default_rng(0)


def bank(*shape):
    return RANDOM.normal(size=shape).astype(np.float32) / 4


def conv(name, weight, bias, legacy=False, **fields):
    if legacy:
        return {"type": "conv", "name": name, "filters": weight, "biases": bias, **fields}
    cell = np.empty((1, 2), dtype=object)
    cell[0, 0], cell[0, 1] = weight, bias
    return {"name": name, "type": "conv", "weights": cell, **fields}


def layers_of(legacy):
    """A chain with each layer type, asymmetric pads, groups, rectangular strides, and one-filter banks."""
    generator = np.random.default_rng(1)

    def draw(*shape):
        return generator.normal(size=shape).astype(np.float32) / 3

    return [
        conv("conv1", draw(3, 2, 3, 6), draw(1, 6), legacy, stride=np.array([2.0, 1.0]), pad=np.array([0, 1, 1, 0.0])),
        {"name": "relu1", "type": "relu"},
        {"name": "norm1", "type": "normalize" if legacy else "lrn", "param": np.array([4, 1.5, 0.2, 0.75])},
        {"name": "pool1", "type": "pool", "method": "max", "pool": np.array([3.0, 3.0]), "stride": 2.0,
         "pad": np.array([0, 1, 0, 1.0])},
        conv("conv2", draw(3, 3, 3, 4), draw(4, 1), legacy, stride=1.0, pad=1.0),
        {"name": "relu2", "type": "relu", "leak": 0.1},
        {"name": "drop", "type": "dropout", "rate": 0.5},
        {"name": "pool2", "type": "pool", "method": "avg", "pool": np.array([2.0, 2.0]), "stride": np.array([1.0, 1.0]),
         "pad": np.array([1, 0, 0, 1.0])},
        {"name": "pool3", "type": "pool", "method": "max", "pool": np.array([2.0, 2.0]), "stride": 1.0,
         "pad": np.array([1, 0, 1, 1.0])},
        conv("fc", draw(2, 2, 4), draw(1, 1), legacy),
        {"name": "prob", "type": "softmax"},
    ]


def numpy_pad(x, pads, value):
    top, bottom, left, right = pads
    return np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=value)


def numpy_windows(x, size, stride, reduce):
    rows = range(0, x.shape[1] - size[0] + 1, stride[0])
    columns = range(0, x.shape[2] - size[1] + 1, stride[1])
    return np.stack([np.stack([reduce(x[:, i : i + size[0], j : j + size[1]], axis=(1, 2)) for j in columns], -1)
                     for i in rows], 1)


def numpy_spread(layer, field, default, count):
    return [int(v) for v in np.broadcast_to(np.asarray(layer.get(field, default), float).reshape(-1), count)]


def numpy_conv(x, layer):
    weight, bias = (layer["filters"], layer["biases"]) if "filters" in layer else layer["weights"][0]
    weight = weight.astype(float).reshape(*weight.shape, *(1,) * (4 - weight.ndim))
    stride = numpy_spread(layer, "stride", 1, 2)
    x = numpy_pad(x, numpy_spread(layer, "pad", 0, 4), 0.0)
    outputs, inputs = weight.shape[3], weight.shape[2]
    per_group = outputs * inputs // x.shape[0]
    maps = []
    for o in range(outputs):
        first = o // per_group * inputs
        maps.append(sum(correlate2d(x[first + c], weight[:, :, c, o], mode="valid") for c in range(inputs)))
    return np.stack(maps)[:, :: stride[0], :: stride[1]] + bias.reshape(-1, 1, 1)


def numpy_lrn(x, layer):
    n, kappa, alpha, beta = layer["param"]
    power = np.stack([np.square(x[max(0, c - (int(n) - 1) // 2) : c + int(np.ceil((n - 1) / 2)) + 1]).sum(0)
                      for c in range(len(x))])
    return x * (kappa + alpha * power) ** -beta


def numpy_pool(x, layer):
    fill_value = -np.inf if layer["method"] == "max" else np.nan
    reduce = np.max if layer["method"] == "max" else np.nanmean
    padded = numpy_pad(x, numpy_spread(layer, "pad", 0, 4), fill_value)
    return numpy_windows(padded, numpy_spread(layer, "pool", 1, 2), numpy_spread(layer, "stride", 1, 2), reduce)


def numpy_run(layers, x):
    outputs = {}
    for layer in layers:
        kind = layer["type"]
        if kind == "conv":
            x = numpy_conv(x, layer)
        elif kind == "relu":
            x = np.where(x > 0, x, layer.get("leak", 0) * x)
        elif kind in ("lrn", "normalize"):
            x = numpy_lrn(x, layer)
        elif kind == "pool":
            x = numpy_pool(x, layer)
        elif kind == "softmax":
            x = np.exp(x) / np.exp(x).sum(0)
        outputs[layer["name"]] = x
    return outputs


def cells(layers):
    cell = np.empty((1, len(layers)), dtype=object)
    cell[0, :] = layers
    return cell


def strings(names):
    cell = np.empty((1, len(names)), dtype=object)
    cell[0, :] = names
    return cell


def variables(layers, legacy=False, image=None, size=(11, 13, 3)):
    image = np.array([[[120.0, 110.0, 100.0]]]) if image is None else image
    normalization = {"averageImage": image, "imageSize": np.array(size, float), "interpolation": "bicubic"}
    classes = {"name": strings(["n02", "n01"]), "description": strings(["kit fox", "setter"])}
    if legacy:
        return {"layers": cells(layers), "normalization": normalization, "classes": classes}
    return {"layers": cells(layers), "meta": {"normalization": normalization, "classes": classes}}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_matconvnet_files_give_the_network_that_numpy_computes(tmp_path, legacy, wrapped):
    layers = layers_of(legacy)
    content = variables(layers, legacy)
    savemat(tmp_path / "net.mat", {"net": content} if wrapped else content)
    net = read_matconvnet(tmp_path / "net.mat").double()
    assert net.name == "net"
    assert net.preprocessing.mean == (120, 110, 100) and net.preprocessing.input_size == (11, 13)
    assert (net.preprocessing.order, net.preprocessing.scale) == ("RGB", 255)
    for height, width in ((11, 13), (16, 12)):
        x = np.random.default_rng(2).normal(size=(3, height, width))
        expected = numpy_run(layers, x)
        found = torch.from_numpy(x)[None]
        for name in net.layers:
            found = net.get_submodule(name)(found)
            np.testing.assert_allclose(found[0].detach().numpy(), expected[name], atol=1e-6, err_msg=name)


def test_both_generations_agree_at_the_size_of_the_network(tmp_path):
    outputs = []
    for pads in (np.array([0, 1, 0, 1.0]), 0.0):
        layers = layers_of(False)[:5]
        layers[3]["pad"] = pads
        savemat(tmp_path / "net.mat", variables(layers))
        outputs.append([read_matconvnet(tmp_path / "net.mat")(torch.ones(1, 3, side, 11)) for side in (11, 13)])
    assert torch.equal(outputs[0][0], outputs[1][0])
    assert [output[1].shape[2] for output in outputs] == [3, 2]


@pytest.mark.parametrize(("image", "mean"), [
    (np.arange(3 * 4 * 3.0).reshape(3, 4, 3), (16.5, 17.5, 18.5)), (np.zeros((0, 0)), (0, 0, 0)),
    (np.array([[1.0], [2.0], [3.0]]), (1, 2, 3))])
def test_the_mean_image_becomes_its_mean_colour(tmp_path, image, mean):
    savemat(tmp_path / "net.mat", variables(layers_of(False), image=image))
    assert read_matconvnet(tmp_path / "net.mat").preprocessing.mean == pytest.approx(mean)


def spoil(**changes):
    layers = layers_of(False)
    for index, fields in changes.items():
        layers[int(index[1:])] |= fields
    return variables(layers)


@pytest.mark.parametrize(("content", "message"), [
    ({"x": 1.0}, "holds no SimpleNN network.*variables: x"),
    ({"layers": cells([]), "vars": 1.0, "params": 1.0}, "no 'vars'"),
    (spoil(_1={"type": "bnorm"}), "layer 2, 'relu1', has the type 'bnorm'; known are conv"),
    (spoil(_1={"name": "conv1"}), "two layers are called 'conv1'"),
    (spoil(_4=conv("conv2", bank(3, 3, 4, 4), bank(4))), "'conv2'.*take 4 channels, but 6 come in"),
    (spoil(_4=conv("conv2", bank(3, 3, 3, 4), bank(5))), "4 filters, but 5 biases"),
    (spoil(_0=conv("conv1", np.full((3, 2, 3, 6), np.nan, np.float32), bank(6))), "filters have 108 values"),
    (spoil(_0={"pad": np.ones(3)}), "pad has 3 numbers"),
    (spoil(_3={"method": "median"}), "'median'"),
    (spoil(_3={"pad": 3.0}), "padding .* reaches the size of the window"),
    (variables(layers_of(False), image=np.ones((4, 4, 2))), r"mean image has shape \(4, 4, 2\)"),
])
def test_matconvnet_files_that_cannot_be_a_network_are_refused(tmp_path, content, message):
    savemat(tmp_path / "net.mat", content)
    with pytest.raises(ValueError, match=message):
        read_matconvnet(tmp_path / "net.mat")


def test_truncated_and_foreign_files_are_refused(tmp_path):
    savemat(tmp_path / "net.mat", variables(layers_of(False)))
    whole = (tmp_path / "net.mat").read_bytes()
    for length in (0, 60, 130, len(whole) // 3, len(whole) - 9):
        (tmp_path / "cut.mat").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut\.mat"):
            read_matconvnet(tmp_path / "cut.mat")
    (tmp_path / "cut.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400))
    with pytest.raises(ValueError, match="save it with -v7"):
        read_matconvnet(tmp_path / "cut.mat")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mat"):
        read_matconvnet(tmp_path / "nowhere.mat")


@pytest.fixture
def known_tiny(monkeypatch):
    """The small network under a published network's name, so that the loader knows it."""
    monkeypatch.setattr(weights_module, "network", lambda name: tiny().to("meta"))
    monkeypatch.setitem(SOURCES, "tiny", "nowhere")


def torchvision_state():
    """The small network's tensors under torchvision's names, a fully connected layer as a matrix."""
    paths = {name: path for path, name in tiny().paths.items()}
    state = {}
    for key, tensor in tiny().state_dict().items():
        layer, rest = key.split(".", 1)
        state[f"{paths.get(layer, layer)}.{rest}"] = tensor.flatten(1) if key == "fc4.weight" else tensor
    return state


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_state_dicts_are_loaded_under_either_name(tmp_path, known_tiny, suffix):
    x = torch.rand(1, 3, 25, 25)
    halves = {k: v.half() for k, v in torchvision_state().items()}
    for state in (torchvision_state(), dict(tiny().state_dict()), halves):
        path = tmp_path / f"weights{suffix}"
        if suffix == ".safetensors":
            save_file(state, path)
        else:
            torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
        net = load_network("tiny", path)
        assert not net.training and all(p.dtype == torch.float32 for p in net.parameters())
        torch.testing.assert_close(net(x.clone()), tiny()(x.clone()), atol=1e-3, rtol=1e-2)
        assert net.preprocessing == COLOURS


def test_preprocessing_is_read_beside_the_weights(tmp_path, known_tiny):
    save_file(torchvision_state(), tmp_path / "w.safetensors")
    stated = {"channel_order": "RGB", "value_range": [0, 2], "scale": 0.5, "mean": [1, 2, 3], "std": [4, 5, 6],
              "input_size": [3, 30, 31]}
    (tmp_path / "w.json").write_text(json.dumps({"preprocessing": stated}))
    found = load_network("tiny", tmp_path / "w.safetensors").preprocessing
    assert (found.order, found.scale, found.mean, found.std) == ("RGB", 1.0, (1, 2, 3), (4, 5, 6))
    assert found.input_size == (30, 31)
    (tmp_path / "w.json").write_text("{")
    with pytest.raises(ValueError, match=r"w\.json.*not JSON"):
        load_network("tiny", tmp_path / "w.safetensors")


def test_tensors_that_do_not_fit_are_named(known_tiny):
    state = dict(tiny().state_dict())
    state["extra.weight"] = torch.zeros(2)
    state["conv1.bias"] = torch.full((6,), torch.nan)
    state["conv2.weight"] = torch.zeros(8, 3, 5, 5)
    state["fire3.squeeze.bias"] = torch.zeros(4, dtype=torch.int64)
    del state["fc4.bias"]
    with pytest.raises(ValueError) as error:
        fill(tiny(), state, "w.pth")
    for words in ("1 missing: fc4.bias", "1 unknown: extra.weight", "1 not finite: conv1.bias",
                  "conv2.weight (8, 3, 5, 5) instead of (8, 3, 3, 3)", "1 not of floating point: fire3.squeeze.bias"):
        assert words in str(error.value)


def test_a_matconvnet_file_of_another_network_is_refused(tmp_path):
    savemat(tmp_path / "net.mat", variables(layers_of(False)))
    with pytest.raises(ValueError, match=r"do not fit vgg-f; 14 missing: conv1.weight.*of another shape: conv2.weight"):
        load_network("vgg-f", tmp_path / "net.mat")


def test_missing_weights_say_where_there_are_some(tmp_path):
    assert set(SOURCES) == set(NETWORKS)
    with pytest.raises(FileNotFoundError, match=r"give weights=.*imagenet-vgg-m\.mat from https://www\.vlfeat\.org"):
        load_network("vgg-m")
    with pytest.raises(FileNotFoundError, match=r"no file .*w\.pth.*vgg16-397923af\.pth"):
        load_network("vgg16", tmp_path / "w.pth")


class Payload:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def test_pickles_and_other_files_are_refused(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"a": Payload()}, path)
    with pytest.raises(ValueError, match="pickle can run any code"):
        read_tensors(path)
    path.write_bytes(pickle.dumps({"a": Payload()}))
    with pytest.raises(ValueError, match=r"w\.pth"):
        read_tensors(path)
    torch.save(nn.Conv2d(1, 1, 1), path)
    with pytest.raises(ValueError, match="state_dict"):
        read_tensors(path)
    torch.save([torch.zeros(2)], path)
    with pytest.raises(ValueError, match="no tensors by name"):
        read_tensors(path)
    with pytest.raises(ValueError, match=r"read from \.mat, \.safetensors"):
        read_tensors(tmp_path / "w.pkl")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_tensor_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    state = {"a": torch.rand(200)}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    whole = path.read_bytes()
    for length in (0, 7, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=rf"w\{suffix}"):
            read_tensors(path)


def test_torchvision_names_fill_the_published_network():
    net = network("torchvision-squeezenet1_0")
    source = randomise(network("squeezenet1_0"), seed=0)
    paths = {name: path for path, name in net.paths.items()}
    state = {}
    for key, tensor in source.state_dict().items():
        layer, rest = key.split(".", 1)
        state[f"{paths[layer]}.{rest}"] = tensor
    assert {"features.0.weight", "features.12.expand3x3.bias", "classifier.1.weight"} <= set(state)
    fill(net, state, "w.pth")
    assert torch.equal(net.get_submodule("fire9.squeeze").weight, source.get_submodule("fire9.squeeze").weight)
