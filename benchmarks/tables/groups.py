"""``unfeature bench groups``: which part of a code holds what: half of the channels, the central positions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from unfeature.features.base import Representation
from unfeature.features.masks import centre_mask, channel_mask
from unfeature.inversion.recipes import Recipe

from ..page import CORRELATION, ERROR, SECONDS, SSIM, Metric, Metrics
from ..protocol import Problem
from ..study import CodeStudy
from ..tasks import Outcome, Settings, Task

PARTS = ("all", "first half", "second half", "central 5 × 5")


@dataclass(frozen=True, kw_only=True)
class Groups(CodeStudy):
    """Invert parts of codes: half of the channels, the central positions."""

    title = "Parts of codes"
    heading = "Parts of codes"
    lead = (
        "What to see: how much of the whole code a part decides. The inversion sees only the first or second half of "
        "the channels (the two groups of AlexNet’s filters), or the central 5 × 5 positions. The priors decide what "
        "the rest of the code would."
    )
    by: ClassVar = {"feature": "descriptor", "method": "method", "part": "part"}
    metrics: ClassVar[Metrics] = (
        Metric("error_part", "error of the part", 4), replace(ERROR, title="error of the whole code"), CORRELATION,
        SSIM, SECONDS)
    across = ("part",)

    def variants(self) -> list[Settings]:
        """Each part."""
        return [{"part": part} for part in PARTS]

    @staticmethod
    def work(task: Task) -> Outcome:
        """Invert a part of the code."""
        return part_inverted(Problem.of(task), task.settings["method"])


def part_inverted(problem: Problem, preset: str | Recipe) -> Outcome:
    """Invert the part of a code that the task names."""
    code = problem.code
    mask = part_mask(tuple(code.shape[1:]), problem.task.settings["part"]).to(code)
    result = problem.invert(preset, mask=mask)
    return problem.outcome(result, error_part=part_error(problem.phi, result.image, code, mask))


def part_mask(code_shape: tuple[int, ...], part: str) -> torch.Tensor:
    """Ones on a part of codes (D, h, w) or (D,); an odd channel belongs to the second half."""
    if part == "all":
        return torch.ones(1, *code_shape)
    if part == "central 5 × 5":
        return centre_mask(code_shape)
    half = code_shape[0] // 2
    return channel_mask(code_shape, range(half) if part == "first half" else range(half, code_shape[0]))


def part_error(phi: Representation, image: np.ndarray, code: torch.Tensor, mask: torch.Tensor) -> float:
    """‖(Φ(x) − Φ₀) ⊙ m‖ / ‖Φ₀ ⊙ m‖ of one image."""
    x = torch.from_numpy(np.ascontiguousarray(image)).to(code)
    x = x[None, None] if x.ndim == 2 else x.permute(2, 0, 1)[None]
    with torch.no_grad():
        return float(((phi(x) - code) * mask).norm() / (code * mask).norm())
