"""``unfeature bench starts``: how far apart the images found from different starts are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..page import Metric
from ..protocol import Problem
from ..study import CodeStudy, Methods, Option
from ..tasks import Outcome, Settings, Task


@dataclass(frozen=True, kw_only=True)
class Starts(CodeStudy):
    """Invert from several starts, and measure how far apart the images are."""

    title = "Several starts"
    heading = "Several starts"
    lead = (
        "What to see: errors over starts hardly deviate, however unlike the images are. The deviation of the error is "
        "over the starts; the correlation between starts is the mean over pairs of images, the deviation of a pixel "
        "over the images, averaged over pixels."
    )
    by: ClassVar = {"feature": "descriptor", "method": "method"}
    metrics = (
        Metric("error_mean", "mean error", 4),
        Metric("error_std", "deviation of the error", 5),
        Metric("agreement", "correlation between starts"),
        Metric("pixel_std", "deviation of a pixel"),
        Metric("correlation", "correlation with the photograph"),
    )

    methods: Methods = ("best", "ijcv2016")
    starts: Annotated[int, Option("Starts of each inversion.", 2, 25)] = 4

    def variants(self) -> list[Settings]:
        """All starts in one."""
        return [{"starts": self.starts}]

    @staticmethod
    def work(task: Task) -> Outcome:
        """Invert from all starts; start j has the noise of seed + j."""
        problem = Problem.of(task)
        result = problem.invert(task.settings["method"], starts=task.settings["starts"])
        pictures = {f"start-{j + 1:02d}": image for j, image in enumerate(result.images)}
        errors = {f"error {name}": float(error) for name, error in zip(pictures, result.errors, strict=True)}
        measured = over_starts(result.errors, result.images)
        return problem.outcome(result, **measured, **errors)._replace(pictures=pictures)


def over_starts(errors: NDArray[np.float64], images: NDArray[np.float32]) -> dict[str, float]:
    """Mean and deviation of the errors, and how far apart the images (starts, H, W, …) are."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    correlations = np.atleast_2d(np.corrcoef(flat))[np.triu_indices(len(flat), 1)]
    return {
        "error_mean": float(errors.mean()),
        "error_std": float(errors.std(ddof=1)),
        "agreement": float(correlations.mean()),
        "pixel_std": float(flat.std(axis=0, ddof=1).mean()),
    }
