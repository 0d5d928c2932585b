"""The GPU's kernels prove themselves on each device before they are used there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from ..hog import HOG
from . import gpu_blocks, gpu_core

TOLERANCE = 3e-3


@cache
def proven(device: torch.device) -> bool:
    """Whether the kernels run on a device and give there what torch gives on the CPU, which is tried once.

    If they do not, a RuntimeWarning says why.
    """
    kinds = HOG(cell_size=4), HOG(cell_size=4, bilinear=True), HOG(cell_size=4, softness=0.3)
    try:
        if all(_agree(phi, device) for phi in kinds):
            return True
        problem = f"give other numbers on {device} than torch on the CPU"
    except Exception as error:
        problem = f"do not run on {device} ({type(error).__name__}: {error})"
    warnings.warn(f"the Triton kernels of HOG and SIFT {problem}: torch alone is used instead, which takes longer",
                  RuntimeWarning, stacklevel=2)
    return False


def compiled(phi: HOG, x: Tensor) -> Tensor:
    """The code of HOG by the kernels alone."""
    cells = gpu_core.oriented_cells(x, *phi.bands(*x.shape[-2:]), phi.bins, phi.scale)
    return gpu_blocks.normalised_code(cells, *phi.block_constants)


@torch.inference_mode(False)
def _agree(phi: HOG, device: torch.device) -> bool:
    phi.fused = False
    x = torch.rand((2, 3, 12, 20), generator=torch.Generator().manual_seed(0))
    found = _value_and_gradient(lambda image: compiled(phi, image), x.to(device))
    known = _value_and_gradient(phi, x.double())
    return all(bool((a - b).abs().max() <= TOLERANCE * b.abs().max()) for a, b in zip(found, known, strict=True))


@torch.enable_grad()
def _value_and_gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """On the CPU."""
    leaf = x.detach().requires_grad_()
    value = function(leaf)
    return value.detach().cpu(), torch.autograd.grad(value.square().sum(), leaf)[0].cpu()
