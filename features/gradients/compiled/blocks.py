"""HOG's block normalisation as an autograd function."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import refuse_second_derivatives
from .normalisation import DALAL_TRIGGS, DPM, UOCTTI, normalise, normalise_derivative
from .threads import in_bands

MODES = {"uoctti": UOCTTI, "dpm": DPM, "dalal-triggs": DALAL_TRIGGS}


def normalised_code(cells: Tensor, variant: str, dimensions: int, texture: bool, epsilon: float, clamp: float,
                    leak: float, texture_share: float) -> Tensor:
    """The code of `hog.HOG` from directed histograms of cells, (N, 2O, R, S)."""
    constants = epsilon, clamp, leak, 0.5, texture_share
    code: Tensor = _Blocks.apply(cells.permute(0, 2, 1, 3), MODES[variant], dimensions, texture, constants)
    return code


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cells: Tensor, variant: int, dimensions: int, texture: bool,
                constants: tuple[float, ...]) -> Tensor:
        ctx.save_for_backward(cells)
        h = cells.detach().contiguous().numpy()
        ctx.arguments = variant, texture, tuple(h.dtype.type(c) for c in constants)
        trim = 2 if variant == DPM else 0
        code = np.zeros((len(h), dimensions, h.shape[1] - trim, h.shape[3] - trim), h.dtype)
        in_bands(normalise, len(h), 1, h.size, h, *ctx.arguments, code)
        return torch.from_numpy(code)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        h = ctx.saved_tensors[0].detach().contiguous().numpy()
        out = np.empty_like(h)
        in_bands(normalise_derivative, len(h), 1, h.size, h, *ctx.arguments, gradient.contiguous().numpy(), out)
        return torch.from_numpy(out), None, None, None, None
