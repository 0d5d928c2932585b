"""``unfeature bench templates``: root filters of part models as images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from unfeature.display.pictures import glyph
from unfeature.features.base import code_to_tensor, image_to_tensor
from unfeature.features.gradients.hog import HOG
from unfeature.inversion import PRESETS
from unfeature.inversion.maximize import maximize
from unfeature.inversion.recipes import recipe_for
from unfeature.inversion.views import with_contrast

from ..page import EVALUATIONS, SECONDS, Metric, Sheet, Table, every_image, groups, widened
from ..study import Methods, Study, chosen
from ..tasks import Outcome, Plan, Row, Task, digest

CONTRAST = 0.2


@dataclass(frozen=True, kw_only=True)
class Templates(Study):
    """Draw linear templates, .npz files of part filters on DPM features; --images is their folder."""

    title = heading = "Templates as images"
    lead = (
        "What to see: the object that the model detects. Linear templates w on HOG, ordered as in part models, "
        "release 5: the image x to which the template responds most, against the priors, with the parameterization, "
        "solver and stages of the preset for inversions. HOG does not tell contrast; images are shown with a standard "
        "deviation of 0.2. A template’s own picture shows its positive weights, and beside them its negative ones."
    )
    by: ClassVar = {"name": "model", "method": "method", "cells": "cells"}
    metrics = (Metric("response", "⟨Φ(x), w⟩", 3), Metric("cosine", "cosine of Φ(x) and w"), EVALUATIONS, SECONDS)

    methods: Methods = ("best", "ijcv2016")

    def plan(self) -> Plan:
        """One task for each model and method: its first filter, the root of its first component."""
        if not self.images.is_dir():
            raise FileNotFoundError(f"there is no folder {self.images}: --images names a folder of .npz files")
        paths = sorted(self.images.glob("*.npz"))[: self.count]
        if not paths:
            raise ValueError(f"the folder {self.images} holds no .npz files, each with the filters of one model")
        methods = chosen(self.methods, PRESETS, "method")
        return Plan(tuple(self._task(path, method) for path in paths for method in methods))

    def _task(self, path: Path, method: str) -> Task:
        cells = " × ".join(map(str, root_filter(str(path)).shape[:2]))
        settings = {"name": path.stem, "method": method, "cells": cells, "digest": digest(path), "seed": self.seed}
        return self.task(settings, {"template": str(path.resolve())})

    @staticmethod
    def work(task: Task) -> Outcome:
        """Find the image that a template responds to."""
        phi, template = HOG("dpm"), root_filter(task.inputs["template"])
        direction = code_to_tensor(template)[0].to(task.device)
        recipe = recipe_for(phi, task.settings["method"])
        result = maximize(phi.to(task.device), direction=direction, preset=recipe, seed=task.settings["seed"])
        image = with_contrast(image_to_tensor(result.images[0]), CONTRAST)[0, 0].clamp(0, 1).numpy()
        code = phi.cpu()(image)
        response = float((code * template).sum())
        values = {
            "response": response,
            "cosine": response / float(np.linalg.norm(code) * np.linalg.norm(template)),
            "seconds": result.provenance["seconds"],
            "evaluations": result.provenance["evaluations"],
            "status": result.status,
        }
        return Outcome(values, {"template": glyph(phi, template), "image": image})

    def tables(self, rows: list[Row]) -> tuple[Table, ...]:
        """A line for each model."""
        table = widened(every_image(rows, self.by, self.metrics), self.by["method"], len(self.by))
        return (replace(table, name="summary", title="Templates"),)

    def sheets(self, rows: list[Row], originals: list[Row]) -> tuple[Sheet, ...]:
        """Each model's picture beside the images."""
        lines = []
        for (name,), members in groups(rows, ("name",)).items():
            first = [(members[0], "template", f"{name}, its weights")]
            lines.append((*first, *((row, "image", f"{name} · {row['method']}") for row in members)))
        return (Sheet("sheet-templates", "Models", tuple(lines)),)


def root_filter(path: str) -> NDArray[np.float32]:
    """The first filter (h, w, 32) of a model, its last channel, which images do not decide, zero."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            template = np.array(stored["filter_00"], dtype=np.float32)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise ValueError(f"{path} is not a model: an .npz file with an array filter_00 of h × w × 32 is expected "
                         f"({error})") from error
    if template.ndim != 3 or template.shape[2] != HOG("dpm").dimensions:
        raise ValueError(f"filter_00 of {path} has shape {template.shape}, (h, w, {HOG('dpm').dimensions}) is expected")
    template[..., -1] = 0
    return template
