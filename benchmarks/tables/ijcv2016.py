"""``unfeature bench ijcv2016``: the tables and figures of Mahendran & Vedaldi 2016, with their settings and scoring."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated

from unfeature.features.gradients.hog import HOG
from unfeature.inversion.measures import relative
from unfeature.inversion.result import encode

from ..page import CENTRED, CORRELATION, ERROR, NATURALNESS, PROCESSOR, SECONDS, SSIM, Metric
from ..protocol import image_for
from ..study import DataWeights, Methods, Option, Side, Study
from ..tasks import Outcome, Task
from .caricatures import Caricatures
from .cnn import CONSISTENCY, Cnn
from .descriptors import Descriptors
from .groups import Groups
from .mosaics import Mosaics
from .paper import NetworkPart, Paper
from .regularizers import Regularizers
from .starts import Starts
from .templates import Templates

SCORED = Metric("scored", "relative error as scored in 2016", 4)


@dataclass(frozen=True, kw_only=True)
class Descriptors2016(Descriptors):
    """HOG, HOGb, dense SIFT and HOGgles at native size."""

    heading = "HOG, HOGb, DSIFT and HOGgles"
    lead = (
        "What to see: our preset best beside the paper’s. As in 2016, HOG and HOGgles are scored by the relative error "
        "of DPM’s code with all 32 dimensions, HOGb and dense SIFT by that of their own; the next column scores each "
        "with its own. Photographs are grey and of their own size; bins have 8 pixels. We have no published figures in "
        "this measure."
    )
    metrics = (SCORED, ERROR, CENTRED, CORRELATION, SSIM, PROCESSOR)

    side: Side = 0

    def pairs(self) -> dict[str, list[str]]:
        """The paper's methods, and our best."""
        return {**{name: ["ijcv2016", "best"] for name in ("hog", "hogb", "dsift")}, "dpm": ["paired-dictionary"]}

    @staticmethod
    def work(task: Task) -> Outcome:
        """Invert, and score as in the paper."""
        outcome = Descriptors.work(task)
        return outcome._replace(values={**outcome.values, "scored": score(task, outcome)})


def score(task: Task, outcome: Outcome) -> float:
    """The relative error of an image in the paper's code."""
    if task.settings["feature"] not in ("hog", "dpm"):
        return float(outcome.values["error"])
    phi = HOG("dpm")
    return relative(encode(phi, outcome.pictures["image"]), encode(phi, image_for(task.settings, task.inputs)))


@dataclass(frozen=True, kw_only=True)
class Layers2016(NetworkPart, Cnn):
    """Layers by C."""

    heading = "Layers by C"
    lead = (
        "What to see: a larger C buys accuracy in shallow layers; in deep ones it leaves the error, and costs "
        "naturalness and the correlation with the photograph. Label: whether the network’s first choice for the image "
        "is that for the photograph."
    )
    metrics = (ERROR, NATURALNESS, CONSISTENCY, CORRELATION, SECONDS)
    divided = False

    methods: Methods = ("ijcv2016",)


@dataclass(frozen=True, kw_only=True)
class Starts2016(NetworkPart, Starts):
    """Layers from several starts."""

    heading = "Several starts"
    lead = "What to see: errors over starts hardly deviate, images do; the deeper the layer, the less they agree."


@dataclass(frozen=True, kw_only=True)
class Parts2016(NetworkPart, Groups):
    """Halves and centres of layers."""

    heading = "Parts of codes"
    lead = "What to see: which half of the channels, and which place, holds what of the photograph."


@dataclass(frozen=True, kw_only=True)
class Ablations2016(NetworkPart, Regularizers):
    """Layers without priors, by β and jitter."""

    heading = "β and jitter"
    lead = (
        "What to see: without priors a middle layer has the least error and the least natural image, and a deep layer "
        "only noise; jitter lowers the error and keeps more of the photograph. Jitter is a quarter of the stride, and "
        "none where that is below 6 pixels. C is 20, as in the paper."
    )
    metrics = (ERROR, NATURALNESS, CORRELATION, SECONDS)
    prior_weight = 20.0

    data_weights: DataWeights = field(default=(), init=False)


@dataclass(frozen=True, kw_only=True)
class Ijcv2016(Paper):
    """Make the tables and figures of Mahendran & Vedaldi 2016."""

    title = "Visualizing deep convolutional neural networks using natural pre-images, 2016"
    lead = "The paper’s tables and figures with its settings (preset ijcv2016), and our preset best beside them."

    templates: Annotated[Path | None, Option("Folder of part models, .npz files.")] = None

    @cached_property
    def parts(self) -> tuple[Study, ...]:
        """The table of descriptors, the experiments on a network, and templates if there are any."""
        parts: list[Study] = [Descriptors2016(**self._shared, train=self.train, models=self.models)]
        if self.weights is not None:
            method = ("ijcv2016",)
            parts += [Layers2016(**self._few()), Starts2016(**self._few(-2, methods=method)),
                      Parts2016(**self._few(2, 4, methods=method)), Ablations2016(**self._few(2, 4)),
                      Mosaics(**self._on_network(2)), Caricatures(**self._few(2, 4))]
        if self.templates is not None:
            parts.append(Templates(images=self.templates, out=self.out, count=self.count, seed=self.seed,
                                   device=self.device))
        return tuple(parts)
