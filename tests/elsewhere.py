"""A pretended device: its tensors compute on the CPU, but as on any other device they may not meet those of the CPU.

Importing this registers the device with torch for good, so that only a process of its own should.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend


class _Module:
    """What torch asks of a device's Python module."""

    is_available = staticmethod(lambda: False)
    is_initialized = staticmethod(lambda: True)
    _is_in_bad_fork = staticmethod(lambda: False)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16])


_setup_privateuseone_for_python_backend("elsewhere", _Module())
DEVICE = torch.device("elsewhere:0")
COPIES = ("aten::_to_copy", "aten::copy_")
INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
DEPENDENT = ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::masked_select", "aten::_unique2")


class Away(Tensor):
    """A tensor of the pretended device, which holds one of the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Away:
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=DEVICE)
        made.held = held
        return made

    def __repr__(self) -> str:
        return f"Away({self.held!r})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} is called outside of the pretended device's mode")


class Elsewhere(TorchDispatchMode):
    """Where the pretended device exists; counts how often the host waits for it, in `waits`, by operation."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __enter__(self) -> Elsewhere:
        self.lifted_before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        torch._C._set_only_lift_cpu_tensors(self.lifted_before)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        away = [tensor for tensor in tensors if isinstance(tensor, Away)]
        device = kwargs.get("device")
        out = bool(away) if device is None else torch.device(device).type == DEVICE.type
        if name == "aten::copy_":
            out = isinstance(args[0], Away)
        elif name not in COPIES:
            refuse_mixture(name, tensors, bool(away))
        masked = name in INDEXED and any(t.dtype == torch.bool for t in tensors[1:])
        crosses = not out or (name in COPIES and len(away) < len(tensors))
        if (away or out) and (crosses or masked or name in DEPENDENT):
            self.waits[name] += 1
        if device is not None:
            kwargs = {**kwargs, "device": torch.device("cpu")}
        owners = {id(tensor.held): tensor for tensor in away}
        inner = tree_map_only(Away, lambda tensor: tensor.held, (args, kwargs))
        found = func(*inner[0], **inner[1])
        if any(tensor.shape != tensor.held.shape for tensor in away):
            raise NotImplementedError(f"{name} changes a shape in place")
        return tree_map_only(Tensor, lambda t: owners[id(t)] if id(t) in owners else Away(t), found) if out else found


def refuse_mixture(name: str, tensors: list[Tensor], away: bool) -> None:
    """Raise a RuntimeError where a device would: for tensors of both places, but for numbers and indices."""
    here = [t for t in (tensors[:1] if name in INDEXED else tensors) if not isinstance(t, Away) and t.ndim]
    if away and here:
        raise RuntimeError(f"{name}: tensors of the device meet one of the CPU, of shape {tuple(here[0].shape)}")
