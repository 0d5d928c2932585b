"""What `test_devices` runs in a process of its own: every check twice, on the CPU and on the pretended device.

Prints a JSON object: the name of each check, and what went wrong or nothing.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.checking import report
from tests.contract_list import PRIORS, REPRESENTATIONS, SOLVERS
from tests.tiny_networks import tiny
from unfeature.features.backend import backend
from unfeature.features.base import Representation
from unfeature.features.gradients.dsift import DSIFT
from unfeature.features.gradients.hog import HOG
from unfeature.features.networks.cnn import CNN, Layers
from unfeature.features.patterns.brief import BRIEF
from unfeature.inversion.caricature import caricature
from unfeature.inversion.invert import invert
from unfeature.inversion.maximize import maximize
from unfeature.inversion.parameterizations.base import ImageSpec, Parameterization
from unfeature.inversion.parameterizations.deep_prior import DeepPrior
from unfeature.inversion.parameterizations.fourier import Colours, Fourier
from unfeature.inversion.parameterizations.maco import MACO
from unfeature.inversion.parameterizations.pixels import BoxedPixels, FlatRegions, Pixels
from unfeature.inversion.texture import synthesize

PARAMETERIZATIONS: dict[str, Callable[[ImageSpec], Parameterization]] = {
    "pixels": Pixels, "boxed-pixels": BoxedPixels, "fourier": Fourier, "colours": Colours, "maco": MACO,
    "deep-prior": partial(DeepPrior, channels=(4, 4))}
PRESETS = ("cvpr2015", "ijcv2016", "best", "fast")
STEPS, MOST_WAITS = 4, 6
IMAGE = np.random.default_rng(0).random((40, 40, 3), dtype=np.float32)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def same(found: Any, expected: Any, within: float = 1e-6) -> None:
    """Everything is where it should be, and equal but for rounding: L-BFGS multiplies samples one by one on the CPU."""
    if isinstance(expected, Tensor):
        assert isinstance(found, Away), f"a result is on {found.device}"
        found, expected = found.cpu().detach().numpy(), expected.detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=within)


def never_waited() -> None:
    assert not device.waits, f"the host waits in {dict(device.waits)}"


def evaluated(phi, x):
    x = x.detach().requires_grad_()
    code = phi(x)
    return code, torch.autograd.grad(code.square().sum(), x)[0]


def descriptor(name: str) -> None:
    """Value, gradient, stand-in, flat pixels; the second evaluation waits for nothing."""
    phi = REPRESENTATIONS[name]()
    size = phi.input_size or (max(40, phi.receptive_field), max(44, phi.receptive_field))
    x = noise(2, phi.in_channels[0], *size)
    for kind in (phi, phi.surrogate(0.3)):
        expected = evaluated(kind, x)
        away = copy.deepcopy(phi).to(DEVICE)
        away = away if kind is phi else away.surrogate(0.3)
        there = x.to(DEVICE)
        evaluated(away, there)
        device.waits.clear()
        for a, b in zip(evaluated(away, there), expected, strict=True):
            never_waited()
            same(a, b)
            device.waits.clear()
        flat = kind.flat_pixels(expected[0].detach(), *size)
        if flat is not None:
            same(away.flat_pixels(expected[0].detach().to(DEVICE), *size), flat)
        same(away(np.float32(x[0].permute(1, 2, 0))), kind(np.float32(x[0].permute(1, 2, 0))))


def prior(name: str) -> None:
    """Value and gradient; the second evaluation waits for nothing."""
    kind, x, centre = PRIORS[name](), noise(2, 3, 20, 24), torch.full((3, 1, 1), 0.5)
    gradient, away = torch.zeros_like(x), torch.zeros_like(x).to(DEVICE)
    expected = kind.with_gradient(x, centre, gradient)
    operands = x.to(DEVICE), centre.to(DEVICE)
    kind.with_gradient(*operands, torch.zeros_like(x).to(DEVICE))  # constants go to the device once
    device.waits.clear()
    found = kind.with_gradient(*operands, away)
    never_waited()
    same(found, expected)
    same(away, gradient)


def solver(name: str, samples: int = 2) -> None:
    """A bowl; a step waits no more often than is written here, whatever the batch."""
    bowl, start = noise(samples, 1, 8, 8, seed=1) + 0.5, noise(samples, 1, 8, 8)
    points = []
    for where in ("cpu", DEVICE):
        kind = SOLVERS[name]()
        weight = bowl.to(where)
        kind.begin(start.to(where))
        for _ in range(6):
            z = kind.point
            value, slope = (weight * z * z).flatten(1).sum(1), 2 * weight * z
            device.waits.clear()
            kind.tell(value, slope)
            assert device.waits.total() <= (MOST_WAITS if name in ("lbfgs", "lbfgsb") else 0), dict(device.waits)
        kind.end()
        points.append(kind.best)
    same(points[1], points[0], within=1e-5 if name == "lbfgs" else 1e-6)


def parameterization(name: str) -> None:
    images = []
    for where in ("cpu", DEVICE):
        kind = PARAMETERIZATIONS[name](ImageSpec(20, 24, torch.full((3, 1, 1), 0.5).to(where)))
        flat = FlatRegions((noise(2, 20, 24) < 0.3).to(where))
        for then in (lambda x: x, flat):
            z = kind.start([0, 1]).requires_grad_()
            device.waits.clear()
            x = then(kind.render(z))
            (slope,) = torch.autograd.grad(x.square().sum(), z)
            never_waited()
            images += [x, slope, kind.project(z.detach() * 9)]
            images += [kind.coordinates(x.detach())] if kind.draws_any else []
    for a, b in zip(images[len(images) // 2:], images, strict=False):
        same(a, b)


def inversion(preset: str, phi: Callable[[], Representation]) -> None:
    """Two codes, two starts each."""

    def run(where: Any) -> tuple[Any, ...]:
        kind = phi().to(where)
        x = noise(2, 1, 40, 48)
        x[:, :, :20, :20] = 0.5
        with torch.no_grad():
            code = kind(x.to(where))
        result = invert(kind, code, preset=preset, steps=STEPS, size=(40, 48), starts=2)
        return result.images, result.errors, result.history["objective"]

    twice(run)


def twice(run: Callable[[Any], tuple[Any, ...]]) -> None:
    for expected, found in zip(run("cpu"), run(DEVICE), strict=True):
        same(found, expected)


def inversion_of_an_image(where: Any) -> tuple[Any, ...]:
    """From and to NumPy, with a descriptor that lives elsewhere."""
    phi = BRIEF(bits=32, patch_size=12, step=4).to(where)
    result = invert(phi, phi(IMAGE[..., 0]), preset="fast", steps=STEPS)
    return result.images, result.errors


def maximisation_of_a_channel(where: Any) -> tuple[Any, ...]:
    phi = CNN(tiny(), "fire3").to(where)
    result = maximize(phi, channel=[1, 2], preset="best", steps=STEPS, size=(40, 40))
    return (result.images,)


def caricature_of_an_image(where: Any) -> tuple[Any, ...]:
    phi = CNN(tiny(), "fire3").to(where)
    result = caricature(phi, IMAGE, octaves=2, preset="ijcv2016", steps=STEPS)
    return (result.images,)


def texture_of_an_image(where: Any) -> tuple[Any, ...]:
    phi = Layers(tiny(), ["conv1", "fire3"]).to(where)
    return (synthesize(phi, IMAGE, preset="best", steps=STEPS).images,)


def checks() -> dict[str, Callable[[], None]]:
    """All checks, by name."""
    found: dict[str, Callable[[], None]] = {}
    for check, names in ((descriptor, REPRESENTATIONS), (prior, PRIORS), (solver, SOLVERS),
                         (parameterization, PARAMETERIZATIONS)):
        found |= {f"{check.__name__} {name}": partial(check, name) for name in names}
    found |= {f"{name} of five samples": partial(solver, name, samples=5) for name in ("lbfgs", "lbfgsb")}
    found |= {f"inversion {preset}": partial(inversion, preset, HOG) for preset in PRESETS}
    found["inversion of dense SIFT"] = partial(inversion, "best", partial(DSIFT, bin_size=4))
    for run in (inversion_of_an_image, maximisation_of_a_channel, caricature_of_an_image, texture_of_an_image):
        found[run.__name__.replace("_", " ")] = partial(twice, run)
    return found


def mixture() -> None:
    """What must be noticed."""
    noise(3).to(DEVICE) + noise(3)


def wait() -> None:
    """What must be noticed, too."""
    device.waits.clear()
    bool(noise(3).to(DEVICE).sum() > 0)
    never_waited()


if __name__ == "__main__":
    from tests.elsewhere import DEVICE, Away, Elsewhere

    torch.set_num_threads(1)
    warnings.simplefilter("error")
    with Elsewhere() as device, backend("torch"):
        report(checks() | {"mixture": mixture, "wait": wait})
