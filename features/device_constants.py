"""Constants on the device where they are used, made once: to send them there each time would wait for the device."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .backend import is_traced


def constant(values: tuple[Any, ...], like: Tensor) -> Tensor:
    """Nested tuples of numbers as a tensor with the dtype and device of another."""
    return cached_on_device(_numbers, (values,), like.device, like.dtype)


def cached_on_device(make: Callable[..., NDArray[Any]], arguments: tuple[Any, ...], device: torch.device,
                     dtype: torch.dtype | None = None) -> Tensor:
    """make(*arguments) on a device and, if one is given, of a dtype; made once, but for tensors that are traced."""
    return (_made if is_traced() else _cached)(make, arguments, device, dtype)


def _made(make: Callable[..., NDArray[Any]], arguments: tuple[Any, ...], device: torch.device,
          dtype: torch.dtype | None) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(make(*arguments)).to(device, dtype)


_cached = lru_cache(maxsize=256)(_made)


def _numbers(values: tuple[Any, ...]) -> NDArray[np.float64]:
    return np.array(values, np.float64)
