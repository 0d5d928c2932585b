"""Evaluations that a CUDA device repeats by itself: their launches are recorded, proven and replayed as one.

Small batches keep the device busy for less time than the host needs to launch them. A recording that cannot be made,
or that gives other numbers, is given up with a RuntimeWarning, and every function is called as it is from then on.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]
Function = Callable[..., Tensors]

FEWEST = 10
"""Evaluations that are worth a recording, which itself takes about five."""
LARGEST = 2**22
"""Numbers in a batch, beyond which the device needs longer than the host, and a recording would only take memory."""
CHECKED_EVERY = 50
TOLERANCE = 1e-4


class Cuda:
    """What recording asks of a device."""

    def takes(self, x: Tensor) -> bool:
        """Whether recording suits tensors like this one, of a CUDA device; in the main thread, one at a time."""
        return (x.device.type == "cuda" and x.dtype in (torch.float32, torch.float64)
                and threading.current_thread() is threading.main_thread())

    def record(self, function: Function, inputs: Tensors) -> tuple[Callable[[], None], Tensors]:
        """How to repeat a function of these very inputs, and the tensors which that fills; RuntimeError if it waits."""
        with torch.cuda.device(inputs[0].device):
            current, side = torch.cuda.current_stream(), torch.cuda.Stream()
            side.wait_stream(current)
            try:
                with torch.cuda.stream(side):
                    function(*inputs)
                    if _waits(function, inputs):
                        raise RuntimeError("the host waits for the device")
            finally:
                current.wait_stream(side)
            torch.cuda.empty_cache()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.stream(side):
                outputs = _captured(graph, function, inputs)
        return graph.replay, outputs


def _waits(function: Function, inputs: Tensors) -> bool:
    """Whether a call waits for the device, at which a capture would break off and leave torch's allocator in disorder.

    torch warns of it rather than raises, since other threads would be warned as well.
    """
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            function(*inputs)
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return any("called a synchronizing" in str(warning.message) for warning in caught)


def _captured(graph: torch.cuda.CUDAGraph, function: Function, inputs: Tensors) -> Tensors:
    graph.capture_begin(capture_error_mode="thread_local")
    try:
        outputs = function(*inputs)
    except BaseException:
        with suppress(RuntimeError):
            graph.capture_end()
        raise
    graph.capture_end()
    return outputs


class Tape(NamedTuple):
    """A recording: the tensors that it reads and fills, and how to repeat it."""

    inputs: Tensors
    outputs: Tensors
    replay: Callable[[], None]

    def play(self, given: Tensors) -> Tensors:
        """What the recorded function makes of other inputs of the same shapes, in tensors of their own."""
        for mine, other in zip(self.inputs, given, strict=True):
            mine.copy_(other)
        self.replay()
        return tuple(output.clone() for output in self.outputs)


class Recorder:
    """Records the functions of one run, until one of them does not bear it.

    Parameters
    ----------
    subject : str
        What a warning names.
    like : Tensor
        Its dtype and device are those of the functions' inputs.
    wanted : bool
        Whether to record at all.
    """

    def __init__(self, subject: str, like: Tensor, wanted: bool = True):
        self.subject = subject
        self.device = Cuda()
        self.trusted = wanted and self.device.takes(like)

    def recorded(self, function: Function, calls: int) -> Function:
        """A function of tensors, recorded when it is first called, where that many calls are worth it."""
        return Recorded(function, self) if self.trusted and calls >= FEWEST else function

    def give_up(self, reason: str) -> None:
        """Record no more, and say why."""
        self.trusted = False
        warnings.warn(f"evaluations of {self.subject} are not recorded on the device ({reason}): they are launched "
                      "step by step instead, which takes longer for small batches; recordable = False of the "
                      "descriptor asks for that from the start", RuntimeWarning, stacklevel=2)


class Recorded:
    """A function of tensors that is recorded at the first call, compared, and replayed; compared again now and then."""

    def __init__(self, function: Function, recorder: Recorder):
        self.function = function
        self.recorder = recorder
        self.tape: Tape | None = None
        self.calls = 0

    def __call__(self, *given: Tensor) -> Tensors:
        """What the function says, by itself or by its recording."""
        if not self.recorder.trusted:
            self.tape = None
        elif self.tape is None:
            return self._record(given)
        elif [x.shape for x in given] == [x.shape for x in self.tape.inputs]:
            self.calls += 1
            return self._compared(given) if self.calls % CHECKED_EVERY == 0 else self.tape.play(given)
        return self.function(*given)

    def _record(self, given: Tensors) -> Tensors:
        """What the function says, which is recorded beside."""
        expected = self.function(*given)
        if sum(x.numel() for x in given) > LARGEST:
            return expected
        try:
            inputs = tuple(x.detach().clone(memory_format=torch.contiguous_format) for x in given)
            replay, outputs = self.recorder.device.record(self.function, inputs)
            tape = Tape(inputs, outputs, replay)
            others = tuple(x + _ramp(x) for x in inputs)
            _check(tape.play(given), expected)
            _check(tape.play(others), self.function(*others))
            self.tape = tape
        except Exception as error:
            self.recorder.give_up(f"{type(error).__name__}: {error}")
        return expected

    def _compared(self, given: Tensors) -> Tensors:
        """What the function says; the recording ends if it says something else, or if memory holds only one of them."""
        assert self.tape is not None
        try:
            expected = self.function(*given)
            _check(self.tape.play(given), expected)
            return expected
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        self.tape = None
        self.recorder.give_up(reason)
        return self.function(*given)


def _ramp(x: Tensor) -> Tensor:
    """A slight change of every number by another amount."""
    return torch.linspace(-0.1, 0.1, x.numel(), dtype=x.dtype, device=x.device).view(x.shape)


def _check(found: Tensors, expected: Tensors) -> None:
    """Raise an ArithmeticError unless tensors are alike: to 1e-4 of the largest number, and not finite where others."""
    alike = []
    for a, b in zip(found, expected, strict=True):
        close = (a - b).abs() <= TOLERANCE * torch.nan_to_num(b, 0.0, 0.0, 0.0).abs().max()
        alike.append((close | (a == b) | (a.isnan() & b.isnan())).all())
    if not bool(torch.stack(alike).all()):
        raise ArithmeticError("a replay gives other numbers")
