"""``unfeature bench groups``: which part of a code holds what: half of the channels, the central positions."""

from __future__ import annotations

import numpy as np
import torch

from unfeature.features.base import Representation
from unfeature.features.masks import centre_mask, channel_mask
from unfeature.inversion.invert import invert
from unfeature.inversion.recipes import PRESETS

from .. import page as tables
from .. import subjects
from ..page import Metric, Page, Plan
from ..protocol import Options, code_on, descriptor, image_for, measures
from ..tasks import Outcome, Row, Task

PARTS = ("all", "first half", "second half", "central 5 × 5")
METHODS = ("best",)
BY = {"feature": "descriptor", "method": "method", "part": "part"}
METRICS = (Metric("error_part", "error of the part", 4), Metric("error", "error of the whole code", 4),
           tables.CORRELATION, tables.SSIM, tables.SECONDS)
LEAD = (
    "Only a part of the code is asked for: the first or second half of the channels (the two groups of AlexNet’s "
    "filters), or the central 5 × 5 positions. What the rest of the code says is left to the priors."
)


def plan(options: Options) -> Plan:
    """One task for each descriptor, method, part and photograph."""
    methods = options.chosen(options.methods, METHODS, PRESETS, "method")
    variants = [{"method": method, "part": part} for method in methods for part in PARTS]
    return Plan(subjects.tasks("groups", options, variants), subjects.photographs(options))


def work(task: Task) -> Outcome:
    """Invert a part of the code."""
    settings = task.settings
    phi, image = descriptor(settings, task.inputs), image_for(settings, task.inputs)
    code = code_on(phi, image, task.device)
    mask = part_mask(tuple(code.shape[1:]), settings["part"]).to(code)
    result = invert(phi, code, preset=settings["method"], steps=settings.get("steps"),
                    mask=mask, size=image.shape[:2], seed=settings["seed"])
    values = {**measures(result, image), "error_part": part_error(phi, result.image, code, mask)}
    return Outcome(values, {"image": result.image})


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


def page(rows: list[Row], prepared: list[Row], options: Options) -> Page:
    """The tables and pictures."""
    tabled = (tables.summary("summary", "Parts of codes", rows, BY, METRICS),
              tables.every_image(rows, {**BY, "image": "photograph"}, METRICS))
    return Page("Parts of codes", LEAD, tuple(rows), tabled, (), tables.sheets(rows, prepared, "feature", ("part",)))
