"""Inversion by an up-convolutional network, trained to map codes to images."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from unfeature.features.base import Representation, image_to_tensor, tensor_to_image
from unfeature.features.checks import check_device
from unfeature.inversion.parameterizations.base import ImageSpec
from unfeature.inversion.parameterizations.fourier import Fourier
from unfeature.io.images import resize_longer, to_bytes
from unfeature.io.schema import Field, Schema, Value

from .base import Baseline
from .generators import is_flat, network_for
from .stream import Floats, Learner, Size, Stream

RATE = 2e-3
START_CONTRAST, START_NOISE = 0.25, 0.06
LARGEST_STORED, HALF_PRECISION = 1e3, (-6e4, 6e4)
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(eq=False, repr=False)
class Upconv(Baseline):
    r"""An up-convolutional network from codes to images.

    It is trained to minimise the squared error of the pixels. Its input is asinh of standardised codes, which bounds
    the rare strong responses of a layer. Codes with positions pass a 3×3 convolution and, where positions are less
    than 8 pixels apart, convolutions that halve the resolution down to that; then residual convolutions with
    dilations 1, 1, 2 and 4; then up-convolutions, each doubling the resolution, halving the channels and adding the
    activations of that resolution on the way down. The image may have any size. Codes without positions first pass
    two fully connected layers; their images have the size of the training crops, and are resized to any other.

    Attributes
    ----------
    weights : ndarray (P)
        All parameters of the network, in order.
    code_mean, code_scale : ndarray (D)
        Mean and standard deviation of each channel of the code.
    image_mean : float
        Added to the network's output.

    Notes
    -----
    Being the mean of all images that fit, the output is blurred but places light and dark well: pass `start` to
    `unfeature.invert` as ``start`` to get both. The paper's networks are larger (up to 512 channels, 5×5 kernels,
    weeks of training images); the last doubling here rearranges channels into pixels, which a CPU does faster.

    References
    ----------
    A. Dosovitskiy, T. Brox, "Inverting Visual Representations with Convolutional Networks", CVPR 2016.
    """

    grid: ClassVar[bool] = False
    inverted: ClassVar[str] = "codes of a Representation"
    version: ClassVar[int] = 3

    schema: ClassVar[Schema] = {
        "weights": Field("float32", ("parameters",)), "code_mean": Field("float32", ("channels",)),
        "code_scale": Field("float32", ("channels",), 1e-30), "image_mean": Value(float, 0, 1),
        "width": Value(int, 1, 10_000), "crop": Value(int, 1, 10_000)}

    weights: Floats
    code_mean: Floats
    code_scale: Floats
    image_mean: float
    width: int
    crop: int

    @classmethod
    def learn_from(cls, stream: Stream, phi: Representation, *, crop: int = 128, crops: int = 20, zoom: float = 1.0,
                   width: int = 96, steps: int = 1500, batch: int = 16, device: str | None = None) -> Upconv:
        """Train on random crops.

        Parameters
        ----------
        crop : int
            Pixels along one side of a training crop.
        crops : int
            Crops of each image; they are kept in memory, of which they may use a quarter.
        zoom : float
            Crops are cut up to this many times as large, where the image has room, and reduced: more variety for
            codes of which each position sees much of a crop.
        width : int
            Channels at a resolution of 8 pixels; twice as many at 16, half as many at 4, from 16 to 512.
        steps : int
            Steps of Adam; they count as progress, too.
        batch : int
            Crops in each step.
        device : str, optional
            Where to train, such as cpu or cuda; a GPU if there is one.
        """
        shape = phi.output_shape(crop, crop)
        if zoom < 1:
            raise ValueError(f"crops are cut larger and reduced, so zoom is at least 1, got {zoom}")
        stream.steps, device = steps, check_device(device)
        row = phi.in_channels[0] * crop**2 + 2 * math.prod(shape)
        learner = _CropLearner(phi, crop, crops, zoom, stream.rows_in_memory(0, 4 * row, batch), len(stream))
        stream.run(learner, crop)
        network = network_for(phi, shape, width, crop, torch.Generator().manual_seed(stream.seed))
        weights = parameters_to_vector(network.parameters()).detach().numpy()
        image_mean = float(learner.arrays["images"].mean() / 255)
        model = cls(phi.to_config(), weights, *learner.moments(), image_mean, width, crop)
        _train(model, network.to(device), learner, stream, steps, batch, device)
        return replace(model, weights=learner.arrays["weights"])

    def dimensions(self, phi: Any) -> dict[str, int]:
        """Channels of the code."""
        return {"channels": phi.output_shape(self.crop, self.crop)[0]}

    def size_for(self, phi: Representation, code_shape: tuple[int, ...]) -> Size:
        """That of the training crops if codes have no positions, else the smallest with a code of this shape."""
        flat = is_flat(phi.output_shape(self.crop, self.crop))
        return (self.crop, self.crop) if flat else super().size_for(phi, code_shape)

    def reconstruct(self, phi: Representation, code: Floats, size: Size, count: int, seed: int) -> Floats:
        """The image (1, H, W, C) in [0, 1] of a code (h, w, D) or (D,)."""
        shape = phi.output_shape(self.crop, self.crop)
        network = network_for(phi, shape, self.width, self.crop, torch.Generator())
        if (count := sum(parameter.numel() for parameter in network.parameters())) != len(self.weights):
            raise ValueError(f"this upconv model does not fit: it has {len(self.weights)} weights, its network {count}")
        vector_to_parameters(torch.from_numpy(self.weights), network.parameters())
        if is_flat(shape) and code.size != shape[0]:
            raise ValueError(f"this upconv model was learned from crops of {self.crop} pixels, with codes of one "
                             f"position, but this one has {code.shape[0]}×{code.shape[1]}: learn it with a larger crop")
        with torch.no_grad():
            x = torch.from_numpy(np.moveaxis(code, -1, 0).astype(np.float32))[None]
            image = network(self.standardised(x), size) + self.image_mean
        return np.ascontiguousarray(image.clamp(0, 1).permute(0, 2, 3, 1).numpy())

    def start(self, phi: Representation, code: NDArray[Any] | Tensor, *, size: Size | None = None,
              seed: int = 0) -> Floats:
        """An image (H, W) or (H, W, C) for `unfeature.invert` to start from; its values may leave [0, 1].

        It is the network's image; for descriptors blind to contrast, with more contrast and a little noise of the
        spectrum of photographs, from which the descent comes nearer to the code. Parameters as those of `invert`.
        """
        guess = self.invert(phi, code, size=size).image
        if not phi.contrast_invariant:
            return guess
        x = image_to_tensor(guess)
        centre = phi.centre_like(x)
        fourier = Fourier(ImageSpec(x.shape[2], x.shape[3], centre), init_std=START_NOISE)
        noise = fourier.render(fourier.start([seed])) - centre
        contrasted = (x - x.mean()) * (START_CONTRAST / x.std().clamp_min(1e-2))
        return np.asarray(tensor_to_image(centre + contrasted + noise), dtype=np.float32)

    def standardised(self, codes: Tensor) -> Tensor:
        """asinh of codes whose channels are shifted and scaled as in training."""
        mean, scale = (torch.from_numpy(one).to(codes).view(-1, *(1,) * (codes.ndim - 2))
                       for one in (self.code_mean, self.code_scale))
        return torch.asinh((codes - mean) / scale)


class _CropLearner(Learner):
    """Keeps random crops, every other one mirrored, and their codes in units of `unit`; at most `most` in all."""

    encodes: ClassVar[bool] = False

    def __init__(self, phi: Representation, crop: int, crops: int, zoom: float, most: int, images: int) -> None:
        self.phi, self.crop, self.zoom, self.most = phi, crop, zoom, most
        self.crops = min(crops, max(1, most // images))
        shape = phi.output_shape(crop, crop)
        self.arrays = {"images": np.zeros((0, phi.in_channels[0], crop, crop), dtype=np.uint8),
                       "codes": np.zeros((0, *shape), dtype=np.float16), "unit": np.array(1.0, dtype=np.float32)}

    def see(self, image: Floats, code: Floats, rng: np.random.Generator) -> None:
        number = min(self.crops, self.most - len(self.arrays["images"]))
        if number == 0:
            return
        cut = np.stack([self._cut(image, rng, mirrored=k % 2 == 1) for k in range(number)])
        with torch.no_grad():
            codes = self.phi(torch.from_numpy(cut)).numpy()
        if len(self.arrays["images"]) == 0:
            self.arrays["unit"] = np.array(max(1.0, float(np.abs(codes).max()) / LARGEST_STORED), dtype=np.float32)
        stored = np.clip(codes / self.arrays["unit"], *HALF_PRECISION).astype(np.float16)
        self.append(images=to_bytes(cut), codes=stored)

    def moments(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation of each channel, at least a thousandth of the usual one."""
        codes = self.arrays["codes"].reshape(*self.arrays["codes"].shape[:2], -1)
        mean = np.mean([code.mean(axis=1, dtype=np.float64) for code in codes], axis=0)
        variance = np.mean([((code - mean[:, None]) ** 2).mean(axis=1) for code in codes], axis=0)
        deviation = np.sqrt(np.maximum(variance, max(1e-6 * variance.mean(), 1e-24)))
        unit = float(self.arrays["unit"])
        return (mean * unit).astype(np.float32), (deviation * unit).astype(np.float32)

    def _cut(self, image: NDArray[np.float32], rng: np.random.Generator, mirrored: bool) -> Floats:
        """A random crop (C, crop, crop), reduced from a larger one if zoom allows."""
        zoom = min(self.zoom, min(image.shape[:2]) / self.crop)
        side = self.crop if zoom <= 1 else int(self.crop * zoom ** rng.random())
        y, x = (int(rng.integers(n - side + 1)) for n in image.shape[:2])
        cut = np.atleast_3d(resize_longer(image[y : y + side, x : x + side], self.crop))
        return np.ascontiguousarray((cut[:, ::-1] if mirrored else cut).transpose(2, 0, 1))


def _train(model: Upconv, network: nn.Module, learner: Learner, stream: Stream, steps: int, batch: int,
           device: str) -> None:
    """Adam on batches of crops; all parameters are one vector, whose state the learner's arrays keep."""
    arrays, images = learner.arrays, len(stream)
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
    vector = torch.tensor(arrays.get("weights", model.weights), device=device, requires_grad=True)
    optimiser = torch.optim.Adam([vector], lr=RATE)
    begin = int(arrays.get("step", 0))
    if begin > 0:
        kept = {name: torch.from_numpy(arrays[name]).to(device) for name in MOMENTS}
        optimiser.state[vector] = {"step": torch.tensor(float(begin)), **kept}
    for step in range(begin, steps):
        rng = np.random.default_rng([stream.seed, images + step])
        chosen = rng.integers(len(arrays["images"]), size=batch)
        codes = torch.from_numpy(arrays["codes"][chosen].astype(np.float32) * arrays["unit"]).to(device)
        crops = torch.from_numpy(arrays["images"][chosen]).to(device).float() / 255
        optimiser.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / steps)) + 1e-5
        parts = vector.split([shape.numel() for shape in shapes.values()])
        weights = {name: part.view(shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}
        found = functional_call(network, weights, (model.standardised(codes), tuple(crops.shape[2:])))
        optimiser.zero_grad()
        F.mse_loss(found + model.image_mean, crops).backward()
        optimiser.step()
        stream.report(images + step + 1)
        due = stream.checkpoint_due
        if due or step + 1 == steps:
            state = {"weights": vector, **{name: optimiser.state[vector][name] for name in MOMENTS}}
            arrays |= {name: value.detach().cpu().numpy().copy() for name, value in state.items()}
            arrays["step"] = np.array(step + 1)
        if due:
            stream.checkpoint(learner, images, images)
