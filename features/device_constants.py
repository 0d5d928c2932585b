"""Constants on the device where they are used, made once: to send them there each time would wait for the device."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor


def constant(values: tuple[Any, ...], like: Tensor) -> Tensor:
    """Nested tuples of numbers as a tensor with the dtype and device of another."""
    return cached_on_device(_numbers, (values,), like.device, like.dtype)


@lru_cache(maxsize=256)
def cached_on_device(make: Callable[..., Tensor], arguments: tuple[Any, ...], device: torch.device,
                     dtype: torch.dtype | None = None) -> Tensor:
    """make(*arguments) on a device and, if one is given, of a dtype."""
    with torch.inference_mode(False):
        return make(*arguments).to(device, dtype)


def _numbers(values: tuple[Any, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
