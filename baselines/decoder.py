"""A decoder: a network that predicts the photograph from its code. Learning; `unfeature.inversion.decoder` decodes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfeature.features.base import Representation, code_to_tensor
from unfeature.features.checks import check_device
from unfeature.features.gradients.dsift import DSIFT
from unfeature.features.gradients.hog import HOG
from unfeature.inversion.decoder import DecoderModel, DecoderNetwork, Grid, nearest_pretrained, shipped
from unfeature.io.images import resize_longer, to_bytes

from .base import Baseline
from .decoder_training import COOL_DOWN, Augmentation, Photographs, Trainer, held_out_photographs, residual_spectrum
from .stream import Encoder, Floats, Learner, Size, Stream

SAMPLED_CROPS = 64
LEAST_DEVIATION = 1e-3
VECTORS = 8  # of all weights that training holds


@dataclass(eq=False, repr=False)
class Decoder(Baseline):
    r"""A U-Net that predicts the photograph from the code.

    It minimises the squared error of the pixels and half the absolute error of their gradients on 4 × 4 averages. For
    descriptors blind to contrast, photographs are standardised. The network works on a grid of about 8 pixels, with
    halvings and shortcuts; its channels become pixels in the end. The image may have any size.

    Attributes
    ----------
    model : DecoderModel
        The network, statistics of the codes, and the spectrum of its residual on held-out photographs.

    Notes
    -----
    Source of the problem: Dosovitskiy & Brox 2016. Differs: see `Upconv` for the paper's network.
    """

    model: DecoderModel

    @classmethod
    def learn_from(cls, stream: Stream, phi: Representation, *, family: bool = False, crop: int = 192,
                   smallest: int = 240, largest: int = 400, whole: float = 0.0, shifted: bool = False,
                   held_out: int = 40, width: int = 64, steps: int = 7500, batch: int = 8, every: int = 250,
                   patience: int = 12, init: Path | None = None, device: str | None = None,
                   report: Callable[[str], None] | None = None) -> Decoder:
        """Train on random crops: zoomed, mirrored, turned a little, with other tone curves.

        Parameters
        ----------
        family : bool
            Serve the close relatives of the descriptor, too: HOG (uoctti, dpm) with hard and bilinear bins, with and
            without texture; DSIFT of both variants.
        crop : int
            Pixels along one side of a training crop.
        smallest : int
            Least longer side to which a photograph is resized before it is cropped.
        largest : int
            Greatest longer side.
        whole : float
            Share of the batches, from 0 to 1, that show photographs nearly whole, in crops of crop² pixels that have
            their aspect ratio. Codes of whole photographs are then decoded better, as the network learns where things
            are in a photograph; it is enough to train the last steps so.
        shifted : bool
            Lay half of the codes half the network's coarsest cell further down, and half of them further to the right.
            The decoder then predicts the image of each code at both places, and decodes the mean.
        held_out : int
            Photographs that are not trained on, at most a tenth of all. They choose the weights, and tell the spectrum
            of the residual.
        width : int
            Channels at the finest resolution; up to twice as many at coarser ones.
        steps : int
            Steps of AdamW, which count as progress, too; the rate falls linearly over the last 40 %.
        batch : int
            Crops in each step.
        every : int
            Steps from one test on the held-out photographs to the next.
        patience : int
            Tests without a better correlation after which training ends.
        init : Path, optional
            A decoder of the same width to train further, on other crops; the rate then falls from the first step on.
            If it is for other descriptors, its inner layers are kept.
        device : str, optional
            Where to train, such as cpu or cuda; a GPU if there is one.
        report : callable, optional
            Called with a line of text after each test.
        """
        phis = relatives(phi) if family else [phi]
        for one in phis:
            one.output_shape(crop, crop)
        if not crop <= smallest <= largest:
            raise ValueError(f"crop ≤ smallest ≤ largest, got {crop}, {smallest} and {largest}")
        augmentation = Augmentation(crop, smallest, largest, whole)
        device = check_device(device)
        progress = stream.progress
        if progress is not None:
            stream.progress = lambda done, _: progress(done, len(stream) + steps)
        del stream.settings["device"], stream.settings["report"]
        stream.settings["init"] = None if init is None else hashlib.sha256(Path(init).read_bytes()).hexdigest()[:16]
        state = VECTORS * 4 * sum(p.numel() for p in _network(phis, crop, width).parameters())
        most = stream.rows_in_memory(state, phi.in_channels[0] * largest**2, 2)
        learner = PhotographLearner(largest, most)
        stream.run(learner, smallest=min(crop, 32))
        photographs = Photographs.split(learner.photographs, held_out)
        model = _untrained(phis, photographs, augmentation, width, stream.seed)
        model.network.shift = model.network.half_cell if shifted else 0
        before = {} if init is None else _train_further(model, DecoderModel.load(init))
        test = held_out_photographs(phis[0], photographs.held_out)
        trainer = Trainer(model, phis, photographs, augmentation, test, stream, learner, device)
        trainer.offset, trainer.cool_down = before.get("steps", 0), COOL_DOWN if init is None else 1.0
        history = trainer.run(steps, batch, every, patience, report or (lambda line: None))
        model.frequencies, model.spectrum = residual_spectrum(model, phis[0], test)
        model.facts = {"settings": stream.settings, "seed": stream.seed, "steps": before.get("steps", 0) + steps,
                       "history": history, "photographs": len(photographs.training),
                       "held_out": len(photographs.held_out)}
        return cls(phi.to_config(), model)

    @classmethod
    def shipped(cls) -> list[dict[str, Any]]:
        """``to_config()`` of the descriptors for which a decoder ships with the package."""
        return shipped()

    @classmethod
    def pretrained(cls, phi: Representation) -> Decoder:
        """The decoder that ships with the package for a descriptor; ValueError if there is none."""
        return cls(phi.to_config(), nearest_pretrained(phi))

    def decode(self, phi: Representation, code: NDArray[Any] | Tensor, size: Size | None = None) -> Floats:
        """The predicted image of a code, (H, W) or (H, W, C), not clipped to [0, 1]."""
        given, size = self.read_code(phi, code, size)
        found = self.model.decode(phi, code_to_tensor(given).float(), size)[0].permute(1, 2, 0).numpy()
        return np.ascontiguousarray(found[..., 0] if found.shape[2] == 1 else found)

    def reconstruct(self, phi: Representation, code: Floats, size: Size, count: int, seed: int) -> Floats:
        """The image (1, H, W, C) in [0, 1] of a code (h, w, D)."""
        found = self.model.decode(phi, code_to_tensor(code).float(), size)
        return np.ascontiguousarray(found.clamp(0, 1).permute(0, 2, 3, 1).numpy())

    def check(self, phi: Encoder) -> None:
        """Raise a ValueError unless this was learned for the descriptor."""
        self.model.which(phi)

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file, atomically, with the weights in half precision."""
        self.model.save(path)

    @classmethod
    def load(cls, path: str | Path, phi: Encoder | None = None) -> Decoder:
        """Read what `save` wrote; see `Baseline.load`."""
        model = DecoderModel.load(path)
        found = cls(model.descriptors[0] if phi is None else phi.to_config(), model)
        if phi is not None:
            found.check(phi)
        return found


class PhotographLearner(Learner):
    """Keeps photographs as bytes, one array each."""

    encodes = False

    def __init__(self, largest: int, most: int) -> None:
        self.largest, self.most, self.arrays = largest, most, {}

    def see(self, image: Floats, code: Floats, rng: np.random.Generator) -> None:
        """Keep one photograph, reduced to the largest side that is needed."""
        if (number := len(self.photographs)) < self.most:
            side = min(self.largest, max(image.shape[:2]))
            self.arrays[f"photograph.{number}"] = to_bytes(resize_longer(image, side))

    @property
    def photographs(self) -> list[NDArray[np.uint8]]:
        """All photographs, (H, W) or (H, W, 3)."""
        count = sum(name.startswith("photograph.") for name in self.arrays)
        return [self.arrays[f"photograph.{number}"] for number in range(count)]


def relatives(phi: Representation) -> list[Representation]:
    """The descriptor, and others whose codes have nearly the same content, in the same order of channels."""
    family: list[Representation] = []
    if isinstance(phi, HOG) and phi.variant in ("uoctti", "dpm"):
        family = [phi.replace(bilinear=bilinear, texture=texture)
                  for bilinear in (False, True) for texture in (True, False)]
    elif isinstance(phi, DSIFT):
        family = [phi.replace(variant=variant, window=window)
                  for variant, window in (("vlfeat", "gaussian"), ("vlfeat", "flat"), ("network", "flat"))]
    return [phi, *(other for other in family if other.to_config() != phi.to_config())]


def _train_further(model: DecoderModel, trained: DecoderModel) -> dict[str, Any]:
    """Give a model the weights of a trained one that fit; the facts of that.

    Where the codes differ, so may the input layer, whose first channels are kept if they see the same positions; where
    the cells do, the output layer.
    """
    own, given = model.network.state_dict(), trained.network.state_dict()
    inside = [name for name in own if not name.startswith(("enter.", "last."))]
    if any(own[name].shape != given[name].shape for name in inside):
        raise ValueError(f"the decoder to train further has width {trained.network.width}, not {model.network.width}: "
                         "give its width, or leave init out")
    for name, value in own.items():
        if value.shape == given[name].shape:
            value.copy_(given[name])
        elif name == "enter.weight" and value[:, 0].shape == given[name][:, 0].shape:
            common = min(value.shape[1], given[name].shape[1])
            value[:, :common] = given[name][:, :common]
    return trained.facts


def _network(phis: list[Representation], crop: int, width: int) -> DecoderNetwork:
    return DecoderNetwork([Grid.of(phi, crop) for phi in phis], phis[0].in_channels[0], width)


def _untrained(phis: list[Representation], photographs: Photographs, augmentation: Augmentation, width: int,
               seed: int) -> DecoderModel:
    """A model with first weights, and the statistics of the codes of some crops."""
    network = _network(phis, augmentation.crop, width)
    network.initialise(torch.Generator().manual_seed(seed))
    rng = np.random.default_rng([seed, 1])
    crops = torch.from_numpy(np.stack([augmentation.square(photographs.draw(rng), rng) for _ in range(SAMPLED_CROPS)]))
    means, scales = [], []
    for phi in phis:
        with torch.no_grad():
            codes = phi(crops).movedim(1, 0).flatten(1)
        means.append(codes.mean(1))
        scales.append(codes.std(1).clamp_min(LEAST_DEVIATION * float(codes.std() + 1e-12)))
    none = np.zeros(0, np.float32)
    return DecoderModel([phi.to_config() for phi in phis], network, means, scales, none, none,
                        phis[0].contrast_invariant)
