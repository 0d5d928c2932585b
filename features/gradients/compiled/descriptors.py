"""Fused SIFT descriptors as an autograd function."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from .sift import describe, describe_derivative
from .threads import in_bands

Layout = tuple[tuple[int, int], tuple[int, int]]


def descriptors(cells: Tensor, shape: tuple[int, ...], layout: Layout, weights: NDArray[np.float64], again: bool,
                constants: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Descriptors of the shape (D, h, w) from cells (N, 2O, R, S): codes (N, D, h, w), and sums (N, h, w) of what they
    are before normalisation.

    Parameters
    ----------
    cells : Tensor
    shape : tuple of int
    layout : tuple
        See `kernels.sift`.
    weights : ndarray (NY, NX)
        Of the spatial bins.
    again : bool
        Whether to normalise again after clamping.
    constants : tuple
        ε of the first and second normalisation, the clamp, the slope beyond it, and 0 or the square of a norm that
        counts as nothing, see `kernels.sift`; the derivative is that for 0.
    """
    code, total = _Descriptors.apply(cells.permute(0, 2, 1, 3), shape, layout, weights, again, constants)
    return code, total


class _Descriptors(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cells: Tensor, shape: tuple[int, ...], *arguments: Any) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(cells)
        ctx.arguments = arguments
        a = cells.detach().contiguous().numpy()
        code = np.empty((len(a), *shape), a.dtype)
        total = np.empty((len(a), *shape[1:]), a.dtype)
        in_bands(describe, len(a), shape[1], code[:, 0].size, *_operands(a, *arguments), code, total)
        return torch.from_numpy(code), torch.from_numpy(total)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_code: Tensor, by_total: Tensor) -> tuple[Tensor | None, ...]:
        (cells,) = ctx.saved_tensors
        a = cells.detach().contiguous().numpy()
        out = np.zeros_like(a)
        upstream = by_code.contiguous().numpy(), by_total.contiguous().numpy()
        in_bands(describe_derivative, len(a), 1, by_code[:, 0].numel(), *_operands(a, *ctx.arguments), *upstream, out)
        return torch.from_numpy(out), *(None,) * 5


def _operands(cells: NDArray[Any], layout: Layout, weights: NDArray[np.float64], again: bool,
              constants: tuple[float, ...]) -> tuple[Any, ...]:
    dtype = cells.dtype.type
    return cells, layout, weights.astype(dtype), again, tuple(dtype(value) for value in constants)
