"""``unfeature bench cvpr2015``: the tables and figures of Mahendran & Vedaldi 2015, with their settings and measure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

from unfeature.inversion.recipes import descent2015
from unfeature.inversion.schedules import NEIGHBOURHOODS_2015, schedule_for
from unfeature.io.similarity import min_max_stretch

from ..page import CORRELATION, DEVIATION, ERROR, EUCLIDEAN, NATURALNESS, PROCESSOR, SECONDS, SQUARED, Metric, Published
from ..protocol import Problem
from ..study import Methods, Side, Study
from ..tasks import Outcome, Row, Settings, Task
from .cnn import by_layer
from .descriptors import Descriptors
from .groups import Groups, part_inverted
from .paper import THEIR_NETWORKS, NetworkPart, Paper
from .starts import Starts


@dataclass(frozen=True, kw_only=True)
class Descriptors2015(Descriptors):
    """HOG, HOGb, dense SIFT and HOGgles at native size."""

    heading = "HOG, HOGb, DSIFT and HOGgles (Table 1, Figure 2)"
    lead = (
        "What to see: bilinear bins (hogb) and dense SIFT have a third of the error of hard bins. The euclidean error "
        "is the paper’s measure; the others are not comparable with its figures. Photographs are grey and of their own "
        "size; dense SIFT has bins of 5 pixels; HOGgles, a paired dictionary, inverts DPM’s HOG and is scored by it."
    )
    metrics = (EUCLIDEAN, SQUARED, ERROR, PROCESSOR)
    margin = DEVIATION
    published = Published(EUCLIDEAN, "Mahendran & Vedaldi 2015, on the first 100 photographs of ILSVRC-2012 val", {
        ("hog", "cvpr2015"): "28.10 ± 7.9", ("hogb", "cvpr2015"): "10.67 ± 5.2", ("dsift-5", "cvpr2015"): "10.89 ± 7.5",
        ("dpm", "paired-dictionary"): "66.20 ± 13.7"})

    side: Side = 0

    def pairs(self) -> dict[str, list[str]]:
        """The paper's methods."""
        return {**{name: ["cvpr2015"] for name in ("hog", "hogb", "dsift-5")}, "dpm": ["paired-dictionary"]}

    @staticmethod
    def work(task: Task) -> Outcome:
        """Invert, and show the image with all of its contrast, which these codes do not tell."""
        outcome = Descriptors.work(task)
        return outcome._replace(pictures={name: min_max_stretch(a) for name, a in outcome.pictures.items()})


@dataclass(frozen=True, kw_only=True)
class TvWeights(NetworkPart):
    """Layers inverted with three weights of the total variation."""

    title = heading = "Layers by λ_TV (Table 3, Figures 4 and 6)"
    lead = (
        "What to see: a larger λ_TV costs accuracy at every layer, and only deep layers, whose codes leave most to the "
        "prior, look more natural for it. The preset takes 1, 10 and 100 by depth."
    )
    by: ClassVar = {"feature": "layer", "tv_weight": "λ_TV"}
    wide = "tv_weight"
    metrics = (EUCLIDEAN, ERROR, NATURALNESS, CORRELATION)
    across = ("feature", "tv_weight")
    sheet_by = "image"
    line_by = ("image", "tv_weight")
    margin = DEVIATION
    divided = True

    methods: Methods = field(default=("cvpr2015",), init=False)

    def variants(self) -> list[Settings]:
        """The paper's weights."""
        return [{"tv_weight": weight} for weight in (1.0, 10.0, 100.0)]

    @staticmethod
    def work(task: Task) -> Outcome:
        """Invert a layer with one weight."""
        problem = Problem.of(task)
        settings = replace(schedule_for(problem.phi).cvpr2015, tv_weight=task.settings["tv_weight"])
        return problem.outcome(problem.invert(descent2015(settings)))

    def charts(self, rows: list[Row]) -> tuple[str, ...]:
        """Errors and naturalness by layer."""
        return tuple(by_layer(rows, metric, "λ_TV", "tv_weight") for metric in (ERROR, NATURALNESS) if rows)


@dataclass(frozen=True, kw_only=True)
class Starts2015(NetworkPart, Starts):
    """Deep layers inverted from several starts."""

    heading = "Several starts (Figure 7)"
    lead = (
        "What to see: errors hardly deviate over starts; the images share edges, but not shades and colours. "
        "On SqueezeNet’s fire9 and conv_final the published steps diverge; its starts are those of earlier layers."
    )
    margin = DEVIATION


@dataclass(frozen=True, kw_only=True)
class Neighbourhoods2015(NetworkPart, Groups):
    """The central 5 × 5 positions of layers."""

    heading = "Central 5 × 5 positions (Figure 9)"
    lead = "What to see: how far the image is fixed around the receptive fields of the central 5 × 5 positions."
    metrics = (Metric("error_part", "relative error of the part", 4), CORRELATION, SECONDS)
    margin = DEVIATION

    def variants(self) -> list[Settings]:
        """The central positions."""
        return [{"part": "central 5 × 5"}]

    @staticmethod
    def work(task: Task) -> Outcome:
        """Invert a neighbourhood with the paper's settings for it."""
        return part_inverted(Problem.of(task), descent2015(NEIGHBOURHOODS_2015))


@dataclass(frozen=True, kw_only=True)
class Halves2015(NetworkPart, Groups):
    """Either half of the channels of layers."""

    heading = "Groups of channels (Figure 8)"
    lead = (
        "What to see: of AlexNet’s two groups one holds colour, the other edges. The halves of a fire module of "
        "SqueezeNet are its 1 × 1 and its 3 × 3 filters; of fire3 the first keep more of the colour."
    )
    metrics = (Metric("error_part", "relative error of the part", 4), ERROR, CORRELATION, SECONDS)
    margin = DEVIATION

    def variants(self) -> list[Settings]:
        """Either half."""
        return [{"part": part} for part in ("first half", "second half")]


@dataclass(frozen=True, kw_only=True)
class Cvpr2015(Paper):
    """Make the tables and figures of Mahendran & Vedaldi 2015."""

    title = "Understanding deep image representations by inverting them, 2015"
    lead = "The paper’s tables and figures with its settings (preset cvpr2015), published figures beside ours."

    @cached_property
    def parts(self) -> tuple[Study, ...]:
        """The table of descriptors, and the experiments on a network."""
        descriptors = Descriptors2015(**self._shared, train=self.train, models=self.models)
        if self.weights is None:
            return (descriptors,)
        method, deep = ("cvpr2015",), (3, -2) if self.net in THEIR_NETWORKS else (2, 3)
        return (descriptors, TvWeights(**self._few()), Starts2015(**self._few(*deep, methods=method)),
                Neighbourhoods2015(**self._few(1, 3, 4, methods=method)), Halves2015(**self._few(1, 4, methods=method)))
