"""Adversarial images: inside the ball, with the label or the code that was asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import unfeature as uf
from tests.tiny_networks import tiny
from unfeature.cli import main
from unfeature.features.gradients.hog import HOG
from unfeature.features.networks.cnn import CNN
from unfeature.inversion.objectives import Label, scores
from unfeature.inversion.parameterizations.base import ImageSpec
from unfeature.inversion.parameterizations.pixels import Around
from unfeature.io.images import bundled_path


@pytest.fixture(scope="module")
def phi():
    return CNN(tiny(), "fc4")


@pytest.fixture(scope="module")
def image(photograph):
    return photograph(side=40, grey=False)


def label_of(phi, image):
    return int(phi(image).mean((0, 1)).argmax())


@pytest.mark.parametrize("norm", ["inf", "2"])
@pytest.mark.parametrize("target", [None, 2])
def test_the_smallest_change_gives_the_label(phi, image, norm, target):
    result = uf.adversarial(phi, image, target, norm=norm, steps=12)
    change, label = (result.provenance[name] for name in ("change", "label"))
    ranked = np.argsort(-phi(image).mean((0, 1)))
    assert label["before"] == ranked[0] and label["target"] == (ranked[1] if target is None else target)
    assert change["reached"] and label["after"] == label["target"] == label_of(phi, result.image.clip(0, 1))
    difference = (result.image - image).astype(float)
    length = np.abs(difference).max() if norm == "inf" else np.linalg.norm(difference)
    assert length <= change["bound"] * (1 + 1e-5)
    assert length == pytest.approx(change["largest" if norm == "inf" else "length"], rel=1e-5)
    assert result.image.min() >= 0 and result.image.max() <= 1 and np.isnan(result.errors).all()
    less = uf.adversarial(phi, image, label["target"], norm=norm, bound=0.7 * change["bound"], steps=12)
    assert not less.provenance["change"]["reached"] and label_of(phi, less.image.clip(0, 1)) == label["before"]


def test_a_bound_holds_and_a_code_comes_near(photograph):
    phi, image = HOG(cell_size=6), photograph(side=60)
    code = phi(photograph("camera", 60)[: image.shape[0]])
    before = np.linalg.norm(phi(image) - code) / np.linalg.norm(code)
    errors = []
    for bound in (0.01, 0.05):
        result = uf.adversarial(phi, image, code, bound=bound)
        assert np.abs(result.image - image).max() <= bound * (1 + 1e-5)
        errors.append(result.error)
    assert errors[1] < errors[0] < before and errors[1] < 0.8 * before
    easy = uf.adversarial(phi, image, code, tolerance=0.9)
    assert easy.error <= 0.9 and easy.provenance["change"]["reached"] and "label" not in easy.provenance
    never = uf.adversarial(phi, image, code, tolerance=1e-6, steps=3)
    assert not never.provenance["change"]["reached"] and never.provenance["change"]["bound"] == 1
    tensor = torch.from_numpy(code.transpose(2, 0, 1))[None]
    np.testing.assert_array_equal(uf.adversarial(phi, image, tensor, bound=0.05).images, result.images)


@pytest.mark.parametrize("norm", ["inf", "2"])
def test_projection_ends_in_the_ball_and_in_the_range(norm):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 5, 7, generator=generator)
    around = Around(image, ImageSpec(5, 7, torch.zeros(3, 1, 1)), norm, 0.3)
    z = torch.randn(4, 3, 5, 7, generator=generator) * torch.tensor([0.001, 0.1, 1, 100]).view(-1, 1, 1, 1)
    inside = around.project(z)
    lengths = inside.abs().amax((1, 2, 3)) if norm == "inf" else inside.flatten(1).norm(dim=1)
    assert lengths.max() <= 0.3 + 1e-6 and lengths[-1] > 0.15
    x = around.render(inside)
    assert x.min() >= 0 and x.max() <= 1
    torch.testing.assert_close(around.project(inside), inside)
    torch.testing.assert_close(around.coordinates(x), inside, rtol=0, atol=1e-6)
    free = (image + z[:1] > 0) & (image + z[:1] < 1)
    torch.testing.assert_close(inside[:1][free], z[:1][free], rtol=0, atol=1e-6)
    assert torch.equal(around.start([3, 5]), torch.zeros(2, 3, 5, 7))


def test_the_surprise_at_a_label():
    code = torch.tensor([[1.0, 3.0, -2.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(Label(torch.tensor([1, 2]))(code), -code.softmax(1)[[0, 1], [1, 2]].log())
    spread = torch.stack([code - 1, code + 1], 2)[..., None]
    torch.testing.assert_close(scores(spread), code)
    assert Label(torch.tensor([0, 2])).of(slice(1, 2)).labels.tolist() == [2]
    leaf = code.clone().requires_grad_()
    assert torch.autograd.gradcheck(Label(torch.tensor([1])), leaf)


@pytest.mark.parametrize(("settings", "words"), [
    ({"target": 7}, "0 to 6: there is no label 7"), ({"target": -1}, "no label -1"), ({"norm": "1"}, '"inf" or "2"'),
    ({"bound": 0.0}, "positive"), ({"bound": float("nan")}, "positive"), ({"target": np.ones((2, 2, 9))}, "shape"),
])
def test_mistakes_are_named(phi, image, settings, words):
    with pytest.raises(ValueError, match=words):
        uf.adversarial(phi, image, **settings)


def test_the_label_that_it_has_is_refused(phi, image):
    with pytest.raises(ValueError, match="already"):
        uf.adversarial(phi, image, label_of(phi, image))


def test_an_interrupt_ends_the_search_for_the_bound(phi, image):
    steps = []

    def stop(progress):
        steps.append(progress.step)
        if len(steps) == 15:
            raise KeyboardInterrupt

    result = uf.adversarial(phi, image, 2, steps=10, progress=stop)
    assert len(steps) == 15 and np.isfinite(result.image).all() and result.images.shape == (1, *image.shape)


def test_the_command_takes_labels_photographs_and_codes(tmp_path, capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["adversarial", str(bundled_path("camera")), "--feature", "hog", "--size", "64", "--steps", "6",
                  *map(str, arguments), "-o", str(tmp_path / "out")])
        return stop.value.code, *capsys.readouterr()

    status, text, _ = call("--target", bundled_path("coffee"), "--bound", "10/255")
    assert status == 0 and text.startswith("relative error 0.") and "not reached" not in text
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {"preimage.png", "image.npy", "code.npy", "original.png", "change.png", "result.json",
                     "report.html"}
    first = uf.Result.load(tmp_path / "out", HOG())
    assert f"‖Δ‖∞ {255 * first.provenance['change']['largest']:.3g}/255" in text
    np.save(tmp_path / "code.npy", first.codes[0])
    assert call("--target", tmp_path / "code.npy", "--bound", 10 / 255)[0] == 0
    np.testing.assert_array_equal(uf.Result.load(tmp_path / "out").images, first.images)
    assert "→" in call("--target", 5)[1] and uf.Result.load(tmp_path / "out").provenance["label"]["target"] == 5
    assert "'a/b' is not a number" in call("--bound", "a/b")[2]
