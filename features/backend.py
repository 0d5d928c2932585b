"""The choice between the passes that Numba compiles and plain torch, for descriptors and inversions alike."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .checks import check_choice

BACKENDS = ("compiled", "torch")

_current: ContextVar[str] = ContextVar("backend", default="compiled")


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Compute with one backend inside a ``with`` block: ``with uf.backend("torch"): ...``.

    Parameters
    ----------
    name : {"compiled", "torch"}
        "compiled" is the default: float32 and float64 tensors on the CPU take compiled passes, all others plain
        torch. "torch" takes plain torch for everything, which can be differentiated twice.

    Raises
    ------
    ValueError
        For an unknown name.

    Notes
    -----
    Blocks may be nested; the innermost counts, and every descriptor in it follows, copies and surrogates too. A
    forward pass decides for its backward pass, wherever that runs. A new thread or process starts with the default.
    """
    check_choice("backend", name, BACKENDS)
    token = _current.set(name)
    try:
        yield
    finally:
        _current.reset(token)


def uses_compiled(x: Tensor) -> bool:
    """Whether compiled passes take this tensor here: float32 or float64, on the CPU, and not under "torch"."""
    supported = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
    return supported and _current.get() == "compiled" and _numba_is_installed()


def scalars(like: Tensor, *numbers: float) -> list[np.floating[Any]]:
    """Numbers of the tensor's precision, as compiled passes take them."""
    kind = np.float32 if like.dtype == torch.float32 else np.float64
    return [kind(number) for number in numbers]


@cache
def _numba_is_installed() -> bool:
    return importlib.util.find_spec("numba") is not None
