"""The commands on networks: statistics, maximize, caricature, invert."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.torch import save_file

from unfeature.cli.commands import cli
from unfeature.features.networks.zoo import network, randomise
from unfeature.io.images import bundled, resize_longer, write_png


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Random weights of SqueezeNet, and two photographs."""
    folder = tmp_path_factory.mktemp("networks")
    model = network("squeezenet1_0")
    randomise(model, seed=0)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()},
              str(folder / "weights.safetensors"))
    for name in ("astronaut", "coffee"):
        write_png(folder / "photographs" / f"{name}.png", resize_longer(bundled(name), 64))
    return folder


def call(folder, *arguments):
    options = ("--net", "squeezenet1_0", "--weights", folder / "weights.safetensors")
    return CliRunner().invoke(cli, [str(a) for a in (*arguments, *options)])


def test_statistics_then_maximize(folder):
    layer = ("--layer", "fire2")
    found = call(folder, "learn", "statistics", folder / "photographs", "-o", folder / "s.npz", *layer)
    assert found.exit_code == 0, found.output
    done = call(folder, "maximize", "--neuron", "3", "--statistics", folder / "s.npz", "--leak", 0.05, "--steps", 3,
                "-o", folder / "max", *layer)
    assert done.exit_code == 0, done.output
    assert "response" in done.output and (folder / "max" / "preimage.png").exists()
    assert np.isfinite(np.load(folder / "max" / "image.npy")).all()


def test_caricature_and_invert(folder):
    photograph = folder / "photographs" / "astronaut.png"
    for command in ("caricature", "invert"):
        done = call(folder, command, photograph, *(("--feature", "cnn") if command == "invert" else ()),
                    "--layer", "conv1", "--steps", 3, "--size", 48, "-o", folder / command)
        assert done.exit_code == 0, done.output
        assert np.load(folder / command / "image.npy").shape[-1] == 3
    done = call(folder, "caricature", photograph, "--layer", "conv1", "--steps", 2, "--size", 48, "--starts", 2,
                "--memory", "1GB", "-o", folder / "two")
    assert done.exit_code == 0, done.output
    assert len(np.load(folder / "two" / "image.npy")) == len(list((folder / "two").glob("preimage-*.png"))) == 2


def test_mistakes_are_named(folder):
    result = call(folder, "maximize", "--channel", "0", "--layer", "fire22", "-o", folder / "x")
    assert result.exit_code != 0 and "fire2" in str(result.exception) + result.output
    result = call(folder, "maximize", "--channel", "a", "--layer", "fire2", "-o", folder / "x")
    assert "separate them by commas" in result.output


def test_options_of_layouts_are_checked(folder):
    command = "features", folder / "photographs" / "astronaut.png", "--feature", "cnn", "--layer", "fire2", "-o"
    done = call(folder, *command, folder / "c.npy", "--call", -1, "--layout", "channels_first")
    assert done.exit_code == 0, done.output
    assert np.load(folder / "c.npy").shape[2] == 128
    for option, value, message in (("layout", "tokens", "give layout='channels_last'"),
                                   ("layout", "rows", "class_token"), ("call", 1, "there is no call 1: the forward"),
                                   ("feature-output", "x", "gives one tensor: leave out output='x'")):
        done = call(folder, *command, folder / "d.npy", f"--{option}", value)
        assert done.exit_code in (1, 2) and message in str(done.exception) + done.output
