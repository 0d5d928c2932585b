"""Inversion end to end, on descriptors small enough to run in a blink and on HOG."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from tests.tiny_networks import tiny
from unfeature.features.base import Representation
from unfeature.features.gradients.hog import HOG
from unfeature.features.networks.cnn import CNN
from unfeature.inversion import PRESETS
from unfeature.inversion.engine import descend, staged
from unfeature.inversion.invert import invert
from unfeature.inversion.objectives import Euclidean, Gram, InnerProduct, Objective
from unfeature.inversion.parameterizations.pixels import Pixels
from unfeature.inversion.priors.bounded_range import BoundedRange
from unfeature.inversion.priors.variation import TotalVariation
from unfeature.inversion.recipes import Stage, ijcv2016, recipe_for
from unfeature.inversion.schedules import Schedule, schedule_for
from unfeature.inversion.solvers.first_order import Momentum
from unfeature.inversion.solvers.lbfgs import LBFGS
from unfeature.inversion.views import Jitter


class Blur(Representation):
    """Means over non-overlapping squares: a linear code."""

    stride = receptive_field = 4

    def forward(self, x):
        return torch.nn.functional.avg_pool2d(x.mean(1, keepdim=True), 4) * 10

    def output_shape(self, height, width):
        if min(height, width) < 4:
            raise ValueError(f"an image of {height} × {width} pixels is smaller than one square of 4 × 4")
        return 1, height // 4, width // 4

    def image_size_for(self, code_shape):
        return 4 * code_shape[1], 4 * code_shape[2]


@schedule_for.register
def _(phi: Blur) -> Schedule:
    return Schedule(jitter=2)


def short(preset, phi, steps=8):
    recipe = recipe_for(phi, preset)
    return replace(recipe, stages=tuple(replace(stage, steps=steps) for stage in recipe.stages))


@pytest.fixture(params=PRESETS, ids=str)
def preset(request):
    return request.param


def test_every_preset_inverts_hog_better_than_noise(preset, photograph):
    phi = HOG(texture=False)
    image = photograph(side=64)
    code = phi(image)
    result = invert(phi, code, preset=short(preset, phi, 12 if preset == "deep-prior" else 40), size=image.shape)
    noise = phi(np.random.default_rng(0).random(image.shape))
    assert result.error < 0.8 * np.linalg.norm(noise - code) / np.linalg.norm(code)
    np.testing.assert_allclose(result.error, np.linalg.norm(phi(result.image) - code) / np.linalg.norm(code), rtol=1e-5)
    assert result.images.shape == (1, *image.shape)


def test_ours_is_far_better_than_the_published(photograph):
    image = photograph("coffee", 80)
    for bilinear, ratio in ((False, 0.22), (True, 0.35)):
        phi = HOG(texture=False, bilinear=bilinear)
        code = phi(image)
        published = invert(phi, code, preset="ijcv2016", size=image.shape)
        ours = invert(phi, code, preset="best", size=image.shape, start="noise")
        assert ours.error < ratio * published.error
        agreement = [np.corrcoef(r.image.ravel(), image.ravel())[0, 1] for r in (published, ours)]
        assert agreement[1] > agreement[0] + (0.02 if bilinear else 0.1)


def test_a_batch_runs_as_its_samples_would_alone(photograph, preset):
    phi = HOG(texture=False)
    names = ("astronaut", "camera", "chelsea", "coffee")
    crops = [photograph(name, 96)[i : i + 32, :40] for name in names for i in (0, 9)]
    codes = [phi(crop) for crop in crops]
    steps = 15 if preset == "deep-prior" else 60
    recipe = short(preset, phi, steps // len(recipe_for(phi, preset).stages))
    together = invert(phi, codes, preset=recipe, size=(32, 40), seed=3)
    assert len(together) == 8
    for i, code in enumerate(codes):
        alone = invert(phi, code, preset=recipe, size=(32, 40), seed=3)
        np.testing.assert_allclose(together.images[i], alone.image, atol=1e-4)


def test_starts_differ_and_the_best_is_shown():
    phi = HOG()
    code = phi(np.random.default_rng(1).random((40, 40)).astype(np.float32))
    result = invert(phi, [code, code[::-1]], preset=short("fast", phi, 4), starts=3, seed=5)
    assert len(result) == 6 and result.starts == 3
    with pytest.raises(ValueError, match="2 codes"):
        _ = result.image
    again = invert(phi, code, preset=short("fast", phi, 4), starts=3, seed=5)
    np.testing.assert_allclose(again.images, result.images[:3], atol=1e-5)
    assert again.error == again.errors.min() and len({*again.errors.tolist()}) == 3


def test_the_same_seed_gives_the_same_image(preset):
    phi = Blur()
    code = phi(np.random.default_rng(2).random((16, 20)).astype(np.float32))
    first, second, other = (invert(phi, code, preset=short(preset, phi), seed=seed).image for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_stored_code_needs_no_image(photograph):
    phi = HOG(cell_size=6, variant="dpm")
    image = photograph("coffee", 72)
    code = phi(image)
    result = invert(phi, code, preset=short("fast", phi, 3))
    assert result.image.shape == ((code.shape[0] + 2) * 6, (code.shape[1] + 2) * 6)


def test_a_masked_part_is_free():
    phi = Blur()
    image = np.random.default_rng(3).random((16, 16)).astype(np.float32)
    code = phi(image)
    mask = np.zeros_like(code)
    mask[:2] = 1
    recipe = replace(short("best", phi, 60), priors=(BoundedRange(weight=1e-3),))
    found = phi(invert(phi, code, preset=recipe, mask=mask).image)
    np.testing.assert_allclose(found[:2], code[:2], atol=0.05)
    assert np.abs(found[2:] - code[2:]).max() > 0.2


def test_a_mask_has_the_layout_of_its_code():
    phi = HOG()
    code = phi(np.random.default_rng(3).random((32, 40)).astype(np.float32))
    channels = np.arange(31) % 2
    found = [invert(phi, code, preset=short("fast", phi, 3), mask=mask).image for mask in (
        channels, np.tile(channels, (4, 5, 1)), torch.from_numpy(channels).float()[:, None, None])]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    with pytest.raises(ValueError, match=r"mask has shape \(4, 5\), which does not fit codes \(4, 5, 31\)"):
        invert(phi, code, mask=np.ones((4, 5)))


def test_a_code_of_no_weight_leaves_the_priors():
    phi = Blur()
    seen = []
    result = invert(phi, phi(np.ones((16, 16), np.float32)), preset="fast", data_weight=0.0, progress=seen.append)
    assert np.isnan(seen[-1].error) and result.history["data"][-1] == 0
    assert result.image.std() < 0.01


@pytest.mark.parametrize("preset", ["fast", "ijcv2016"])
def test_modes_of_torch_and_half_precision_make_no_difference(preset):
    phi, recipe = HOG(), short(preset, HOG(), 3)
    x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(31.0)[:, None, None]
    expected = invert(phi, phi(x).half().float(), preset=recipe, mask=mask).image
    with torch.inference_mode():
        found = invert(phi, phi(x).half(), preset=recipe, mask=mask + 0).image
    np.testing.assert_array_equal(found, expected)


def test_the_start_is_where_a_run_begins(photograph, preset):
    phi = HOG(bilinear=True)
    image = photograph(side=64)
    nothing = replace(short(preset, phi, 0), stages=(Stage(0),), contrast=None)
    if preset == "deep-prior":
        with pytest.raises(ValueError, match="DeepPrior cannot start from an image"):
            invert(phi, phi(image), preset=nothing, size=image.shape, start=image)
        return
    result = invert(phi, phi(image), preset=nothing, size=image.shape, start=image)
    np.testing.assert_allclose(result.image, image, atol=1e-5)
    assert result.error < 1e-3


def test_jitter_looks_at_windows_of_a_larger_image():
    seen = []

    class Watched(Blur):
        def forward(self, x):
            seen.append(x.detach().clone())
            return super().forward(x)

    phi = Watched()
    code = phi(np.random.default_rng(4).random((16, 16)).astype(np.float32))
    still = partial(Momentum, step=0.0)
    recipe = replace(ijcv2016(phi), stages=(Stage(12, transforms=(Jitter(2),)),), priors=(), solver=still)
    seen.clear()
    result = invert(phi, code, preset=recipe)
    assert result.image.shape == (16, 16) and all(x.shape == (1, 1, 16, 16) for x in seen)
    assert len({x.sum().item() for x in seen[:12]}) > 3


def test_gradients_that_are_off_outside_are_on_within():
    phi = Blur()
    code = phi(torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        off = invert(phi, code, size=(16, 16), preset=short("ijcv2016", phi, 3))
    assert np.array_equal(off.images, invert(phi, code, size=(16, 16), preset=short("ijcv2016", phi, 3)).images)


def test_published_schedule_has_a_cool_stage_for_networks_only():
    assert [stage.steps for stage in ijcv2016(HOG()).stages] == [300]
    stages = [(s.steps, s.rate, s.transforms) for s in ijcv2016(Blur()).stages]
    assert stages == [(300, 1.0, (Jitter(1),)), (50, 0.1, ())]


def test_history_tells_every_term(preset):
    phi = HOG()
    image = np.random.default_rng(5).random((32, 32)).astype(np.float32)
    recipe = short(preset, phi, 3)
    result = invert(phi, phi(image), preset=recipe, start="noise")
    steps = recipe.steps
    terms = ("data", *(type(prior).__name__ for prior in recipe.priors))
    assert len(terms) == (1 if preset == "deep-prior" else 3)
    assert {k: v.shape for k, v in result.history.items()} == dict.fromkeys(("objective", *terms, "error"), (steps,))
    parts = sum(result.history[k] for k in terms)
    np.testing.assert_allclose(parts, result.history["objective"], rtol=1e-5)
    assert result.history["error"][-1] == pytest.approx(result.error, rel=1e-4)
    assert result.status == f"step limit reached: all {steps} gradient evaluations are used"


def test_an_interrupt_returns_what_there_is():
    phi = HOG()
    code = phi(np.random.default_rng(6).random((32, 32)).astype(np.float32))

    def interrupt(progress):
        if progress.step == 7:
            raise KeyboardInterrupt

    result = invert(phi, code, preset="best", progress=interrupt)
    assert result.status == "stopped by the user after 7 of 300 gradient evaluations"
    assert len(result.history["objective"]) == 7 and np.isfinite(result.images).all()


def test_values_that_are_not_finite_end_the_run_with_the_last_image(preset):
    class Fragile(Blur):
        calls = 0

        def forward(self, x):
            self.calls += x.requires_grad
            return super().forward(x) * (torch.nan if x.requires_grad and self.calls == 5 else 1)

    phi = Fragile()
    code = phi(np.random.default_rng(7).random((16, 16)).astype(np.float32))
    result = invert(phi, code, preset=short(preset, phi, 10))
    assert result.status == "non-finite values at evaluation 5: the last finite image is returned"
    assert np.isfinite(result.images).all() and result.error < 10


@pytest.mark.parametrize("late", [False, True])
def test_lbfgs_with_a_bounded_parameterization_is_refused(late):
    phi = Blur()
    code = phi(np.random.default_rng(0).random((16, 16)).astype(np.float32))
    published = ijcv2016(phi)
    if late:
        bounded = replace(published, stages=(Stage(3), Stage(3, solver=LBFGS)))
    else:
        bounded = replace(published, solver=LBFGS)
    steps = []
    with pytest.raises(ValueError, match=r"combines LBFGS, which cannot keep a bound, with Pixels"):
        invert(phi, code, preset=bounded, progress=steps.append)
    assert steps == []
    free = replace(bounded, parameterization=partial(Pixels, bound=None))
    assert invert(phi, code, preset=free, steps=6).error < 1


def test_a_gram_objective_forgets_positions():
    code = torch.randn(1, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    assert float(Gram(code)(code.flip(2).roll(2, 3))) == pytest.approx(0, abs=1e-10)
    assert float(Gram(code)(code + 1)) > 0.1


def test_inner_products_pull_towards_a_direction():
    phi = Blur()
    direction = torch.zeros(1, 1, 3, 3)
    direction[0, 0, 1, 1] = 1
    objective = InnerProduct(direction)
    outcome = descend(phi, objective, short("ijcv2016", phi, 40), (12, 12), [0], torch.zeros(1))
    x = outcome.x[0, 0]
    assert x[4:8, 4:8].mean() > x[:4, :4].mean() + 0.1


BAD = {
    "preset": ({"preset": "bset"}, "did you mean 'best'"),
    "starts": ({"starts": 0}, "at least 1"),
    "size": ({"size": (64, 64)}, "gives"),
    "mask": ({"mask": np.ones((3, 3))}, "mask has shape"),
    "negative mask": ({"mask": -np.ones((4, 4, 31))}, "not negative"),
    "zero mask": ({"mask": np.zeros((4, 4, 31))}, "nothing to invert"),
    "start": ({"start": np.zeros((5, 5, 5, 5))}, "shape"),
    "size of the start": ({"start": np.zeros((32, 40))}, "32 × 40 pixels, but the one to find 32 × 32"),
    "negative C": ({"data_weight": -1.0}, "a number from 0"),
    "C": ({"data_weight": np.nan}, "a number from 0"),
}


@pytest.mark.parametrize("kind", BAD, ids=str)
def test_mistakes_are_explained(kind):
    options, message = BAD[kind]
    phi = HOG()
    code = phi(np.random.default_rng(8).random((32, 32)).astype(np.float32))
    with pytest.raises(ValueError, match=message):
        invert(phi, code, **options)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (np.zeros((4, 4, 30), np.float32), "D = 31"),
        (np.zeros((4, 4, 31), np.float32), "nothing to invert"),
        (np.full((4, 4, 31), np.nan, np.float32), "non-finite"),
        (np.zeros((4, 4), np.float32), r"\(h, w, D\)"),
        ([np.ones((4, 4, 31)), np.ones((4, 5, 31))], "one shape"),
        (torch.ones(4, 4, 31), "N, D, h, w"),
        (torch.ones(0, 31, 4, 4), "no code"),
        ([], "no code"),
    ],
)
def test_codes_that_are_none_are_refused(code, message):
    with pytest.raises(ValueError, match=message):
        invert(HOG(), code)


def test_a_target_of_zero_energy_names_the_sample():
    with pytest.raises(ValueError, match="code 1"):
        Euclidean(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_distance_is_that_of_autograd(dtype):
    draws = torch.Generator().manual_seed(0)
    code, target = (torch.rand(2, 5, 4, 3, generator=draws, dtype=dtype).transpose(2, 3) for _ in range(2))
    objective = Euclidean(target.requires_grad_())
    for found, expected in zip(objective.with_gradient(code, 7.0), Objective.with_gradient(objective, code, 7.0),
                               strict=True):
        torch.testing.assert_close(found, expected)
        assert not found.requires_grad


def test_means_over_positions_count_beside_the_code():
    target = torch.tensor([[[[1.0, 3.0]], [[-2.0, 2.0]]]])
    moved = target.flip(3)
    plain, both = Euclidean(target), Euclidean(target).with_spatial_means(2.0)
    assert both(target).item() == 0
    torch.testing.assert_close(both(moved), plain(moved))
    code = target + torch.tensor([[[[2.0, 0.0]], [[1.0, 1.0]]]])
    torch.testing.assert_close(both(code), plain(code) + 2 * torch.tensor([(1 + 0.25) / (4 + 1)]))
    masked = Euclidean(target, torch.tensor([[[[1.0]], [[0.0]]]]), 2.0)
    torch.testing.assert_close(masked(code), torch.tensor([4 / 10 + 2 * 1 / 4]))
    soft = Euclidean(target, torch.tensor(0.5))
    torch.testing.assert_close(soft.with_spatial_means(2.0)(code), Euclidean(target, torch.tensor(0.5), 2.0)(code))
    assert soft.with_spatial_means(2.0)(target).item() == 0 and soft.spatial_mean_weight == 0
    flat = target.mean((2, 3))
    assert torch.equal(Euclidean(flat, spatial_mean_weight=2.0)(2 * flat), Euclidean(flat)(2 * flat))
    negative = Euclidean(-target.abs(), spatial_mean_weight=1.0)
    assert torch.isfinite(negative(target)).all()


def test_a_stage_may_have_a_leaky_gradient_and_spatial_means():
    phi = CNN(tiny(), "fire3")
    target = Euclidean(phi(torch.rand(1, 3, 25, 25, generator=torch.Generator().manual_seed(0))))
    leaky, both = staged(phi, target, Stage(1, leak=0.05, spatial_mean_weight=100.0), 20.0)
    assert (leaky.leak, both.spatial_mean_weight) == (0.05, 5.0)
    assert staged(phi, target, Stage(1), 20.0) == (phi, target)
    assert staged(phi, target, Stage(1, spatial_mean_weight=100.0), 0.0) == (phi, target)


def test_priors_shape_the_image():
    phi = Blur()
    code = phi(np.random.default_rng(9).random((16, 16)).astype(np.float32))
    rough, smooth = (
        invert(phi, code, preset=replace(short("best", phi, 40), priors=(TotalVariation(weight=w),))).image
        for w in (1e-6, 1.0)
    )
    assert np.square(np.diff(smooth)).mean() < np.square(np.diff(rough)).mean()
