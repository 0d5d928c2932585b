"""How a decoder is trained: crops, the loss, the loop, and what held-out photographs tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from unfeature.features.base import Representation
from unfeature.inversion.decoder import CONTRAST, DecoderModel
from unfeature.io.images import resize_longer
from unfeature.io.similarity import correlation

from .stream import Floats, Learner, Stream

RATE, WARM_UP, COOL_DOWN = 1.2e-3, 100, 0.4
DECAY, BETAS, LARGEST_GRADIENT = 0.01, (0.9, 0.99), 1.0
AVERAGED = 0.999
TEST_SIDE = 256
LEAST_CONTRAST = 0.05
LARGEST_ASPECT = 1.6
BANDS = 24
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Photographs:
    """Photographs (H, W) or (H, W, 3), uint8, to train on, and others that are held out."""

    training: list[NDArray[np.uint8]]
    held_out: list[NDArray[np.uint8]]

    @classmethod
    def split(cls, photographs: list[NDArray[np.uint8]], held_out: int) -> Photographs:
        """Hold out the first, at most a tenth of all, at least one; of a single photograph, itself."""
        count = max(1, min(held_out, len(photographs) // 10))
        return cls(photographs[count:] or photographs, photographs[:count])

    def draw(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """A random photograph to train on."""
        return self.training[int(rng.integers(len(self.training)))]

    @cached_property
    def by_aspect(self) -> list[NDArray[np.uint8]]:
        """Those to train on, the widest first."""
        return sorted(self.training, key=lambda photograph: photograph.shape[0] / photograph.shape[1])

    def alike(self, count: int, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
        """Random photographs of like aspect ratio: of an eighth of all, in their order."""
        span = -(-len(self.by_aspect) // 8)
        start = rng.integers(len(self.by_aspect) - span + 1)
        return [self.by_aspect[place] for place in rng.integers(start, start + span, size=count)]


@dataclass(frozen=True)
class Augmentation:
    """Random crops of photographs, in batches of two kinds.

    Square ones show a part of a photograph whose longer side is resized to between `smallest` and `largest` pixels. A
    share of the batches, `whole`, shows photographs that are whole, or nearly: crops of as many pixels that have the
    aspect ratio of the photographs.
    """

    crop: int
    smallest: int
    largest: int
    whole: float = 0.0
    turn: float = 4.0
    tone: float = 0.2
    zoom: float = 0.35

    def __post_init__(self) -> None:
        if not 0 <= self.whole <= 1:
            raise ValueError(f"whole is a share from 0 to 1, got {self.whole:g}")

    def batch(self, photographs: Photographs, count: int, rng: np.random.Generator) -> Floats:
        """Crops (N, C, H, W) in [0, 1]."""
        if not self.whole or rng.random() >= self.whole:
            return np.stack([self.square(photographs.draw(rng), rng) for _ in range(count)])
        drawn = photographs.alike(count, rng)
        ratio = float(np.median([one.shape[0] / one.shape[1] for one in drawn]))
        ratio = float(np.clip(ratio, 1 / LARGEST_ASPECT, LARGEST_ASPECT))
        shape = round(self.crop * ratio**0.5), round(self.crop * ratio**-0.5)
        return np.stack([self.nearly_whole(photograph, shape, rng) for photograph in drawn])

    def square(self, photograph: NDArray[np.uint8], rng: np.random.Generator) -> Floats:
        """One crop (C, crop, crop)."""
        wanted = rng.uniform(self.smallest, self.largest) / max(photograph.shape[:2])
        scale = max(wanted, (self.crop + 1) / min(photograph.shape[:2]))
        return self.crop_of(photograph, scale, (self.crop, self.crop), rng)

    def nearly_whole(self, photograph: NDArray[np.uint8], shape: tuple[int, int], rng: np.random.Generator) -> Floats:
        """One crop of a shape, which every other photograph just fills."""
        scale = max(wanted / given for wanted, given in zip(shape, photograph.shape, strict=False))
        return self.crop_of(photograph, scale * (1 + max(0.0, rng.uniform(-self.zoom, self.zoom))), shape, rng)

    def crop_of(self, photograph: NDArray[np.uint8], scale: float, shape: tuple[int, int], rng: np.random.Generator
                ) -> Floats:
        """One crop of a photograph resized by a factor, turned a little, mirrored, and with another tone curve."""
        import cv2

        size = tuple(max(wanted, round(given * scale))
                     for wanted, given in zip(reversed(shape), reversed(photograph.shape[:2]), strict=True))
        image = cv2.resize(photograph, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        if rng.random() < 0.3:
            turned = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), self.turn * rng.standard_normal(), 1.0)
            image = cv2.warpAffine(image, turned, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        y, x = (int(rng.integers(given - wanted + 1)) for given, wanted in zip(image.shape, shape, strict=False))
        cut = np.atleast_3d(image[y : y + shape[0], x : x + shape[1]]).astype(np.float32) / 255
        if rng.random() < 0.5:
            cut = cut ** np.float32(np.exp(self.tone * rng.standard_normal()))
        if rng.random() < 0.5:
            cut = cut[:, ::-1]
        return np.ascontiguousarray(cut.transpose(2, 0, 1))


Test = list[tuple[Tensor, Tensor]]
"""Held-out photographs (1, C, H, W) and their codes (1, D, h, w)."""


def held_out_photographs(phi: Representation, photographs: Sequence[NDArray[np.uint8]]) -> Test:
    """The photographs, with a longer side of at most 256 pixels, and their codes."""
    found = []
    for photograph in photographs:
        image = np.atleast_3d(resize_longer(photograph, min(TEST_SIDE, max(photograph.shape[:2]))))
        x = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
        with torch.no_grad():
            found.append((x, phi(x)))
    return found


def targets(x: Tensor, phi: Representation) -> Tensor:
    """What the network is to give for photographs (N, C, H, W): about zero, in units of a photograph's contrast."""
    if not phi.contrast_invariant:
        return (x - phi.centre_like(x, x.shape[1])) / CONTRAST
    centred = x - x.mean((1, 2, 3), keepdim=True)
    return centred / centred.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(LEAST_CONTRAST)


def loss_of(found: Tensor, wanted: Tensor) -> Tensor:
    """Squared error of the pixels, and half the absolute error of the gradients of 4 × 4 averages."""
    difference = F.avg_pool2d(found - wanted, 4)
    across, down = difference.diff(dim=3).abs().mean(), difference.diff(dim=2).abs().mean()
    return F.mse_loss(found, wanted) + 0.25 * (across + down)


class Trainer:
    """AdamW on batches of crops, and a running average of the weights, of which the best are kept.

    All parameters are one vector. The whole state is kept in the learner's arrays; what is random follows from the seed
    and the step.
    """

    def __init__(self, model: DecoderModel, phis: Sequence[Representation], photographs: Photographs,
                 augmentation: Augmentation, test: Test, stream: Stream, learner: Learner, device: str) -> None:
        self.model, self.phis, self.photographs, self.augmentation = model, phis, photographs, augmentation
        self.test, self.stream, self.learner, self.device = test, stream, learner, device
        self.network = model.network.to(device)
        self.shapes = {name: parameter.shape for name, parameter in self.network.named_parameters()}
        self.weights = parameters_to_vector(self.network.parameters()).detach().clone().requires_grad_()
        self.average, self.best = (self.weights.detach().clone() for _ in range(2))
        self.optimiser = torch.optim.AdamW([self.weights], lr=RATE, betas=BETAS, weight_decay=DECAY)
        self.offset, self.cool_down = 0, COOL_DOWN
        self.history: list[list[float]] = []
        self.losses: list[float] = []

    def run(self, steps: int, batch: int, every: int, patience: int, report: Callable[[str], None]
            ) -> list[list[float]]:
        """Train, and leave the best weights in the network; step, loss and held-out correlation of each test."""
        images = len(self.stream)
        for step in range(self.resume(), steps):
            if self.stalled(patience):
                break
            rng = np.random.default_rng([self.stream.seed, images + self.offset + step])
            self.losses.append(self.step(rng, step, steps, batch))
            if (step + 1) % every == 0 or step + 1 == steps:
                self.measure(step + 1, report)
            if self.stream.progress is not None:
                self.stream.progress(images + step + 1, images + steps)
            if self.stream.checkpoint_due:
                self.store(step + 1)
                self.stream.checkpoint(self.learner, images, images)
        vector_to_parameters(self.best, self.network.parameters())
        self.network.half().float().cpu().eval()
        return self.history

    def stalled(self, patience: int) -> bool:
        """Whether the last tests, as many as the patience, brought nothing better."""
        found = [entry[2] for entry in self.history]
        return len(found) > patience and max(found[-patience:]) <= max(found[:-patience])

    def step(self, rng: np.random.Generator, step: int, steps: int, batch: int) -> float:
        """One step on a random batch; its loss."""
        x = torch.from_numpy(self.augmentation.batch(self.photographs, batch, rng)).to(self.device)
        kinds = np.sort(rng.integers(len(self.phis), size=batch))
        self.optimiser.param_groups[0]["lr"] = _rate(step, steps, self.cool_down)
        parts = self.weights.split([shape.numel() for shape in self.shapes.values()])
        weights = {name: part.view(shape) for part, (name, shape) in zip(parts, self.shapes.items(), strict=True)}
        codes = []
        for kind in np.unique(kinds):
            with torch.no_grad():
                code = self.phis[kind].to(self.device)(x[kinds == kind])
            codes.append((int(kind), self.model.standardised(code, int(kind))))
        found = functional_call(self.network, weights, (codes, size_of(x), self.shift(rng)))
        loss = loss_of(found, targets(x, self.phis[0]))
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([self.weights], LARGEST_GRADIENT)
        self.optimiser.step()
        self.average.lerp_(self.weights.detach(), 1 - min(AVERAGED, (1 + step) / (10 + step)))
        return float(loss.detach())

    def shift(self, rng: np.random.Generator) -> tuple[int, int]:
        """By how many positions codes are laid further down and to the right: by none, or as far as they may."""
        down, right = (rng.integers(2, size=2) if self.network.shift else (0, 0))
        return int(down) * self.network.shift, int(right) * self.network.shift

    def measure(self, step: int, report: Callable[[str], None]) -> None:
        """Test the averaged weights on the held-out photographs, and keep them if they are the best."""
        vector_to_parameters(self.average, self.network.parameters())
        decoded = ((x, self.model.predict(self.phis[0], code.to(self.device), size_of(x))) for x, code in self.test)
        found = float(np.nan_to_num([correlation(x.numpy(), image.cpu().numpy()) for x, image in decoded]).mean())
        if not self.history or found > max(entry[2] for entry in self.history):
            self.best = self.average.clone()
        self.history.append([step, float(np.mean(self.losses)), found])
        self.losses = []
        report("step {:.0f}: loss {:.4f}, held-out correlation {:.4f}".format(*self.history[-1]))

    def resume(self) -> int:
        """Restore the state kept in the arrays, if any; the number of steps done."""
        arrays = self.learner.arrays
        if "step" not in arrays:
            return 0
        kept = {name: torch.from_numpy(arrays[name]).to(self.device)
                for name in ("weights", "average", "best", *MOMENTS)}
        self.weights.data.copy_(kept["weights"])
        self.average, self.best = kept["average"], kept["best"]
        step = torch.tensor(float(arrays["step"]))
        self.optimiser.state[self.weights] = {"step": step, **{name: kept[name] for name in MOMENTS}}
        self.history, self.losses = arrays["history"].tolist(), arrays["losses"].tolist()
        return int(step)

    def store(self, step: int) -> None:
        """Write the state into the arrays."""
        kept = {"weights": self.weights, "average": self.average, "best": self.best,
                **{name: self.optimiser.state[self.weights][name] for name in MOMENTS}}
        state: dict[str, Any] = {name: value.detach().cpu().numpy().copy() for name, value in kept.items()}
        state |= {"step": np.array(step), "losses": np.array(self.losses),
                  "history": np.array(self.history).reshape(-1, 3)}
        self.learner.arrays |= state


def _rate(step: int, steps: int, cool_down: float) -> float:
    """Warm-up, constant, and a linear fall to a hundredth over the last share of the steps."""
    return RATE * min(1.0, (step + 1) / WARM_UP, max(0.01, (steps - step) / (cool_down * steps)))


def size_of(x: Tensor) -> tuple[int, int]:
    """Height and width."""
    return x.shape[2], x.shape[3]


def residual_of(model: DecoderModel, phi: Representation, x: Tensor, code: Tensor) -> Tensor:
    """Photographs (N, C, H, W), at a photograph's contrast if Φ is blind to it, less the network's images."""
    return CONTRAST * targets(x, phi) + phi.centre_like(x, x.shape[1]) - model.predict(phi, code, size_of(x))


def residual_spectrum(model: DecoderModel, phi: Representation, test: Test) -> tuple[Floats, Floats]:
    """Frequencies in cycles a pixel, and the mean power of photograph − image there; see `DecoderModel`."""
    edges = np.geomspace(1 / (2 * TEST_SIDE), 0.75, BANDS + 1)
    sums, counts = np.zeros((2, BANDS)), np.zeros(BANDS)
    for x, code in test:
        power = torch.fft.fft2(residual_of(model, phi, x, code), norm="ortho").abs().square().mean((0, 1)).numpy()
        frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in power.shape), indexing="ij"))
        band = np.searchsorted(edges, frequency.ravel()) - 1
        inside = (band >= 0) & (band < BANDS)
        sums[0] += np.bincount(band[inside], power.ravel()[inside], BANDS)
        sums[1] += np.bincount(band[inside], frequency.ravel()[inside], BANDS)
        counts += np.bincount(band[inside], minlength=BANDS)
    seen = counts > 0
    frequencies, powers = (sums[1] / counts.clip(1))[seen], (sums[0] / counts.clip(1))[seen]
    return frequencies.astype(np.float32), powers.clip(1e-12).astype(np.float32)
