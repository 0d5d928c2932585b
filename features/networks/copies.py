"""Frozen copies of a network, which leave the original alone and run in one thread each."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..backend import is_traced

Key = tuple[torch.device, torch.dtype]


@torch.inference_mode(False)
def frozen(module: nn.Module, convert: Callable[[Tensor], Tensor] = lambda t: t, *,
           own_buffers: bool = False) -> nn.Module:
    """A copy of a module in evaluation mode whose parameters are buffers, each converted from the original's tensor.

    By default the copy shares the memory of all tensors, and the buffers of a frozen module themselves, so that both
    are pickled once; with own buffers, it shares the memory of the parameters alone, because a forward pass may write
    to buffers. Hooks on the module are copied: they may be a part of what it computes. A module
    that cannot be copied is a ValueError.
    """
    kind = type(module).__name__
    lazy = next((name for name, p in chain(module.named_parameters(), module.named_buffers()) if is_lazy(p)), None)
    if lazy:
        raise ValueError(f"the weights {lazy} of {kind} have no shape yet: run it once on an image first")
    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        raise ValueError(f"the module {kind} is compiled by TorchScript, whose parts cannot be copied: give the module "
                         "that it was made from")
    memo = {id(t): _normal(convert(_plain(t))) for t in chain(module.parameters(), module.buffers())}
    written = chain(_computed(module), module.buffers() if own_buffers else ())
    memo |= {id(t): convert(t.detach()).clone() for t in written}
    try:
        twin = copy.deepcopy(module, memo)
        twin.eval()
    except Exception as error:
        raise ValueError(f"the module {kind} cannot be copied ({error}): set the attribute that holds it to None, or "
                         "give the module a __deepcopy__, as copy.deepcopy(module) must work") from error
    for part in twin.modules():
        part.training = False
        for name, tensor in list(part._parameters.items()):
            if tensor is not None:
                del part._parameters[name]
                part.register_buffer(name, tensor)
    return twin


def _plain(tensor: Tensor) -> Tensor:
    """A tensor without gradient that is no parameter; the same object if it is so already."""
    return tensor.detach() if tensor.requires_grad or isinstance(tensor, nn.Parameter) else tensor


def _normal(tensor: Tensor) -> Tensor:
    """A tensor that autograd may save, unlike one made in inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor


def _computed(module: nn.Module) -> Iterator[Tensor]:
    """Results of earlier passes that parts of a module keep as attributes, as weight normalisation does."""
    for part in module.modules():
        yield from (value for value in vars(part).values() if isinstance(value, Tensor) and value.grad_fn is not None)


class Copies:
    """Copies of a frozen network with shared weights, of which every pass has one to itself.

    A pass may write to attributes of its modules, and a hook fires in every pass through its module. So passes that run
    at the same time need modules of their own. One after the other, all run the network itself.
    """

    def __init__(self, network: nn.Module) -> None:
        self._never_run = {_key_of(network): frozen(network)}
        self._idle = {_key_of(network): deque([network])}
        self._network = network

    def new(self) -> nn.Module:
        """A new copy, on the device and in the precision of the network."""
        return frozen(next(iter(self._never_run.values())))

    @contextmanager
    def lend(self, like: Tensor) -> Iterator[nn.Module]:
        """A copy on the device and in the precision of a tensor, which nothing else runs meanwhile.

        What is made while torch traces is not kept.
        """
        key = like.device, like.dtype
        idle = self._idle.setdefault(key, deque())
        try:
            network = idle.popleft()
        except IndexError:
            network = frozen(self._template(key))
        try:
            yield network
        finally:
            if not is_traced() or key in self._never_run:
                (idle.appendleft if network is self._network else idle.append)(network)

    def _template(self, key: Key) -> nn.Module:
        """The network on a device and in a precision, from which copies are made."""
        if key in self._never_run:
            return self._never_run[key]
        device, dtype = key
        own = next(iter(self._never_run.values()))
        found = frozen(own, lambda t: t.to(device, dtype if t.is_floating_point() else None))
        return found if is_traced() else self._never_run.setdefault(key, found)


def _key_of(network: nn.Module) -> Key:
    """The device and precision of a network's weights."""
    weight = next((b for b in network.buffers() if b.is_floating_point()), torch.zeros(0))
    return weight.device, weight.dtype
