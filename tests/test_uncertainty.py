"""Maps of the standard deviation: of several starts, and as a decoder's second network predicts it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import unfeature as uf
from tests.tiny_networks import tiny
from unfeature.baselines.decoder import Decoder
from unfeature.baselines.stream import Stream
from unfeature.baselines.uncertainty import learn_uncertainty, ratio_of
from unfeature.benchmarks.measures import within_two
from unfeature.cli import main
from unfeature.features.gradients.hog import HOG
from unfeature.features.networks.cnn import CNN
from unfeature.inversion import uncertainty as uncertainties
from unfeature.inversion.decoder import WEIGHTS, pretrained
from unfeature.inversion.result import WHITE
from unfeature.inversion.uncertainty import Uncertainty, uncertainty_of
from unfeature.io.files import load_arrays
from unfeature.io.images import bundled_path, write_png

SHIPPED = sorted((WEIGHTS / "uncertainty").glob("*.safetensors"))
SMALL = {"crop": 48, "smallest": 64, "largest": 96, "batch": 4}


@pytest.fixture(scope="module")
def phi():
    return HOG(cell_size=6)


@pytest.fixture(scope="module")
def images(photograph):
    return [photograph(name, 96, True) for name in ("camera", "chelsea", "coffee", "rocket")]


@pytest.fixture(scope="module")
def model(images, phi, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "decoder.safetensors"
    Decoder.learn(images, phi, steps=30, every=30, width=16, **SMALL).save(path)
    return Decoder.load(path).model


@pytest.fixture(scope="module")
def learned(model, images, phi):
    return learn_uncertainty(images, phi, decoder=model, steps=40, **SMALL)


def test_several_starts_tell_the_standard_deviation(phi, images, tmp_path):
    codes = [phi(image[:54, :54]) for image in images[:2]]
    result = uf.invert(phi, codes, preset="fast", steps=6, starts=3)
    assert result.uncertainties.shape == (6, 54, 54) and result.uncertainties.dtype == np.float32
    for first in (0, 3):
        expected = result.images[first : first + 3].std(0, ddof=1)
        for row in range(first, first + 3):
            np.testing.assert_allclose(result.uncertainties[row], expected, atol=1e-6)
    result.save(tmp_path)
    assert {path.name for path in tmp_path.glob("uncertainty*")} == {
        "uncertainty.npy", "uncertainty-00.png", "uncertainty-01.png"}
    shown = uf.read_image(tmp_path / "uncertainty-01.png")
    np.testing.assert_allclose(shown, np.clip(result.uncertainties[3] / WHITE, 0, 1), atol=0.003)
    assert uf.Result.load(tmp_path) == result
    np.testing.assert_array_equal(result[4].uncertainty, result.uncertainties[4])
    one = uf.invert(phi, codes[0], preset="fast", steps=2)
    assert one.uncertainty is None
    one.save(tmp_path)
    assert not list(tmp_path.glob("uncertainty*"))


def test_the_share_within_two_deviations(images):
    photograph = images[0]
    image = 0.5 + 0.2 * (photograph - photograph.mean()) / photograph.std()
    image[::2] += np.where(np.arange(image.shape[1]) % 2, 0.05, -0.05)
    result = uf.Result.from_images(HOG(), HOG()(photograph)[None], image[None])
    assert within_two(result, photograph) is None
    for sigma, share in ((0.02, 0.5), (0.03, 1.0), (0.0, 0.0)):
        known = replace(result, uncertainties=np.full((1, *image.shape), sigma, np.float32))
        assert within_two(known, photograph) == pytest.approx(share, abs=0.02)


def test_of_colours_it_is_the_root_mean_square(photograph):
    phi = CNN(tiny(), "conv1")
    result = uf.invert(phi, phi(photograph(side=25, grey=False)), preset="fast", steps=4, starts=2)
    expected = np.sqrt(result.images.var(0, ddof=1).mean(-1))
    np.testing.assert_allclose(result.uncertainty, expected, atol=1e-6)


def test_a_damaged_map_is_refused(phi, images, tmp_path):
    result = uf.invert(phi, phi(images[0]), size=images[0].shape, preset="fast", steps=2, starts=2)
    result.save(tmp_path)
    np.save(tmp_path / "uncertainty.npy", np.zeros_like(result.uncertainties))
    with pytest.raises(ValueError, match=r"uncertainty\.npy belongs to another result"):
        uf.Result.load(tmp_path)


def test_what_is_learned_fits_the_residual(learned, model, images, phi, tmp_path):
    x = torch.from_numpy(images[0])[None, None]
    ratios = ratio_of(learned, model, phi, x, phi(x))
    assert ratios.shape == x.shape and learned.decoder == model.digest and len(model.digest) == 16
    held_out = [ratio_of(learned, model, phi, x, phi(x)).square().mean() for x in (
        torch.from_numpy(image)[None, None] for image in images)]
    assert min(abs(float(found) - 1) for found in held_out) < 0.01  # of the one that was held out
    std = learned.std(model, phi, phi(x), x.shape[2:])
    assert std.shape == x.shape and 0 < std.min() < std.max() < 1
    learned.save(tmp_path / "u.safetensors")
    again = Uncertainty.load(tmp_path / "u.safetensors")
    assert torch.equal(again.std(model, phi, phi(x), x.shape[2:]), std) and again.facts == learned.facts
    with pytest.raises(ValueError, match="cell_size 6 instead of 7"):
        learn_uncertainty(images, HOG(cell_size=7), decoder=model, steps=1, **SMALL)
    with pytest.raises(ValueError, match="no decoder ships"):
        learn_uncertainty(images, HOG(cell_size=7), steps=1, **SMALL)


def test_files_that_hold_something_else_are_refused(learned, tmp_path):
    path = tmp_path / "bad.safetensors"
    learned.save(path)
    with safe_open(path, "numpy") as opened:
        header = json.loads(opened.metadata()["unfeature"])
    tensors = load_file(path)
    for name, bad in (("kind", "decoder model"), ("version", 99), ("width", -1), ("cell", "x"), ("facts", None)):
        save_file(tensors, path, {"unfeature": json.dumps(header | {name: bad})})
        with pytest.raises(ValueError, match=r"bad\.safetensors"):
            Uncertainty.load(path)
    for bad in (tensors["second.weight"][:-1], np.full_like(tensors["second.weight"], np.nan)):
        save_file(tensors | {"second.weight": bad}, path, {"unfeature": json.dumps(header)})
        with pytest.raises(ValueError, match=r"bad\.safetensors"):
            Uncertainty.load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a whole uncertainty model"):
        Uncertainty.load(path)


def test_a_decoder_tells_its_uncertainty(learned, model, images, phi, monkeypatch):
    code = phi(images[1])
    options = {"preset": "fast", "size": images[1].shape, "steps": 3, "start": model}
    assert uf.invert(phi, code, **options).uncertainty is None
    monkeypatch.setattr("unfeature.inversion.guidance.uncertainty_of", lambda digest: learned)
    result = uf.invert(phi, code, starts=2, **options)
    expected = learned.std(model, phi, torch.from_numpy(code.transpose(2, 0, 1))[None], images[1].shape)
    np.testing.assert_allclose(result.uncertainties, expected[0].expand(2, -1, -1).numpy(), rtol=1e-5)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_ships_is_what_its_card_says(path, photograph):
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    data = path.read_bytes()
    assert len(data) <= 5e5 and card["sha256"] == hashlib.sha256(data).hexdigest()
    found = Uncertainty.load(path)
    assert card["held_out"]["within two"] == pytest.approx(found.facts["within two"], abs=1e-3)
    assert card["seed"] == found.facts["seed"] and card["steps"] == found.facts["steps"]
    assert card["parameters"] == sum(p.numel() for p in found.network.parameters())
    phi = HOG()
    decoder = pretrained(phi)
    assert decoder.digest == found.decoder and uncertainty_of(found.decoder) is not None
    shares = []
    for name in ("astronaut", "chelsea", "coffee", "camera"):
        x = torch.from_numpy(photograph(name, 256))[None, None]
        shares.append(float((ratio_of(found, decoder, phi, x, phi(x)).abs() <= 2).float().mean()))
    assert 0.9 < np.mean(shares) < 0.99


def test_something_ships_and_only_for_its_decoder():
    assert SHIPPED and uncertainties.uncertainty_of("0123456789abcdef") is None


def test_the_page_shows_the_map(tmp_path, call):
    out = tmp_path / "out"
    assert call("invert", bundled_path("camera"), "--feature", "hog", "--size", 64, "--steps", 2, "-o", out)[0] == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"standard deviation of each pixel; white is {WHITE} or more" in page
    assert uf.Result.load(out).uncertainty.shape == (64, 64)


def test_the_command_learns(model, images, tmp_path, capsys):
    model.save(tmp_path / "decoder.safetensors")
    for number, image in enumerate(images[:2]):
        write_png(tmp_path / "photographs" / f"{number}.png", np.kron(image, np.ones((3, 3))))
    with pytest.raises(SystemExit) as stop:
        main(["learn", "uncertainty", str(tmp_path / "photographs"), "--feature", "hog", "--cell-size", "6",
              "--decoder", str(tmp_path / "decoder.safetensors"), "--steps", "2", "-o",
              str(tmp_path / "u.safetensors")])
    assert (stop.value.code, capsys.readouterr().out) == (0, f"{tmp_path / 'u.safetensors'}\n")
    assert Uncertainty.load(tmp_path / "u.safetensors").decoder == model.digest
    assert not (tmp_path / "u.safetensors.partial").exists()


def test_learning_goes_on_after_a_kill(model, phi, images, tmp_path, monkeypatch):
    monkeypatch.setattr(Stream, "interval", -1.0)
    options = {"decoder": model, "steps": 4, **SMALL}

    def kill(done, total):
        if done == len(images) + 3:
            raise KeyboardInterrupt

    with pytest.raises(ValueError, match="share from 0 to 1, got nan"):
        learn_uncertainty(images, phi, whole=float("nan"), **options)
    learn_uncertainty(images, phi, output=tmp_path / "whole.safetensors", **options)
    with pytest.raises(KeyboardInterrupt):
        learn_uncertainty(images, phi, output=tmp_path / "killed.safetensors", progress=kill, **options)
    assert len(load_arrays(tmp_path / "killed.safetensors.partial", "partial model")[1]["losses"]) == 2
    learn_uncertainty(images, phi, output=tmp_path / "killed.safetensors", **options)
    assert (tmp_path / "killed.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
