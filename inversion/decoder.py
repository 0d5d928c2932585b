"""Decoders: networks that predict the photograph from its code, and files that hold them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from unfeature.features.base import Representation, described, differences
from unfeature.io.schema import Field, Schema, Value, check_fields
from unfeature.io.tensors import save_tensors, stored_header

CONTRAST = 0.2
COARSEST_ENTRY = 8
WIDER = (1, 1.5, 1.75, 2)
FIRST_SCALE = 0.3
WEIGHTS = Path(__file__).parent / "weights"
Shift = tuple[int, int]
"""By how many positions a code is laid further down and to the right."""
UNMOVED = (0, 0)
KIND, VERSION = "decoder model", 1
HEADER: Schema = {"kind": Value(str), "version": Value(int), "descriptors": Value(list), "network": Value(dict),
                  "centred": Value(bool), "facts": Value(dict)}
NETWORK: Schema = {"grids": Value(list), "channels": Value(int, 1, 16), "width": Value(int, 1, 1024),
                   "shift": Value(int, 0, 1024, optional=True)}
CURVE = {name: Field("float32", ("bins",), 1e-30) for name in ("frequencies", "spectrum")}


@dataclass(frozen=True)
class Grid:
    """Where the positions of a code lie in its image.

    Attributes
    ----------
    depth, stride : int
        D, and pixels between positions.
    centre : float
        Row and column, in pixels, of the first position.
    """

    depth: int
    stride: int
    centre: float

    @classmethod
    def of(cls, phi: Representation, side: int) -> Grid:
        """The grid of a descriptor's codes of square images."""
        return cls(phi.output_shape(side, side)[0], phi.stride, float(phi.position_centres(side, side)[0][0]))

    @property
    def margin(self) -> int:
        """Positions that are missing before the first one, if the grid is to begin at the image's border."""
        return max(0, math.ceil((self.centre + 0.5) / self.stride - 0.5))

    @property
    def first(self) -> int:
        """The image's first pixel on the grid that has the margin."""
        return round(self.margin * self.stride - (self.centre - (self.stride - 1) / 2))


class Residual(nn.Module):
    """Two 3×3 convolutions about a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        shifted: Tensor = x + self.second(F.gelu(self.first(F.gelu(x))))
        return shifted


class DecoderNetwork(nn.Module):
    """A U-Net on the grid of a code, whose channels become pixels in the end.

    It may serve several descriptors with nearly the same codes; channels that one lacks at the end are zero. Codes
    finer than 8 pixels are first reduced, and each position of codes of 16 and more is unfolded into a few.
    Positions beyond the code are zero, and a channel of ones tells them apart. The code may be laid further down and to
    the right: the halvings then join other cells, and the prediction differs a little. `shift` is by how many positions
    some codes were laid so in training; 0 if none was.
    """

    def __init__(self, grids: Sequence[Grid], channels: int, width: int, shift: int = 0) -> None:
        super().__init__()
        stride, widths = grids[0].stride, [int(width * factor) for factor in WIDER]
        self.grids, self.width, self.shift = tuple(grids), width, shift
        self.reduction = max(1, COARSEST_ENTRY // stride)
        self.expansion = max(e for e in range(1, max(1, stride // COARSEST_ENTRY) + 1) if stride % e == 0)
        self.cell = stride * self.reduction // self.expansion
        self.depth = max(grid.depth for grid in grids)
        self.enter: nn.Conv2d | nn.ConvTranspose2d = (
            nn.Conv2d(self.depth + 1, widths[0], self.reduction + 2, self.reduction, padding=1)
            if self.expansion == 1 else nn.ConvTranspose2d(self.depth + 1, widths[0], self.expansion, self.expansion))
        self.encode = nn.ModuleList(Residual(width) for width in widths)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.decode = nn.ModuleList(Residual(width) for width in widths[:-1])
        self.last = nn.Conv2d(widths[0], channels * self.cell**2, 3, padding=1)

    @property
    def half_cell(self) -> int:
        """Half the coarsest cell, in positions of the code."""
        return max(1, round((1 << len(self.down)) / 2 * self.reduction / self.expansion))

    def cells(self, positions: int, which: int, pixels: int, shift: int = 0) -> int:
        """Cells along a side of the whole grid, a multiple of the coarsest one, from those of a code and its image."""
        grid, coarsest = self.grids[which], 1 << len(self.down)
        reach = shift + max(-(-(pixels + grid.first) // grid.stride), grid.margin + positions)
        return -(-reach * self.expansion // (self.reduction * coarsest)) * coarsest

    def entered(self, code: Tensor, which: int, size: tuple[int, int], shift: Shift = UNMOVED) -> Tensor:
        """What the first layer makes of codes (N, D, h, w) of one descriptor, on the whole grid of images of a size."""
        grid, cells, after = self.grids[which], [], []
        before = [grid.margin + moved for moved in shift]
        for k, (positions, pixels) in enumerate(zip(code.shape[2:], size, strict=True)):
            cells.append(self.cells(positions, which, pixels, shift[k]))
            after.append(-(-cells[-1] * self.reduction // self.expansion) - before[k] - positions)
        missing = code.new_zeros(len(code), self.depth - grid.depth, *code.shape[2:])
        whole = torch.cat([torch.ones_like(code[:, :1]), code, missing], 1)
        padded = F.pad(whole, (before[1], after[1], before[0], after[0]))
        found: Tensor = self.enter(padded)[:, :, : cells[0], : cells[1]]
        return found

    def features(self, codes: Sequence[tuple[int, Tensor]], size: tuple[int, int], shift: Shift = UNMOVED) -> Tensor:
        """What the last layer receives, (N, width, h', w') on the whole grid of images of a size."""
        x: Tensor = torch.cat([self.entered(code, which, size, shift) for which, code in codes])
        passed = []
        for encode, down in zip(self.encode, self.down, strict=False):
            passed.append(encode(x))
            x = down(passed[-1])
        x = self.encode[-1](x)
        for up, decode in reversed(list(zip(self.up, self.decode, strict=True))):
            x = decode(passed.pop() + F.interpolate(up(x), scale_factor=2.0, mode="bilinear", align_corners=False))
        return x

    def pixels(self, channels: Tensor, codes: Sequence[tuple[int, Tensor]], size: tuple[int, int],
               shift: Shift = UNMOVED) -> Tensor:
        """Channels of the whole grid, (N, C · cell², h', w'), as images (N, C, H, W) of a size."""
        whole = F.pixel_shuffle(channels, self.cell)
        images, begin = [], 0
        for which, code in codes:
            top, left = (self.grids[which].first + moved * self.grids[which].stride for moved in shift)
            images.append(whole[begin : begin + len(code), :, top : top + size[0], left : left + size[1]])
            begin += len(code)
        return torch.cat(images)

    def forward(self, codes: Sequence[tuple[int, Tensor]], size: tuple[int, int], shift: Shift = UNMOVED) -> Tensor:
        """Images (N, C, H, W), about zero and in units of a photograph's contrast.

        The standardised codes come with the number of their descriptor. If there are several descriptors, their grids
        have the same size once each has its margin.
        """
        return self.pixels(self.last(self.features(codes, size, shift)), codes, size, shift)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights: normal, of variance 1/3 over the number of inputs; residual branches begin smaller."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                inputs = module.in_channels if isinstance(module, nn.ConvTranspose2d) else module.weight[0].numel()
                nn.init.normal_(module.weight, 0, (3 * inputs) ** -0.5, generator=generator)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, Residual):
                    module.second.weight.mul_(FIRST_SCALE)


@dataclass(eq=False)
class DecoderModel:
    """A trained network with all that decoding needs.

    Attributes
    ----------
    descriptors : list of dict
        ``to_config()`` of the descriptors whose codes it takes.
    network : DecoderNetwork
    code_means, code_scales : list of Tensor (D,)
        Of each descriptor's channels, by which codes are standardised.
    frequencies, spectrum : ndarray (K,)
        Radial frequencies in cycles a pixel, and the mean power of the residual there on held-out photographs: of the
        coefficients of an orthonormal Fourier transform of the photograph, at standard deviation 0.2, less `predict`.
    centred : bool
        Whether images are about the descriptor's centre with zero mean, as contrast and brightness are unknown.
    facts : dict
        What is known of the training.
    """

    descriptors: list[dict[str, Any]]
    network: DecoderNetwork
    code_means: list[Tensor]
    code_scales: list[Tensor]
    frequencies: NDArray[np.float32]
    spectrum: NDArray[np.float32]
    centred: bool
    facts: dict[str, Any] = field(default_factory=dict)
    digest: str = ""

    def which(self, phi: Any) -> int:
        """The input layer of a descriptor; ValueError if there is none."""
        config = phi.to_config()
        if config not in self.descriptors:
            found = min((differences(own, config) for own in self.descriptors), key=len)
            raise ValueError(f"this decoder model was learned for another descriptor ({found}): "
                             "learn one for yours, or use the model's descriptor")
        return self.descriptors.index(config)

    def standardised(self, codes: Tensor, which: int) -> Tensor:
        """asinh of codes whose channels are shifted and scaled as in training."""
        mean, scale = (one.to(codes).view(-1, 1, 1) for one in (self.code_means[which], self.code_scales[which]))
        return torch.asinh((codes - mean) / scale)

    def decode(self, phi: Representation, codes: Tensor, size: tuple[int, int]) -> Tensor:
        """The images (N, C, H, W) of codes (N, D, h, w) of images of a size: the mean of two predictions, or four.

        One of two is the mirror image of what the network predicts for the mirrored code. It is left out where a
        descriptor's codes are not mirrored by an order of their channels. If codes were laid further down and to the
        right in training, both are predicted for such codes, too.
        """
        shifts = {(0, 0), (self.network.shift, self.network.shift)}
        return torch.stack([self._both(phi, codes, size, shift) for shift in sorted(shifts)]).mean(0)

    def _both(self, phi: Representation, codes: Tensor, size: tuple[int, int], shift: Shift) -> Tensor:
        """The mean of what is predicted for codes and for the mirrored ones."""
        images, order = self.predict(phi, codes, size, shift), phi.mirrored_channels
        if order is None:
            return images
        columns = phi.position_centres(*size)[1]
        seen = size[1] + round(columns[0] + columns[-1] - (size[1] - 1))
        mirrored = codes[:, torch.from_numpy(order).to(codes.device)].flip(3)
        other = self.predict(phi, mirrored, (size[0], seen), shift).flip(3)[..., : size[1]]
        difference = F.pad(other - images[..., :seen], (0, max(0, size[1] - seen), 0, 0), mode="replicate")
        return images + difference / 2

    @torch.no_grad()
    def predict(self, phi: Representation, codes: Tensor, size: tuple[int, int], shift: Shift = UNMOVED) -> Tensor:
        """The images (N, C, H, W) that the network gives for codes (N, D, h, w) of images of a size."""
        which = self.which(phi)
        network = self.network.to(codes.device)
        images = network([(which, self.standardised(codes.float(), which))], size, shift)
        if self.centred:
            images = images - images.mean((1, 2, 3), keepdim=True)
        found: Tensor = phi.centre_like(images, images.shape[1]) + CONTRAST * images
        return found.to(codes.dtype)

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file, with the weights in half precision."""
        tensors = {name: value.half() for name, value in self.network.state_dict().items()}
        for k, (mean, scale) in enumerate(zip(self.code_means, self.code_scales, strict=True)):
            tensors |= {f"code_mean.{k}": mean, f"code_scale.{k}": scale}
        tensors |= {"frequencies": torch.from_numpy(self.frequencies), "spectrum": torch.from_numpy(self.spectrum)}
        network = self.network
        shape = {"grids": [[g.depth, g.stride, g.centre] for g in network.grids],
                 "channels": network.last.out_channels // network.cell**2,
                 "width": network.width, "shift": network.shift}
        header = {"kind": KIND, "version": VERSION, "descriptors": self.descriptors, "network": shape,
                  "centred": self.centred, "facts": self.facts}
        save_tensors(path, header, tensors)

    @classmethod
    def load(cls, path: str | Path) -> DecoderModel:
        """Read what `save` wrote; FileNotFoundError, or ValueError if the file is damaged or holds something else."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        header = read_header(path)
        if header.get("version") != VERSION:
            raise ValueError(f"{path} has version {header.get('version')} of the decoder model, "
                             f"this release reads version {VERSION}: learn it again")
        check_fields(path, header, HEADER)
        check_fields(path, header["network"], NETWORK)
        descriptors, data = _descriptors_of(path, header), Path(path).read_bytes()
        try:
            tensors = load(data)
            shape = header["network"]
            network = DecoderNetwork([_read_grid(*grid) for grid in shape["grids"]], shape["channels"], shape["width"],
                                     shape.get("shift", 0))
        except (SafetensorError, TypeError, ValueError, IndexError, ArithmeticError, RuntimeError) as error:
            raise ValueError(f"{path} is damaged: {str(error).splitlines()[0]}; learn the model again") from error
        if len(descriptors) != len(network.grids):
            raise ValueError(f"{path} is damaged: {len(descriptors)} descriptors, but {len(network.grids)} grids")
        schema = {name: Field(shape=tuple(value.shape)) for name, value in network.state_dict().items()} | CURVE
        for k, grid in enumerate(network.grids):
            schema |= {f"code_mean.{k}": Field(shape=(grid.depth,)),
                       f"code_scale.{k}": Field(shape=(grid.depth,), low=1e-30)}
        check_fields(path, {name: value.numpy() for name, value in tensors.items()}, schema)
        if not len(tensors["frequencies"]) or (tensors["frequencies"].diff() <= 0).any():
            raise ValueError(f"{path} is damaged: the frequencies of its spectrum do not ascend; learn the model again")
        network.load_state_dict({name: tensors[name].float() for name in network.state_dict()})
        means, scales = ([tensors[f"{name}.{k}"] for k in range(len(descriptors))]
                         for name in ("code_mean", "code_scale"))
        return cls(descriptors, network.eval(), means, scales, tensors["frequencies"].numpy(),
                   tensors["spectrum"].numpy(), header["centred"], header["facts"],
                   hashlib.sha256(data).hexdigest()[:16])


def _read_grid(depth: Any, stride: Any, centre: Any) -> Grid:
    """A grid of a file; ValueError for numbers that no descriptor has."""
    fields = {"depth": Value(int, 1, 65536), "stride": Value(int, 1, 1024), "centre": Value(float, -1e4, 1e4)}
    check_fields("a grid", {"depth": depth, "stride": stride, "centre": centre}, fields)
    return Grid(depth, stride, centre)


def read_header(path: str | Path) -> dict[str, Any]:
    """What a file of `DecoderModel.save` says of itself."""
    header = stored_header(path, KIND)
    if header.get("kind") != KIND:
        raise ValueError(f"{path} is a file of kind {header.get('kind')!r}: give one of kind {KIND!r}")
    return header


def pretrained(phi: Representation) -> DecoderModel | None:
    """The decoder for a descriptor that ships with the package; None if there is none."""
    config = phi.to_config()
    found = (path for path in _shipped() if config in _descriptors(path))
    return next((_loaded(path) for path in found), None)


def nearest_pretrained(phi: Representation) -> DecoderModel:
    """As `pretrained`; where there is none, a ValueError says for which descriptor there is the nearest."""
    if (model := pretrained(phi)) is None:
        raise none_ships("decoder", phi, shipped())
    return model


def none_ships(method: str, phi: Any, known: Sequence[dict[str, Any]]) -> ValueError:
    """The error that no model ships for a descriptor; it names the nearest among those known."""
    nearest = min((differences(config, phi.to_config()) for config in known), key=len, default="none ships")
    return ValueError(f"no {method} ships with unfeature for {phi!r}; the nearest is for another descriptor "
                      f"({nearest}): learn one with `unfeature learn {method}`")


def shipped() -> list[dict[str, Any]]:
    """``to_config()`` of the descriptors for which a decoder ships with the package."""
    return [config for path in _shipped() for config in _descriptors(path)]


def _shipped() -> list[Path]:
    return sorted(WEIGHTS.glob("*.safetensors"))


@lru_cache
def _descriptors(path: Path) -> list[dict[str, Any]]:
    return _descriptors_of(path, read_header(path))


def _descriptors_of(path: str | Path, header: dict[str, Any]) -> list[dict[str, Any]]:
    """The descriptors of a file, with the defaults of options that are newer than it."""
    return [described(path, config).to_config() for config in header["descriptors"]]


@lru_cache(maxsize=4)
def _loaded(path: Path) -> DecoderModel:
    return DecoderModel.load(path)
