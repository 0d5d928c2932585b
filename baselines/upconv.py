"""Inversion by an up-convolutional network, trained to map codes to images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from ..features.base import Representation, image_to_tensor, tensor_to_image
from ..images import to_bytes
from ..inversion.canvas import Fourier, Frame
from .base import Baseline, Images, Learner, Progress, Stream
from .windows import Floats, first_centre

RATE = 2e-3
LARGEST_FLAT = 16
REACHES = (1, 1, 2, 4)
SLOPE = 0.2
START_CONTRAST, START_NOISE = 0.3, 0.03
BLUR, SHARPENING = 4.0, 4.0
LARGEST_START = 3.0


@dataclass(eq=False, repr=False)
class UpConvolution(Baseline):
    r"""A network from code to image, trained to minimise the squared error of the pixels.

    Codes with positions pass 3×3 convolutions, of which the later ones add what they see farther and farther away (1,
    1, 2 and 4 positions), then up-convolutions, each doubling the resolution and halving the channels, until one
    position has become stride × stride pixels; the image may have any size. Codes without positions first pass a
    fully connected layer, and the image has the size of the training crops.

    Attributes
    ----------
    weights : ndarray (P)
        All parameters of the network, in order.
    code_mean, code_scale : ndarray (D)
        Mean and standard deviation of each channel of the code; the network sees standardised codes.
    image_mean : float
        Added to the network's output.
    width : int
        Channels of the widest layer.
    crop : int
        Pixels along one side of the training images.

    Notes
    -----
    Being the mean of all images that fit, the output is blurred but places light and dark well: pass `start` to
    `unfeature.invert` as ``start`` to get both. The paper's networks are larger (up to 512 channels, 5×5 kernels,
    weeks of training images); the last doubling here rearranges channels into pixels, which a CPU does faster.

    References
    ----------
    A. Dosovitskiy, T. Brox, "Inverting Visual Representations with Convolutional Networks", CVPR 2016
    (arXiv 1506.02753).
    """

    method: ClassVar[str] = "upconv"
    version: ClassVar[int] = 2

    weights: Floats
    code_mean: Floats
    code_scale: Floats
    image_mean: float
    width: int
    crop: int

    @classmethod
    def learn(cls, images: Images, phi: Representation, *, crop: int = 128, crops: int = 20, width: int = 96,
              steps: int = 1500, batch: int = 16, device: str | None = None, seed: int = 0, side: int | None = None,
              memory: str | int = "2GB", output: str | Path | None = None,
              progress: Progress | None = None) -> UpConvolution:
        """Train on random crops.

        Parameters
        ----------
        images : path, or iterable of paths and arrays
            Each is read once; its crops are kept in memory.
        phi : Representation
        crop : int
            Pixels along one side of a crop.
        crops : int
            From each image.
        width : int
            Channels of the widest layer.
        steps, batch : int
            Steps of Adam, and crops in each.
        device : str, optional
            Where to train; a GPU if there is one.
        seed, side, memory, output, progress
            See `Stream`; a quarter of the memory is for crops, and the steps count as progress, too.

        Raises
        ------
        ValueError
            If a crop has no code, all images are smaller than a crop, or a batch does not fit; see also `Stream`.
        """
        shape = phi.output_shape(crop, crop)
        stream = Stream(images, phi, seed, side, memory, output)
        total = len(stream) + steps
        stream.progress = None if progress is None else (lambda done, _: progress(done, total))
        row = phi.in_channels[0] * crop**2 + 2 * math.prod(shape)
        learner = _CropLearner(phi, crop, crops, stream.rows_within(0, 4 * row, batch))
        settings = {"method": cls.method, "crop": crop, "crops": crops, "width": width, "steps": steps, "batch": batch}
        stream.run(learner, settings, crop)
        stored = learner.arrays
        axes = (0, *range(2, stored["codes"].ndim))
        mean = stored["codes"].mean(axis=axes, dtype=np.float64)
        scale = np.maximum(stored["codes"].std(axis=axes, dtype=np.float64), 1e-3)
        network = _network(phi, shape, width, crop, torch.Generator().manual_seed(seed))
        drawn = parameters_to_vector(network.parameters()).detach().numpy()
        image_mean = float(stored["images"].mean() / 255)
        model = cls(phi.to_config(), drawn, mean.astype(np.float32), scale.astype(np.float32), image_mean, width, crop)
        trainer = _Trainer(model, network, learner, device or ("cuda" if torch.cuda.is_available() else "cpu"))
        for step in range(trainer.resume(), steps):
            trainer.step(np.random.default_rng([seed, len(stream) + step]), step, steps, batch)
            if progress is not None:
                progress(len(stream) + step + 1, total)
            if stream.due:
                trainer.pack(step + 1)
                stream.keep(learner, settings, len(stream), len(stream))
        trainer.pack(steps)
        model.weights = stored["weights"].copy()
        return stream.finish(model)

    def reconstruct(self, phi: Representation, code: NDArray[Any], size: tuple[int, int], count: int,
                    seed: int) -> Floats:
        """The image (1, H, W, C) in [0, 1] of a code (h, w, D) or (D,)."""
        network = _network(phi, phi.output_shape(self.crop, self.crop), self.width, self.crop, torch.Generator())
        vector_to_parameters(torch.from_numpy(self.weights), network.parameters())
        if code.ndim == 1 and size != (self.crop, self.crop):
            raise ValueError(f"this upconv model gives images of {self.crop}×{self.crop} pixels, "
                             f"not {size[0]}×{size[1]}")
        with torch.no_grad():
            x = torch.from_numpy(np.moveaxis(code, -1, 0).astype(np.float32))[None]
            image = network(self.standardised(x), size) + self.image_mean
        return np.ascontiguousarray(image.clamp(0, 1).permute(0, 2, 3, 1).numpy())

    def start(self, phi: Representation, code: NDArray[Any] | Tensor, *, size: tuple[int, int] | None = None,
              seed: int = 0) -> Floats:
        """An image for `unfeature.invert` to start from.

        It is the network's image. For descriptors that are blind to contrast it is sharpened (its difference from
        itself under a Gaussian of 4 pixels counts five times) and gets more contrast than photographs have and a
        little noise with their spectrum, from which the descent comes nearer to the code.

        Parameters
        ----------
        phi, code, size
            See `Baseline.invert`.
        seed : int
            Of the noise.

        Returns
        -------
        ndarray (H, W) or (H, W, C)
            Values about `phi.centre`; they may leave [0, 1].
        """
        guess = self.invert(phi, code, size=size).image
        if not phi.blind_to_contrast:
            return guess
        spatial = (BLUR, BLUR) if guess.ndim == 2 else (BLUR, BLUR, 0)
        x, blurred = image_to_tensor(guess), image_to_tensor(gaussian_filter(guess, spatial))
        x = x + SHARPENING * (x - blurred)
        centre = torch.tensor(phi.centre).expand(x.shape[1]).view(-1, 1, 1)
        canvas = Fourier(Frame(x.shape[2], x.shape[3], centre), spread=START_NOISE)
        noise = canvas.render(canvas.start([seed])) - centre
        contrasted = (x - x.mean()) * (START_CONTRAST / x.std().clamp_min(1e-3))
        contrasted = contrasted.clamp(-LARGEST_START, LARGEST_START)
        return np.asarray(tensor_to_image(centre + contrasted + noise), dtype=np.float32)

    def standardised(self, codes: Tensor) -> Tensor:
        """Codes with each channel shifted and scaled as in training."""
        mean, scale = self._moments
        extra = (1,) * (codes.ndim - 2)
        return (codes - mean.to(codes).view(1, -1, *extra)) / scale.to(codes).view(1, -1, *extra)

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.code_mean), torch.from_numpy(self.code_scale)


class _Generator(nn.Module):
    """Convolutions on a grid, whose reach grows, then doublings."""

    def __init__(self, depth: int, channels: int, width: int, doublings: int, stride: int, centre: float) -> None:
        super().__init__()
        self.doublings, self.stride = doublings, stride
        self.margin = max(0, math.ceil((centre + 0.5) / stride - 0.5))
        self.first = round(self.margin * stride - (centre - (stride - 1) / 2))
        widths = [min(width, max(16, width // 2**k)) for k in range(max(doublings, 1))]
        self.enter = nn.Conv2d(depth + 1, width, 3, padding=1)
        self.context = nn.ModuleList(nn.Conv2d(width, width, 3, padding=reach, dilation=reach) for reach in REACHES)
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        factor = 2 if doublings else 1
        self.last = nn.Sequential(nn.Conv2d(widths[-1], channels * factor**2, 3, padding=1), nn.PixelShuffle(factor))

    def forward(self, code: Tensor, size: tuple[int, int]) -> Tensor:
        """Images of a given size, of codes (N, D, h, w)."""
        reach = [-(-(n + self.first) // self.stride) for n in size]
        frame = [max(0, r - self.margin - n) for r, n in zip(reach, code.shape[2:], strict=True)]
        x = torch.cat([code, torch.ones_like(code[:, :1])], 1)
        x = F.pad(x, (self.margin, frame[1], self.margin, frame[0]))
        x = F.leaky_relu(self.enter(x), SLOPE)
        for layer in self.context:
            x = x + 0.5 * F.leaky_relu(layer(x), SLOPE)
        for layer in self.up:
            x = F.leaky_relu(layer(x), SLOPE)
        x = self.last(x)
        if 2**self.doublings != self.stride:
            extent = [n * self.stride // 2**self.doublings for n in x.shape[2:]]
            x = F.interpolate(x, size=extent, mode="bilinear", align_corners=False, antialias=True)
        return x[..., self.first : self.first + size[0], self.first : self.first + size[1]]


class _FlatGenerator(nn.Module):
    """A fully connected layer onto a small grid, then a `_Generator`."""

    def __init__(self, depth: int, channels: int, width: int, crop: int) -> None:
        super().__init__()
        self.doublings = max(1, math.ceil(math.log2(crop / LARGEST_FLAT)) + 1)
        self.grid = -(-crop // 2**self.doublings)
        self.width = width
        self.enter = nn.Linear(depth, width * self.grid**2)
        stride = 2**self.doublings
        self.rest = _Generator(width, channels, width, self.doublings, stride, (stride - 1) / 2)

    def forward(self, code: Tensor, size: tuple[int, int]) -> Tensor:
        """Images of the training crops' size, of codes (N, D)."""
        grid = F.leaky_relu(self.enter(code), SLOPE).unflatten(1, (self.width, self.grid, self.grid))
        image: Tensor = self.rest(grid, size)
        return image


def _network(phi: Representation, shape: tuple[int, ...], width: int, crop: int,
             generator: torch.Generator) -> nn.Module:
    """The network for a descriptor, with weights drawn from the generator (He et al.)."""
    network: nn.Module
    if len(shape) == 1:
        network = _FlatGenerator(shape[0], phi.in_channels[0], width, crop)
    else:
        doublings = max(0, round(math.log2(phi.stride)))
        network = _Generator(shape[0], phi.in_channels[0], width, doublings, phi.stride, first_centre(phi))
    for parameter in network.parameters():
        if parameter.ndim == 1:
            nn.init.zeros_(parameter)
        else:
            nn.init.kaiming_normal_(parameter, SLOPE, generator=generator)
    return network


class _CropLearner(Learner):
    """Keeps random crops, every other one mirrored, and their codes, `most` of them."""

    encodes: ClassVar[bool] = False

    def __init__(self, phi: Representation, crop: int, crops: int, most: int) -> None:
        self.phi, self.crop, self.crops, self.most = phi, crop, crops, most
        shape = phi.output_shape(crop, crop)
        self.arrays = {
            "images": np.zeros((0, phi.in_channels[0], crop, crop), dtype=np.uint8),
            "codes": np.zeros((0, *shape), dtype=np.float16),
        }

    def see(self, image: NDArray[np.float32], code: NDArray[np.float32], rng: np.random.Generator) -> None:
        """Keep crops of one image, if there is room."""
        number = min(self.crops, self.most - len(self.arrays["images"]))
        if number == 0:
            return
        cut = np.stack([self._cut(image, rng, mirrored=k % 2 == 1) for k in range(number)])
        with torch.no_grad():
            codes = self.phi(torch.from_numpy(cut))
        added = {"images": to_bytes(cut), "codes": codes.numpy().astype(np.float16)}
        for name, values in added.items():
            self.arrays[name] = np.concatenate([self.arrays[name], values])

    def _cut(self, image: NDArray[np.float32], rng: np.random.Generator, mirrored: bool) -> Floats:
        """A random crop (C, side, side)."""
        y, x = (int(rng.integers(n - self.crop + 1)) for n in image.shape[:2])
        cut = np.atleast_3d(image[y : y + self.crop, x : x + self.crop])
        return np.ascontiguousarray((cut[:, ::-1] if mirrored else cut).transpose(2, 0, 1))


class _Trainer:
    """Adam on batches of crops, whose state travels in the learner's arrays."""

    def __init__(self, model: UpConvolution, network: nn.Module, learner: _CropLearner, device: str) -> None:
        self.model, self.arrays, self.device = model, learner.arrays, device
        self.network = network.to(device)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=RATE)

    def resume(self) -> int:
        """Take up the state kept in the arrays, if any; the number of steps done."""
        if "step" not in self.arrays:
            return 0
        step = int(self.arrays["step"])
        vector_to_parameters(torch.from_numpy(self.arrays["weights"]).to(self.device), self.network.parameters())
        at = 0
        for parameter in self.network.parameters():
            span = slice(at, at + parameter.numel())
            moments = {name: torch.from_numpy(self.arrays[name][span]).view(parameter.shape).to(self.device)
                       for name in ("exp_avg", "exp_avg_sq")}
            self.optimiser.state[parameter] = {"step": torch.tensor(float(step)), **moments}
            at += parameter.numel()
        return step

    def pack(self, step: int) -> None:
        """Put the state into the arrays."""
        parameters = list(self.network.parameters())
        self.arrays["step"] = np.array(step)
        self.arrays["weights"] = parameters_to_vector(parameters).detach().cpu().numpy().copy()
        for name in ("exp_avg", "exp_avg_sq"):
            flat = [self.optimiser.state[p][name].flatten() for p in parameters if p in self.optimiser.state]
            self.arrays[name] = torch.cat(flat).cpu().numpy() if flat else np.zeros(0, dtype=np.float32)

    def step(self, rng: np.random.Generator, step: int, steps: int, batch: int) -> None:
        """One step on a random batch."""
        chosen = rng.integers(len(self.arrays["images"]), size=batch)
        codes = torch.from_numpy(self.arrays["codes"][chosen].astype(np.float32)).to(self.device)
        images = torch.from_numpy(self.arrays["images"][chosen]).to(self.device).float() / 255
        for group in self.optimiser.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / steps)) + 1e-5
        found = self.network(self.model.standardised(codes), tuple(images.shape[2:])) + self.model.image_mean
        loss = F.mse_loss(found, images)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
