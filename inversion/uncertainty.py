"""How far a decoder's prediction is from the photograph: a second, small network that predicts the standard deviation.

The network reads what the decoder's last layer reads. It is learned by `unfeature.baselines.uncertainty` after the
decoder, which stays as it is, and has a file of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unfeature.features.base import Representation
from unfeature.io.schema import Field, Schema, Value, check_fields
from unfeature.io.tensors import save_tensors, stored_header

from .decoder import CONTRAST, WEIGHTS, DecoderModel

HIDDEN = 24
LARGEST_LOG = 8.0
KIND, VERSION = "uncertainty model", 1
HEADER: Schema = {"kind": Value(str, choices=(KIND,)), "version": Value(int, choices=(VERSION,)),
                  "decoder": Value(str), "width": Value(int, 1, 1024), "cell": Value(int, 1, 1024),
                  "facts": Value(dict)}


class UncertaintyNetwork(nn.Module):
    """Two 3×3 convolutions from the decoder's last features, (N, width, h', w'), to log σ², (N, cell², h', w')."""

    def __init__(self, width: int, cell: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, HIDDEN, 3, padding=1)
        self.second = nn.Conv2d(HIDDEN, cell**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """The logarithm of the variance, in units of a photograph's contrast, as channels of the grid."""
        found: Tensor = self.second(F.gelu(self.first(F.gelu(x))))
        return found.clamp(-LARGEST_LOG, LARGEST_LOG)


@dataclass(eq=False)
class Uncertainty:
    r"""The standard deviation of photographs about a decoder's prediction, at each pixel.

    σ(u, v) minimises the mean of (y − g)² / σ² + log σ² over photographs y and predictions g: the likelihood of a
    Gaussian residual, as in Kendall & Gal 2017. Differs: the decoder is learned first and kept.

    Attributes
    ----------
    network : UncertaintyNetwork
    decoder : str
        Digest of the decoder that it belongs to.
    facts : dict
        What is known of the training.
    """

    network: UncertaintyNetwork
    decoder: str
    facts: dict[str, Any] = field(default_factory=dict)

    def log_variance(self, model: DecoderModel, codes: list[tuple[int, Tensor]], size: tuple[int, int]) -> Tensor:
        """log σ², (N, 1, H, W), of standardised codes with the numbers of their descriptors."""
        network = self.network.to(codes[0][1].device)
        with torch.no_grad():
            features = model.network.to(codes[0][1].device).features(codes, size)
        return model.network.pixels(network(features), codes, size)

    @torch.no_grad()
    def std(self, model: DecoderModel, phi: Representation, codes: Tensor, size: tuple[int, int]) -> Tensor:
        """σ of images in [0, 1] whose photographs have standard deviation 0.2, (N, 1, H, W), of codes (N, D, h, w)."""
        which = model.which(phi)
        logs = self.log_variance(model, [(which, model.standardised(codes.float(), which))], size)
        found: Tensor = CONTRAST * (0.5 * logs).exp()
        return found.to(codes.dtype)

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file, in half precision."""
        network = self.network
        header = {"kind": KIND, "version": VERSION, "decoder": self.decoder, "width": network.first.in_channels,
                  "cell": round(network.second.out_channels**0.5), "facts": self.facts}
        save_tensors(path, header, {name: value.half() for name, value in network.state_dict().items()})

    @classmethod
    def load(cls, path: str | Path) -> Uncertainty:
        """Read what `save` wrote; FileNotFoundError, or ValueError if the file is damaged or holds something else."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        header = read_header(path)
        try:
            tensors = load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged: {str(error).splitlines()[0]}; learn the model again") from error
        network = UncertaintyNetwork(header["width"], header["cell"])
        shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        check_fields(path, tensors, {name: Field("float16", shape) for name, shape in shapes.items()})
        network.load_state_dict({name: torch.from_numpy(tensors[name]).float() for name in shapes})
        return cls(network.eval(), header["decoder"], header["facts"])


def read_header(path: str | Path) -> dict[str, Any]:
    """What a file of `Uncertainty.save` says of itself."""
    header = stored_header(path, KIND)
    check_fields(path, header, HEADER)
    return header


@lru_cache(maxsize=4)
def uncertainty_of(decoder: str) -> Uncertainty | None:
    """What ships with the package for the decoder of this digest; None if there is nothing."""
    found = (path for path in sorted((WEIGHTS / "uncertainty").glob("*.safetensors"))
             if read_header(path)["decoder"] == decoder)
    return next((Uncertainty.load(path) for path in found), None)
