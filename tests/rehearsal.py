"""A device of the CPU's that records nothing: a replay calls the function again, into the tensors of the first call."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from unfeature.inversion.graphs import Cuda, Function, Tensors


class Rehearsal(Cuda):
    """What stands in for a CUDA device; `played` has the number of replays of each recording."""

    played: ClassVar[list[int]] = []

    def takes(self, x: Tensor) -> bool:
        return True

    def record(self, function: Function, inputs: Tensors) -> tuple[Callable[[], None], Tensors]:
        outputs, number = function(*inputs), len(self.played)
        self.played.append(0)

        def replay() -> None:
            self.played[number] += 1
            for output, found in zip(outputs, function(*inputs), strict=True):
                output.copy_(found)

        return replay, outputs
