"""Compiled kernels of the core that HOG and SIFT share; Numba is imported when the first one is called."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor


@cache
def available() -> bool:
    """Whether the kernels can be compiled here."""
    return importlib.util.find_spec("numba") is not None


def fits(x: Tensor) -> bool:
    """Whether the kernels take this tensor: float32 or float64, on the CPU."""
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and available()


def scalars(like: Tensor, *numbers: float) -> list[np.floating[Any]]:
    """Numbers of the tensor's precision, as the kernels take them."""
    kind = np.float32 if like.dtype == torch.float32 else np.float64
    return [kind(number) for number in numbers]


def refuse_second_derivatives() -> None:
    """Raise a RuntimeError when a backward pass is itself being recorded."""
    if torch.is_grad_enabled():
        raise RuntimeError("the compiled kernels cannot be differentiated twice (create_graph=True): "
                           "set phi.fused = False, which computes the descriptor with torch alone")
