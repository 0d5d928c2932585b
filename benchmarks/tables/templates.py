"""``unfeature bench templates``: root filters of part models as images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from unfeature.features.base import code_to_tensor, image_to_tensor
from unfeature.features.gradients.hog import HOG
from unfeature.inversion.maximize import maximize
from unfeature.inversion.recipes import PRESETS, recipe_for
from unfeature.inversion.search import with_contrast
from unfeature.show.pictures import glyph

from .. import page as tables
from ..page import Metric, Page, Plan, Sheet
from ..protocol import Options
from ..tasks import Outcome, Row, Task, digest

METHODS = ("best", "ijcv2016")
CONTRAST = 0.2
BY = {"name": "model", "method": "method", "cells": "cells"}
METRICS = (Metric("response", "⟨Φ(x), w⟩", 3), Metric("cosine", "cosine of Φ(x) and w"), tables.EVALUATIONS,
           tables.SECONDS)
LEAD = (
    "Linear templates w on HOG as part models, release 5, order it: the image x to which the template responds most, "
    "against the priors, with the parameterization, solver and stages of the preset for inversions. HOG is blind to "
    "contrast; images are shown with a deviation of 0.2. A template’s own picture shows its positive weights, and "
    "beside them its negative ones."
)


def plan(options: Options) -> Plan:
    """One task for each model and method: its first filter, the root of its first component."""
    if not options.images.is_dir():
        raise FileNotFoundError(f"there is no folder {options.images}: --images names a folder of .npz files")
    paths = sorted(options.images.glob("*.npz"))[: options.count]
    if not paths:
        raise ValueError(f"the folder {options.images} holds no .npz files, each with the filters of one model")
    methods = options.chosen(options.methods, METHODS, PRESETS, "method")
    found = []
    for path in paths:
        cells = " × ".join(map(str, root_filter(str(path)).shape[:2]))
        for method in methods:
            settings = {"name": path.stem, "method": method, "cells": cells, "digest": digest(path),
                        "seed": options.seed}
            found.append(Task("templates", settings, {"template": str(path.resolve())}, device=options.device))
    return Plan(tuple(found))


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


def page(rows: list[Row], prepared: list[Row], options: Options) -> Page:
    """The table, and each model's picture beside the images."""
    lines = []
    for (name,), members in tables.groups(rows, ("name",)).items():
        first = [(members[0], "template", f"{name}, its weights")]
        lines.append((*first, *((row, "image", f"{name} · {row['method']}") for row in members)))
    table = replace(tables.every_image(rows, BY, METRICS), name="summary", title="Templates")
    sheet = Sheet("sheet-templates", "Models", tuple(lines))
    return Page("Templates as images", LEAD, tuple(rows), (table,), (), (sheet,))
