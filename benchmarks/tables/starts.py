"""``unfeature bench starts``: how far apart the images found from different starts are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unfeature.inversion.invert import invert
from unfeature.inversion.recipes import PRESETS

from .. import page as tables
from .. import subjects
from ..page import Metric, Page, Plan
from ..protocol import Options, code_on, descriptor, image_for, measures
from ..tasks import Outcome, Row, Task

METHODS = ("best", "ijcv2016")
BY = {"feature": "descriptor", "method": "method"}
METRICS = (
    Metric("error_mean", "mean error", 4),
    Metric("error_spread", "deviation of the error", 5),
    Metric("agreement", "correlation between starts"),
    Metric("pixel_spread", "deviation of a pixel"),
    Metric("correlation", "correlation with the photograph"),
)
LEAD = (
    "Each code inverted from several starts. The deviation of the error is over the starts; the correlation between "
    "starts is the mean over pairs of images, the deviation of a pixel over the images, averaged over pixels."
)


def plan(options: Options) -> Plan:
    """One task for each descriptor, method and photograph, with all its starts."""
    methods = options.chosen(options.methods, METHODS, PRESETS, "method")
    variants = [{"method": method, "starts": options.starts} for method in methods]
    return Plan(subjects.tasks("starts", options, variants), subjects.photographs(options))


def work(task: Task) -> Outcome:
    """Invert from all starts; start j has the noise of seed + j."""
    settings = task.settings
    phi, image = descriptor(settings, task.inputs), image_for(settings, task.inputs)
    code = code_on(phi, image, task.device)
    result = invert(phi, code, preset=settings["method"], steps=settings.get("steps"),
                    size=image.shape[:2], starts=settings["starts"], seed=settings["seed"])
    pictures = {f"start-{j + 1:02d}": found for j, found in enumerate(result.images)}
    return Outcome({**measures(result, image), **spread(result.errors, result.images)}, dict(pictures))


def spread(errors: NDArray[np.float64], images: NDArray[np.float32]) -> dict[str, float]:
    """Mean and deviation of the errors, and how far apart the images (starts, H, W, …) are."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    correlations = np.atleast_2d(np.corrcoef(flat))[np.triu_indices(len(flat), 1)]
    return {
        "error_mean": float(errors.mean()),
        "error_spread": float(errors.std(ddof=1)),
        "agreement": float(correlations.mean()),
        "pixel_spread": float(flat.std(axis=0, ddof=1).mean()),
    }


def page(rows: list[Row], prepared: list[Row], options: Options) -> Page:
    """The tables and pictures."""
    tabled = (tables.summary("summary", "Several starts", rows, BY, METRICS),
              tables.every_image(rows, {**BY, "image": "photograph"}, METRICS))
    return Page("Several starts", LEAD, tuple(rows), tabled, (), tables.sheets(rows, prepared, "feature", ("method",)))
