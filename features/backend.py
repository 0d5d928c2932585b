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
PLAIN_TENSORS = (Tensor, torch.nn.Parameter)
TRACING_MODES = tuple(torch._C._TorchDispatchModeKey.__members__.values())

_current: ContextVar[str] = ContextVar("backend", default="compiled")


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Compute with one backend inside a ``with`` block: ``with uf.backend("torch"): ...``.

    Parameters
    ----------
    name : {"compiled", "torch"}
        "compiled" is the default: float32 and float64 tensors on the CPU take compiled passes; all others take plain
        torch, and so do second derivatives and whatever torch traces or transforms (torch.export, torch.func).
        "torch" takes plain torch for everything.

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
    """Whether compiled passes take this tensor here: float32 or float64, on the CPU, not under "torch" nor traced."""
    supported = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and type(x) in PLAIN_TENSORS
    return supported and _current.get() == "compiled" and not is_traced() and _numba_is_installed()


def is_traced(*tensors: Tensor) -> bool:
    """Whether torch traces or transforms what is computed here, so that tensors may have no values of their own.

    So it is under torch.compile, torch.export, FakeTensorMode, torch.func and forward-mode derivatives. Where autograd
    vectorises over upstream derivatives, only these tensors tell.
    """
    return (torch.compiler.is_compiling()
            or torch._C._functorch.peek_interpreter_stack() is not None
            or torch.autograd.forward_ad._current_level >= 0
            or (torch._C._len_torch_dispatch_stack() > 0
                and any(torch._C._get_dispatch_mode(mode) is not None for mode in TRACING_MODES))
            or any(map(torch._C._functorch.is_legacy_batchedtensor, tensors)))


def scalars(like: Tensor, *numbers: float) -> list[np.floating[Any]]:
    """Numbers of the tensor's precision, as compiled passes take them."""
    kind = np.float32 if like.dtype == torch.float32 else np.float64
    return [kind(number) for number in numbers]


@cache
def _numba_is_installed() -> bool:
    return importlib.util.find_spec("numba") is not None
