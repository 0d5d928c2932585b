"""``unfeature bench mosaics``: images to which the filters of layers, and classes, respond most."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np

from unfeature.features.channel_statistics import statistics
from unfeature.inversion.maximize import maximize
from unfeature.inversion.recipes import MAXIMIZATION_PRESETS
from unfeature.io.similarity import min_max_stretch

from ..page import EVALUATIONS, SECONDS, Metric
from ..protocol import SIDE, descriptor, image_for
from ..study import CodeStudy, Features, Methods, Option, Side, chosen
from ..tasks import Outcome, Plan, Task
from .cnn import LAST


@dataclass(frozen=True, kw_only=True)
class Mosaics(CodeStudy):
    """Maximise filters of layers, many in one image, and classes from several starts."""

    title = heading = "Activation maximisation"
    lead = (
        "What to see: filters of a layer, evenly spaced over its channels, side by side in one image; below, classes, "
        "each from several starts. Z is the channel’s largest response over the test photographs. Images are shown "
        "with their whole range, as published."
    )
    by: ClassVar = {"feature": "layer", "method": "method", "what": "of"}
    wide = "method"
    metrics = (Metric("response", "⟨Φ(x), Φ₀⟩ / Z", 3), EVALUATIONS, SECONDS)
    across = ("method", "what")
    line_by = ("what", "method")
    network_only = True

    features: Features = field(default=(), init=False)
    side: Side = field(default=SIDE, init=False)
    methods: Methods = ("ijcv2016", "best")
    filters: Annotated[int, Option("Filters of a layer in one image.", 1)] = 25
    classes: Annotated[tuple[str, ...], Option("Classes, by index.")] = ("130", "340")
    starts: Annotated[int, Option("Starts of each class.", 1, 25)] = 4

    def plan(self) -> Plan:
        """A mosaic for each layer and method, and an image for each class, method and start."""
        if wrong := [index for index in self.classes if not index.isdecimal()]:
            raise ValueError(f"classes are whole numbers, got {wrong[0]!r}")
        images = {"images": "\n".join(one.file for one in self.photographs)}
        shared = {"image_digests": [one.digest for one in self.photographs], "seed": self.seed, "steps": self.steps}
        last = LAST.get(str(self.net), "fc8")
        tasks = []
        for settings, inputs in self.codes():
            descriptor(settings, inputs)
            for method in chosen(self.methods, MAXIMIZATION_PRESETS, "method"):
                own = {**settings, **shared, "method": method}
                tasks.append(self.task({**own, "what": f"{self.filters} filters", "name": f"{self.filters}-filters",
                                        "filters": self.filters}, {**inputs, **images}))
        classes = [{"what": f"class {index}", "name": f"class-{index}", "class": int(index)} for index in self.classes]
        tasks += [self.task({**settings, **shared, **one, "feature": last, "method": method, "starts": self.starts},
                            {**inputs, **images}) for one in classes for method in self.methods]
        return Plan(tuple(tasks))

    @staticmethod
    def work(task: Task) -> Outcome:
        """Maximise the filters of a layer, or a class."""
        settings = task.settings
        phi = descriptor(settings, task.inputs)
        options = {"preset": settings["method"], "seed": settings["seed"], "steps": settings["steps"]}
        peaks = statistics(phi, (image_for(settings, {"image": path}) for path in task.inputs["images"].splitlines()))
        if "class" in settings:
            result = maximize(phi.to(task.device), class_=settings["class"], starts=settings["starts"], **options)
        else:
            channels = np.linspace(0, len(peaks.max) - 1, settings["filters"]).astype(int)
            result = maximize(phi.to(task.device), mosaic=np.unique(channels).tolist(), statistics=peaks, **options)
        facts = result.provenance
        values = {"response": float(np.mean(facts["responses"]) / np.mean(facts["target"]["scale"])),
                  "evaluations": facts["evaluations"], "seconds": facts["seconds"], "status": result.status}
        names = ["image"] if len(result) == 1 else [f"start-{i + 1:02d}" for i in range(len(result))]
        return Outcome(values, dict(zip(names, map(min_max_stretch, result.images), strict=True)))
