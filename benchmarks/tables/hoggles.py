"""``unfeature bench hoggles``: the four methods of HOGgles by the measure of their paper."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from unfeature.io.images import resize_longer

from ..measures import Image
from ..page import CENTRED, CORRELATION, ERROR, PROCESSOR, SSIM, Metric, Published
from ..protocol import MULTIPLE, Problem, photograph
from ..study import Features, Names, Side
from ..tasks import Outcome, Task
from .descriptors import Descriptors, inverted

SHARE = 0.75
"""Of the height and width of a photograph that a window keeps, in its middle."""
RANKS = {"paired-dictionary": "1", "direct": "2–3", "ridge": "2–3", "elda": "4"}


@dataclass(frozen=True, kw_only=True)
class Hoggles(Descriptors):
    """Compare exemplar LDA, ridge regression, direct descent and the paired dictionary."""

    title = "HOGgles: four methods"
    heading = "Windows, inverted from HOG of part models"
    lead = (
        "What to see: the order of the methods of Vondrick et al. 2013 by normalised cross-correlation with the "
        "photograph, as published and here. They used windows of objects in PASCAL VOC; here a window is the middle of "
        "a photograph, three quarters of its height and width."
    )
    metrics = (CORRELATION, SSIM, ERROR, CENTRED, PROCESSOR)
    published = Published(Metric("rank", "rank by correlation"), "Vondrick et al., ICCV 2013",
                          {("dpm", method): rank for method, rank in RANKS.items()})

    features: Features = field(default=("dpm",), init=False)
    methods: Names | None = field(default=tuple(RANKS), init=False)
    side: Side = 160

    @staticmethod
    def work(task: Task) -> Outcome:
        """Invert the window of one photograph."""
        problem = Problem.of(task, window(photograph(task.inputs["image"], 0), task.settings["side"]))
        return problem.outcome(inverted(problem))


def window(image: Image, side: int) -> Image:
    """The middle of a photograph (H, W), its longer side of so many pixels, both multiples of 8."""
    sizes = [round(SHARE * extent) for extent in image.shape]
    top, left = ((extent - size) // 2 for extent, size in zip(image.shape, sizes, strict=True))
    cut = resize_longer(np.ascontiguousarray(image[top:top + sizes[0], left:left + sizes[1]]), side)
    height, width = (extent // MULTIPLE * MULTIPLE for extent in cut.shape)
    return np.ascontiguousarray(cut[:height, :width])
