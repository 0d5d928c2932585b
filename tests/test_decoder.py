"""Decoders: grids of any fineness, several descriptors in one model, guidance of the search, the files that ship."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import unfeature as uf
from tests.small_models import Means
from unfeature.baselines.decoder import Decoder, _network, _train_further, relatives
from unfeature.baselines.decoder_training import Augmentation, Photographs, residual_spectrum, targets
from unfeature.baselines.stream import Stream
from unfeature.features.gradients.dsift import DSIFT
from unfeature.features.gradients.hog import HOG
from unfeature.inversion.decoder import DecoderModel, pretrained
from unfeature.inversion.guidance import residual_power
from unfeature.inversion.near import Near
from unfeature.io.files import load_arrays
from unfeature.io.images import write_png
from unfeature.io.output import check_output
from unfeature.io.similarity import correlation

SMALL = {"crop": 48, "smallest": 64, "largest": 96, "batch": 4, "every": 20, "width": 16}


@pytest.fixture(scope="module")
def model(images):
    return Decoder.learn(images, HOG(cell_size=6), family=True, steps=60, **SMALL)


@pytest.mark.parametrize(("stride", "shift", "least"), [(2, 3, 0.6), (6, 3, 0.5), (16, 3, 0.2), (24, 12, 0.2)])
def test_grids_of_any_fineness_lead_to_images(images, target, stride, shift, least):
    phi = Means(stride)
    image = Decoder.learn(images, phi, steps=80, **SMALL).decode(phi, phi(target), target.shape)
    assert image.shape == target.shape
    aligned = [correlation(np.roll(image, shift, axis=(0, 1)), target) for shift in (-shift, 0, shift)]
    assert np.argmax(aligned) == 1 and aligned[1] > least


def test_one_model_serves_the_family(model, target):
    family = relatives(HOG(cell_size=6))
    assert len(family) == 4 and family[0].to_config() == HOG(cell_size=6).to_config()
    for phi in family:
        assert correlation(model.decode(phi, phi(target), target.shape), target) > 0.3
    assert len(relatives(HOG("dalal-triggs"))) == len(relatives(Means(4))) == 1
    assert [(one.variant, one.window) for one in relatives(DSIFT(variant="network", step=8))] == [
        ("network", "flat"), ("vlfeat", "gaussian"), ("vlfeat", "flat")]


def test_the_mirror_image_is_decoded_as_the_mirrored_image(model):
    phi, image = HOG(cell_size=6, bilinear=True), uf.to_grey(uf.bundled("astronaut"))[::4, ::4][:72, :96]
    mirrored = np.ascontiguousarray(image[:, ::-1])
    np.testing.assert_allclose(model.decode(phi, phi(mirrored), image.shape),
                               model.decode(phi, phi(image), image.shape)[:, ::-1], atol=1e-5)


@pytest.mark.parametrize("phi", [HOG(), DSIFT(variant="network")], ids=repr)
@pytest.mark.parametrize("more", [1, 3, 7, 12, 20])
def test_both_predictions_lie_where_the_photograph_does(phi, more):
    image = uf.to_grey(uf.bundled("astronaut"))[::2, ::2][:, : 120 + more]
    code, decoder = torch.from_numpy(np.asarray(phi(image))).movedim(-1, 0)[None], pretrained(phi)
    plain = decoder.predict(phi, code, image.shape)[0, 0].numpy()
    both = decoder.decode(phi, code, image.shape)[0, 0].numpy()
    other = 2 * both - plain
    assert correlation(both, image) > correlation(plain, image) - 0.01
    aligned = [correlation(np.roll(other, shift, axis=1), image) for shift in (-1, 0, 1)]
    assert np.argmax(aligned) == 1


def test_a_code_without_a_mirror_image_is_decoded_once(images, target):
    phi = Means(6)
    decoder = Decoder.learn(images, phi, steps=2, **SMALL)
    code = phi(torch.from_numpy(target)[None, None])
    once = decoder.model.predict(phi, code, target.shape)
    assert torch.equal(decoder.model.decode(phi, code, target.shape), once)


def test_the_file_says_for_which_descriptors_it_is(model, tmp_path):
    model.save(tmp_path / "decoder.safetensors")
    again = Decoder.load(tmp_path / "decoder.safetensors", HOG(cell_size=6, texture=False))
    assert len(again.model.descriptors) == 4 and len(again.model.digest) == 16
    with pytest.raises(ValueError, match="cell_size 6 instead of 8"):
        Decoder.load(tmp_path / "decoder.safetensors", HOG())
    (tmp_path / "other.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a whole decoder model"):
        Decoder.load(tmp_path / "other.safetensors")
    assert check_output(tmp_path / "decoder.safetensors") == tmp_path / "decoder.safetensors"
    broken = (tmp_path / "decoder.safetensors").read_bytes()[:-100]
    (tmp_path / "broken.safetensors").write_bytes(broken)
    with pytest.raises(ValueError, match="not a whole decoder model"):
        Decoder.load(tmp_path / "broken.safetensors")


HEADERS = {
    "descriptors": [None, [], [1], [{"type": "HOG", "cell_size": "x"}], {}],
    "network": [None, {}, {"grids": [], "channels": 1, "width": 16}, {"grids": [[1]], "channels": -1, "width": "x"}],
    "centred": [None, "x"], "facts": [None, 3], "version": [None, 99], "kind": [None, "other"],
}


@pytest.mark.parametrize("field", HEADERS)
def test_files_with_wrong_fields_are_refused(field, model, target, tmp_path):
    path = tmp_path / "bad.safetensors"
    model.save(path)
    with safe_open(path, "numpy") as opened:
        header = json.loads(opened.metadata()["unfeature"])
    tensors = load_file(path)
    for bad in HEADERS[field]:
        save_file(tensors, path, {"unfeature": json.dumps(header | {field: bad})})
        with pytest.raises(ValueError, match=r"bad\.safetensors"):
            Decoder.load(path)
    without = {name: value for name, value in header.items() if name != field}
    save_file(tensors, path, {"unfeature": json.dumps(without)})
    with pytest.raises(ValueError, match=r"bad\.safetensors"):
        Decoder.load(path)


def test_files_with_wrong_tensors_are_refused(model, tmp_path):
    path = tmp_path / "bad.safetensors"
    model.save(path)
    with safe_open(path, "numpy") as opened:
        metadata = opened.metadata()
    tensors = load_file(path)
    for name in ("code_mean.0", "code_scale.3", "spectrum", "frequencies", "last.weight"):
        for bad in (tensors[name][:-1], np.full_like(tensors[name], np.nan), None):
            changed = {n: value for n, value in (tensors | {name: bad}).items() if value is not None}
            save_file(changed, path, metadata)
            with pytest.raises(ValueError, match=r"bad\.safetensors"):
                Decoder.load(path)
    none = dict.fromkeys(("frequencies", "spectrum"), np.zeros(0, np.float32))
    for changed in (none, {"frequencies": np.ascontiguousarray(tensors["frequencies"][::-1])}):
        save_file(tensors | changed, path, metadata)
        with pytest.raises(ValueError, match="do not ascend"):
            Decoder.load(path)


def test_a_decoder_guides_the_search(model, target):
    phi = HOG(cell_size=6)
    code = phi(target)
    result = uf.invert(phi, code, preset="fast", size=target.shape, steps=12, start=model.model)
    assert "Near" in result.history and result.guess.shape == result.images.shape
    np.testing.assert_array_equal(result.guess[0], model.decode(phi, code, target.shape))
    assert result.provenance["decoder"]["digest"] == model.model.digest
    plain = uf.invert(phi, code, preset="fast", size=target.shape, steps=12, start="noise")
    assert plain.guess is None and "decoder" not in plain.provenance and "Near" not in plain.history
    assert correlation(result.image, target) > correlation(plain.image, target)
    whole = uf.invert(phi, code, preset="fast", size=target.shape, steps=12, start=model)
    np.testing.assert_array_equal(whole.images, result.images)
    with pytest.raises(ValueError, match="cell_size 6 instead of 7"):
        uf.invert(HOG(cell_size=7), HOG(cell_size=7)(target), size=target.shape, start=model)
    published = uf.invert(phi, code, preset="cvpr2015", size=target.shape, steps=2, start=model.model)
    assert "Near" not in published.history


def test_the_commands_learn_start_from_and_show_a_decoder(images, tmp_path, call):
    for number, image in enumerate(images):
        write_png(tmp_path / "photographs" / f"{number}.png", image)
    path, out = tmp_path / "decoder.safetensors", tmp_path / "out"
    small = [f for name, value in SMALL.items() for f in (f"--{name}", value)]
    hog = ("--feature", "hog", "--cell-size", 6)

    status, text, told = call("learn", "decoder", tmp_path / "photographs", *hog, *small, "--steps", 20, "-o", path)
    assert (status, text) == (0, f"{path}\n") and "step 20: loss" in told and "held-out correlation" in told
    photograph = ("invert", tmp_path / "photographs" / "0.png", *hog, "-o", out)
    assert call(*photograph, "--start", path, "--steps", 3)[0] == 0
    assert (out / "decoder.png").exists() and "what a decoder predicts" in (out / "report.html").read_text()
    assert call(*photograph, "--method", "decoder", "--model", path)[0] == 0
    assert not (out / "decoder.png").exists()
    assert uf.Result.load(out).provenance["method"] == "decoder"
    assert "no decoder ships" in call(*photograph, "--method", "decoder")[2]
    assert "cell_size 6 instead of 7" in call(*photograph, "--cell-size", 7, "--start", path)[2]


def test_training_goes_on_from_a_model(images, tmp_path, monkeypatch):
    phi, first = HOG(cell_size=6), tmp_path / "first.safetensors"
    Decoder.learn(images, phi, steps=6, output=first, **SMALL)
    monkeypatch.setattr(Stream, "interval", -1.0)
    Decoder.learn(images, phi, steps=6, init=first, output=tmp_path / "whole.safetensors", **SMALL)

    def kill(done, total):
        if done == len(images) + 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Decoder.learn(images, phi, steps=6, init=first, output=tmp_path / "second.safetensors", progress=kill, **SMALL)
    assert load_arrays(tmp_path / "second.safetensors.partial", "partial model")[1]["step"] == 3
    found = Decoder.learn(images, phi, steps=6, init=first, output=tmp_path / "second.safetensors", **SMALL)
    assert (tmp_path / "second.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert found.model.facts["steps"] == 12
    with pytest.raises(ValueError, match="width 16, not 24"):
        Decoder.learn(images, phi, init=first, **{**SMALL, "width": 24})


@pytest.mark.parametrize("phi", [HOG("dpm", cell_size=6), HOG("dalal-triggs", cell_size=8), Means(18)])
def test_training_goes_on_from_a_model_of_another_descriptor(phi, images, model, tmp_path):
    model.save(tmp_path / "other.safetensors")
    trained, own = model.model.network, _network([phi], 48, 16)
    own.initialise(torch.Generator().manual_seed(0))
    expected = own.enter.weight.detach().clone()
    if own.expansion == 1:
        common = min(expected.shape[1], trained.enter.weight.shape[1])
        expected[:, :common] = trained.enter.weight[:, :common]
    _train_further(DecoderModel([phi.to_config()], own, [], [], None, None, True), model.model)
    assert torch.equal(own.enter.weight, expected)
    assert torch.equal(own.encode[0].first.weight, trained.encode[0].first.weight)
    assert torch.equal(own.last.weight, trained.last.weight) == (own.cell == 6)
    found = Decoder.learn(images, phi, steps=3, init=tmp_path / "other.safetensors", **SMALL)
    assert found.model.descriptors == [phi.to_config()] and found.model.facts["steps"] == 63


def test_codes_laid_further_down_are_predicted_too(images, target, tmp_path):
    phi = HOG(cell_size=6)
    Decoder.learn(images, phi, steps=60, shifted=True, **SMALL).save(tmp_path / "own.safetensors")
    model = DecoderModel.load(tmp_path / "own.safetensors")
    assert model.network.shift == model.network.half_cell == 4
    code, size = phi(torch.from_numpy(target)[None, None]), target.shape
    plain, moved = (model.predict(phi, code, size, (shift, shift)) for shift in (0, 4))
    assert 0.9 < correlation(plain.numpy(), moved.numpy()) < 1 - 1e-6
    mirrored = code[:, torch.from_numpy(phi.mirrored_channels)].flip(3)
    four = [plain, moved, *(model.predict(phi, mirrored, size, (shift, shift)).flip(3) for shift in (0, 4))]
    torch.testing.assert_close(model.decode(phi, code, size), torch.stack(four).mean(0))


def test_several_codes_are_guided_as_each_alone(model, images):
    phi = HOG(cell_size=6)
    codes = [phi(image[:54, :54]) for image in images[:2]]
    options = {"preset": "fast", "steps": 6, "start": model.model, "starts": 2}
    together = uf.invert(phi, codes, **options)
    alone = np.concatenate([uf.invert(phi, code, **options).images for code in codes])
    np.testing.assert_array_equal(together.images, alone)
    np.testing.assert_array_equal(uf.invert(phi, codes, memory="30MB", **options).images, alone)


def test_without_a_decoder_auto_is_noise(target):
    phi = HOG(cell_size=7)
    assert pretrained(phi) is None
    found = [uf.invert(phi, phi(target), size=target.shape, steps=3, start=start).image for start in ("auto", "noise")]
    np.testing.assert_array_equal(*found)
    with pytest.raises(ValueError, match='"auto", "noise"'):
        uf.invert(phi, phi(target), size=target.shape, start="nosie")


def test_a_mask_hides_from_the_decoder(model, target):
    phi = HOG(cell_size=6)
    code = phi(target)
    mask = np.ones((*code.shape[:2], 1))
    masked = uf.invert(phi, code, size=target.shape, steps=2, start=model.model, mask=mask)
    assert masked.guess is None


def test_crops_show_what_the_photograph_shows():
    photograph = np.tile(np.arange(200, dtype=np.uint8), (150, 1))
    for seed in range(5):
        crop = Augmentation(64, 80, 120).square(photograph, np.random.default_rng(seed))
        assert crop.shape == (1, 64, 64) and crop.dtype == np.float32
        assert 0 <= crop.min() < crop.max() <= 1
    wide, high = (np.full(shape, 9, np.uint8) for shape in ((300, 400), (400, 300)))
    batches = [Augmentation(96, 96, 96, whole=1.0).batch(Photographs([wide, high], []), 3, np.random.default_rng(seed))
               for seed in range(9)]
    assert {batch.shape for batch in batches} == {(3, 1, 83, 111), (3, 1, 111, 83)}
    just = Augmentation(96, 96, 96, whole=1.0, zoom=0.0)
    batch = just.batch(Photographs([photograph], []), 2, np.random.default_rng(0))
    assert batch.shape == (2, 1, 83, 111) and np.ptp(batch, axis=3).min() > 0.5
    several = [np.full((70, 70), n, np.uint8) for n in range(30)]
    split = Photographs.split(several, 40)
    assert [len(split.held_out), len(split.training)] == [3, 27]
    assert Photographs.split(several[:1], 40).training == several[:1]


def test_the_residual_spectrum_is_that_of_the_residual(model, images):
    phi = HOG(cell_size=6)
    x = torch.from_numpy(images[0])[None, None]
    frequencies, spectrum = residual_spectrum(model.model, phi, [(x, phi(x))])
    assert (np.diff(frequencies) > 0).all() and (spectrum > 0).all()
    residual = 0.2 * targets(x, phi) + 0.5 - model.model.predict(phi, phi(x), x.shape[2:])
    curve = list(zip(frequencies.tolist(), spectrum.tolist(), strict=True))
    assert float(Near(residual, 2.0, curve)(torch.zeros_like(x), x)) == pytest.approx(2.0, rel=0.2)
    own = replace(model.model, frequencies=frequencies, spectrum=spectrum)
    assert residual_power(own) == pytest.approx(float(residual.square().mean()), rel=0.2)


def test_near_refuses_what_it_cannot_use():
    image = torch.zeros(1, 1, 4, 4)
    for wrong, message in [({"weight": -1}, "not negative"), ({"cutoff": 0}, "positive"),
                           ({"spectrum": [(0.2, 1), (0.1, 1)]}, "ascending"), ({"image": image[0]}, "shape")]:
        with pytest.raises(ValueError, match=message):
            Near(**{"image": image, **wrong})
    assert float(Near(image, 3.0)(torch.full((1, 1, 4, 4), 0.5), image)) == pytest.approx(0.75)


def test_near_without_a_spectrum_is_that_of_a_constant_one():
    g, x = torch.rand(2, 2, 3, 9, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain, transformed = torch.zeros_like(x), torch.zeros_like(x)
    values = Near(g, 3.0).with_gradient(x, x, plain)
    torch.testing.assert_close(Near(g, 3.0, [(0.1, 1.0)]).with_gradient(x, x, transformed), values)
    torch.testing.assert_close(Near(g, 3.0)(x, x), values)
    torch.testing.assert_close(transformed, plain)


def test_a_header_that_is_no_object_is_refused(tmp_path):
    save_file({"a": np.zeros(1)}, tmp_path / "list.safetensors", {"unfeature": "[1]"})
    with pytest.raises(ValueError, match=r"list\.safetensors is not a whole decoder model file .* no JSON object"):
        DecoderModel.load(tmp_path / "list.safetensors")
