"""``unfeature bench caricatures``: photographs in which what a layer detects is exaggerated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from unfeature.inversion.caricature import caricature
from unfeature.inversion.recipes import CARICATURE_PRESETS
from unfeature.io.similarity import measures, min_max_stretch

from ..page import CORRELATION, SECONDS, Metric
from ..protocol import SIDE, descriptor, image_for
from ..study import Features, Methods, Side, chosen
from ..tasks import Outcome, Settings, Task
from .paper import NetworkPart


@dataclass(frozen=True, kw_only=True)
class Caricatures(NetworkPart):
    """Exaggerate what layers detect in photographs."""

    title = heading = "Caricatures"
    lead = (
        "What to see: shallow layers exaggerate textures, deep ones parts of objects, where the photograph has them. "
        "Images are shown with their whole range, as published."
    )
    by: ClassVar = {"feature": "layer", "method": "method"}
    wide = "method"
    metrics = (Metric("response", "response (photograph: 1)", 2), CORRELATION, SECONDS)
    network_only = True

    features: Features = field(default=(), init=False)
    side: Side = field(default=SIDE, init=False)
    methods: Methods = ("best", "ijcv2016")

    def methods_and_variants(self) -> list[Settings]:
        """Each preset for caricatures."""
        return [{"method": method} for method in chosen(self.methods, CARICATURE_PRESETS, "method")]

    @staticmethod
    def work(task: Task) -> Outcome:
        """Exaggerate one photograph."""
        settings, image = task.settings, image_for(task.settings, task.inputs)
        phi = descriptor(settings, task.inputs).to(task.device)
        result = caricature(phi, image, preset=settings["method"], seed=settings["seed"], steps=settings.get("steps"))
        values = {"response": result.provenance["responses"][0], "seconds": result.provenance["seconds"],
                  "status": result.status, **measures(image, result.image)}
        return Outcome(values, {"image": min_max_stretch(result.image)})
