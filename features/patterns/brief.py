"""Binary descriptors on a dense grid: signs of intensity differences of a smoothed image, as in BRIEF."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, pad

from ..base import Representation
from ..checks import check_count, check_not_negative, check_positive, check_seed
from .lbp import CONTRAST, grey


class BRIEF(Representation):
    r"""Signs of intensity comparisons in patches on a dense grid.

    For each patch and each of B pairs of places (p, q) in it, the bit is +1 where S(p) < S(q) and −1 elsewhere, with
    S the image after a Gaussian. The pairs are the same in every patch, drawn once from the seed: both ends are
    independent, normal about the patch's centre with standard deviation patch_size / 5, rounded to pixels and
    clipped to the patch.

    Parameters
    ----------
    bits : int
        Number B of comparisons in a patch.
    patch_size : int
        Pixels along one side of a patch, at least 2.
    step : int
        Pixels between neighbouring patches.
    sigma : float
        Standard deviation of the Gaussian in pixels. It is cut at 3σ, the image continued by its border pixels.
    seed : int
        Seed of the pairs.
    softness : float
        Softness of a surrogate; 0 is the descriptor itself. Each bit becomes
        tanh((S(q) − S(p)) / (0.1 · softness)).

    Raises
    ------
    ValueError
        For impossible arguments; on encoding, for an image smaller than a patch.

    Notes
    -----
    Shape: (N, C, H, W) → (N, B, h, w), h = (H − patch_size) // step + 1; values −1 and +1. Colour is made grey with
    0.2989 R + 0.5870 G + 0.1140 B. The bits are the signs of a linear map of the image, `differences`.

    References
    ----------
    Calonder et al., ECCV 2010 (the second of its ways to draw pairs); d'Angelo, Alahi and Vandergheynst, ICPR 2012
    (the inversion).
    """

    taps: Tensor
    pairs: Tensor
    contrast_invariant = True

    def __init__(self, bits: int = 256, patch_size: int = 32, step: int = 8, sigma: float = 2.0, seed: int = 0,
                 softness: float = 0.0) -> None:
        super().__init__()
        if patch_size < 2:
            raise ValueError(f"patch_size is at least 2, got {patch_size!r}")
        self.bits, self.step = check_count("bits", bits, 2**16), check_count("step", step)
        self.patch_size, self.seed = check_count("patch_size", patch_size), check_seed(seed)
        self.sigma, self.softness = check_positive("sigma", sigma, most=100), check_not_negative("softness", softness)
        self.stride = step
        self.reach = int(np.ceil(3 * sigma))
        self.receptive_field = patch_size + 2 * self.reach
        taps = np.exp(-0.5 * (np.arange(-self.reach, self.reach + 1) / sigma) ** 2)
        self.register_buffer("taps", torch.from_numpy(taps / taps.sum()), persistent=False)
        self.register_buffer("pairs", torch.from_numpy(_pairs(bits, patch_size, seed)), persistent=False)

    def output_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(B, patches down, patches across)."""
        if min(height, width) < self.patch_size:
            raise ValueError(f"an image of {height} × {width} pixels is smaller than one patch of "
                             f"{self.patch_size} × {self.patch_size}")
        return (self.bits, (height - self.patch_size) // self.step + 1, (width - self.patch_size) // self.step + 1)

    def image_size_for(self, code_shape: tuple[int, ...]) -> tuple[int, int]:
        """(h − 1) · step + patch_size, and so for the width."""
        h, w = ((n - 1) * self.step + self.patch_size for n in self._grid_of(code_shape, self.bits))
        return (h, w)

    def differences(self, x: Tensor) -> Tensor:
        """S(q) − S(p) for every patch and pair, (N, C, H, W) → (N, B, h, w): a linear map of the image."""
        _, h, w = self.output_shape(*x.shape[-2:])
        taps, r = self.taps.to(x), self.reach
        smooth = conv2d(pad(grey(x), (r, r, r, r), mode="replicate"), taps[None, None, :, None])
        smooth = conv2d(smooth, taps[None, None, None, :])[:, 0]
        rows, columns = (self.step * torch.arange(n, device=x.device) for n in (h, w))
        p, q = (smooth[:, end[:, 0, None, None] + rows[:, None], end[:, 1, None, None] + columns]
                for end in self.pairs.unbind(1))
        return q - p

    def forward(self, x: Tensor) -> Tensor:
        """Encode a batch: (N, C, H, W) → (N, B, h, w)."""
        d = self.differences(x)
        if self.softness > 0:
            return torch.tanh(d / (CONTRAST * self.softness))
        return torch.where(d > 0, 1.0, -1.0).to(d) + 0 * d


def _pairs(bits: int, patch_size: int, seed: int) -> NDArray[np.int64]:
    """Pairs (B, 2, 2) of places, row and column, in a patch; the two ends of a pair differ."""
    rng = np.random.default_rng(seed)
    pairs = np.empty((0, 2, 2), dtype=np.int64)
    while len(pairs) < bits:
        drawn = np.rint(rng.normal((patch_size - 1) / 2, patch_size / 5, (2 * bits, 2, 2))).astype(np.int64)
        drawn = drawn.clip(0, patch_size - 1)
        pairs = np.concatenate([pairs, drawn[(drawn[:, 0] != drawn[:, 1]).any(axis=1)]])
    return pairs[:bits]
