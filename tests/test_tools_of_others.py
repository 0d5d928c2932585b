"""Descriptors inside other people's tools: plenoptic's syntheses, captum's attributions, scikit-learn's pipelines."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import nn

from tests.tiny_networks import ViT, randomise
from unfeature.features.gradients.hog import HOG
from unfeature.features.networks.cnn import CNN
from unfeature.inversion.saliency import saliency

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import captum.attr
    import plenoptic

SIDE = 24
COLOURS = {"mean": 0.5, "std": 0.25, "input_size": (SIDE, SIDE)}


def chain():
    return randomise(nn.Sequential(nn.Conv2d(3, 6, 5, 2), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU()), seed=7).eval()


PHIS = {"hog": lambda: HOG(cell_size=6, orientations=5, bilinear=True), "cnn": lambda: CNN(chain(), "3", **COLOURS),
        "tokens": lambda: CNN(ViT(), "blocks.0", **COLOURS)}


@pytest.fixture(autouse=True)
def seeded():
    """Starts of the tools, which come from torch's own generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(params=PHIS)
def phi(request):
    return PHIS[request.param]()


def image(phi, seed=0, dtype=torch.float32):
    """Smooth noise, so that no gradient is tiny."""
    shape = 1, phi.in_channels[0], SIDE, SIDE
    noise = torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return nn.functional.avg_pool2d(noise, 3, 1, 1, count_include_pad=False)


def test_metamers(phi):
    target = image(phi)
    metamer = plenoptic.Metamer(target, phi)
    metamer.setup(image(phi, seed=1))
    errors = [(phi(metamer.metamer) - phi(target)).norm().item()]
    metamer.synthesize(max_iter=40, store_progress=False)
    errors.append((phi(metamer.metamer) - phi(target)).norm().item())
    assert errors[1] < 0.7 * errors[0]


def test_maximum_differentiation(phi):
    target = image(phi)

    def error(a, b):
        return (phi(a) - phi(b)).norm()

    def square(a, b):
        return (a - b).square().mean()

    competition = plenoptic.MADCompetition(target, error, square, "max", metric_tradeoff_lambda=1e6)
    competition.setup(0.05)
    images = [competition.mad_image.detach().clone()]
    competition.synthesize(max_iter=30, store_progress=False)
    images.append(competition.mad_image.detach())
    first, last = ((error(x, target).item(), square(x, target).item()) for x in images)
    assert last[0] > 1.05 * first[0] and last[0] ** 2 / last[1] > 1.1 * first[0] ** 2 / first[1]


def test_eigendistortions_are_singular_vectors_of_the_jacobian(phi):
    x = image(phi, dtype=torch.float64)
    distortion = plenoptic.Eigendistortion(x, phi)
    distortion.synthesize(method="power", max_iter=400)
    jacobian = torch.func.jacrev(phi)(x).reshape(-1, x.numel())
    strongest = float(torch.linalg.matrix_norm(jacobian, 2) ** 2)
    assert float(distortion.eigenvalues[0]) == pytest.approx(strongest, rel=0.02)


class Classifier(nn.Module):
    """A linear classifier on a code."""

    def __init__(self, phi):
        super().__init__()
        self.phi, self.fc = phi, nn.Linear(phi(image(phi)).numel(), 3)
        randomise(self.fc, seed=8)

    def forward(self, x):
        return self.fc(self.phi(x).flatten(1))


def test_integrated_gradients_are_complete(phi):
    model, x, baseline = Classifier(phi), image(phi), image(phi, seed=1)
    found = captum.attr.IntegratedGradients(model).attribute(x, baseline, target=1, n_steps=200)
    change = (model(x) - model(baseline))[0, 1].item()
    assert found.sum().item() == pytest.approx(change, rel=0.05)


def test_class_activation_maps_of_the_descriptor(phi):
    model, x = Classifier(phi), image(phi)
    found = captum.attr.LayerGradCam(model, model.phi).attribute(x, target=1)
    code = phi(x)
    weights = model.fc.weight[1].detach().reshape(code.shape[1:])
    expected = (weights.mean((1, 2), keepdim=True) * code[0]).sum(0)
    torch.testing.assert_close(found[0, 0], expected, rtol=1e-4, atol=1e-5)


class Scores(nn.Module):
    """The mean response of each channel."""

    def __init__(self, phi):
        super().__init__()
        self.phi = phi

    def forward(self, x):
        return self.phi(x).mean((2, 3))


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
@pytest.mark.parametrize(("method", "theirs"), [("guided", "GuidedBackprop"), ("deconvnet", "Deconvolution"),
                                                ("gradient", "Saliency")])
def test_saliency_is_captums(method, theirs):
    phi = PHIS["cnn"]()
    x = image(phi)
    found = saliency(phi, x[0].permute(1, 2, 0).numpy(), channel=5, method=method)
    ours = (found.image - 0.5) * 2 * found.provenance["saliency"]["scale"][0]
    expected = getattr(captum.attr, theirs)(Scores(phi)).attribute(x.clone().requires_grad_(), target=5)
    expected = expected[0].detach().permute(1, 2, 0).numpy()
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(abs(ours) if method == "gradient" else ours, expected, atol=1e-5 * abs(expected).max())


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_deep_lift(phi):
    model, x, baseline = Classifier(phi), image(phi), image(phi, seed=1)
    found = captum.attr.DeepLift(model).attribute(x.requires_grad_(), baseline, target=1)
    if isinstance(phi, CNN) and phi.layer == "3":
        change = (model(x) - model(baseline))[0, 1].item()
        assert found.sum().item() == pytest.approx(change, rel=1e-3)
    else:
        (gradient,) = torch.autograd.grad(model(x)[0, 1], x)
        assert found.shape == x.shape and found.abs().max() > 0
        if isinstance(phi, HOG):
            torch.testing.assert_close(found, (gradient * (x - baseline)).detach(), rtol=1e-3, atol=1e-5)


def encode(images, phi):
    """Codes of images (N, H, W, C) or (N, H, W), one row each."""
    return np.stack([phi(image).ravel() for image in images])


def test_pipelines_in_several_processes():
    """Upright and level waves under noise."""
    rng, wave = np.random.default_rng(0), np.sin(np.arange(SIDE))[:, None].repeat(SIDE, 1)
    labels = np.tile([0, 1], 12)
    waves = np.stack([wave.T if label else wave for label in labels])
    grey = 0.5 + 0.2 * waves + 0.2 * rng.standard_normal(waves.shape)
    for phi, images in ((PHIS["hog"](), grey), (PHIS["cnn"](), grey[..., None].repeat(3, 3))):
        pipeline = make_pipeline(FunctionTransformer(encode, kw_args={"phi": phi}), LogisticRegression())
        found, serial = (GridSearchCV(pipeline, {"logisticregression__C": [0.1, 10.0]}, n_jobs=jobs, cv=2,
                                      error_score="raise").fit(images, labels) for jobs in (2, 1))
        np.testing.assert_array_equal(found.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"])
        assert found.best_score_ > 0.7
