"""``unfeature bench cnn``: layers of a network inverted, by C: error, naturalness, and whether the label survives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from unfeature.display.curves import Series, line_chart
from unfeature.features.networks.cnn import CNN

from ..measures import interval
from ..page import CORRELATION, ERROR, EUCLIDEAN, NATURALNESS, SECONDS, Metric, Metrics, groups
from ..protocol import SIDE, Problem
from ..study import CodeStudy, DataWeights, Features, Methods, Side
from ..tasks import Outcome, Row, Settings, Task

LAST = {"squeezenet1_0": "pool_final", "torchvision-squeezenet1_0": "pool_final"}
"""The layer of the scores, where it is not fc8."""
CONSISTENCY = Metric("consistent", "same label, %", 0, 100)


@dataclass(frozen=True, kw_only=True)
class Cnn(CodeStudy):
    """Invert layers of a network: error, consistency and naturalness by layer and C."""

    title = "Layers of a network, inverted"
    heading = "Layers"
    lead = (
        "What to see: a larger weight C of the code against the priors buys accuracy at the cost of naturalness. "
        "Naturalness is the intersection of the image’s and the photograph’s histograms of gradient directions; the "
        "label is the network’s first choice."
    )
    by: ClassVar = {"method": "method", "feature": "layer", "data_weight": "C"}
    metrics: ClassVar[Metrics] = (ERROR, EUCLIDEAN, NATURALNESS, CONSISTENCY, CORRELATION, SECONDS)
    across = ("feature", "method", "data_weight")
    sheet_by = "image"
    line_by = ("image", "method", "data_weight")
    divided = network_only = True

    features: Features = field(default=(), init=False)
    side: Side = field(default=SIDE, init=False)
    methods: Methods = ("ijcv2016", "best")
    data_weights: DataWeights = (1.0, 20.0, 100.0, 300.0)

    def variants(self) -> list[Settings]:
        """Each C."""
        return [{"data_weight": data_weight} for data_weight in self.data_weights]

    @staticmethod
    def work(task: Task) -> Outcome:
        """Invert one layer, and compare the network's labels of the photograph and of the image."""
        settings, problem = task.settings, Problem.of(task)
        result = problem.invert(settings["method"], data_weight=settings["data_weight"])
        last = CNN(settings["net"], LAST.get(settings["net"], "fc8"), weights=task.inputs["weights"])
        labels = [label(last, image) for image in (problem.image, result.image)]
        return problem.outcome(result, label=labels[1], consistent=float(labels[0] == labels[1]))

    def charts(self, rows: list[Row]) -> tuple[str, ...]:
        """Curves by layer, with bands of 1.96 standard errors."""
        return tuple(by_layer(rows, metric) for metric in (ERROR, NATURALNESS, CONSISTENCY) if rows)


def label(scores: CNN, image: NDArray[Any]) -> int:
    """The class that a network's scores, averaged over positions, put first."""
    x = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)).permute(2, 0, 1)[None]
    with torch.no_grad():
        code = scores(x)
        return int(code.reshape(1, code.shape[1], -1).mean(2).argmax())


def by_layer(rows: list[Row], metric: Metric, name: str = "C", key: str = "data_weight") -> str:
    """One curve for each method and setting, C or another: a quantity over the layers, in their order."""
    layers = list(dict.fromkeys(row["feature"] for row in rows))
    series = []
    for (method, setting), members in groups(rows, ("method", key)).items():
        found = [interval(row[metric.name] for row in members if row["feature"] == layer) for layer in layers]
        mean, margin = np.array(found).T * metric.factor
        places, edges = np.arange(1, len(layers) + 1), np.nan_to_num(margin)
        series.append(Series(f"{method}, {name} = {setting:g}", places, mean, low=mean - edges, high=mean + edges))
    listed = " · ".join(f"{i} {layer}" for i, layer in enumerate(layers, start=1))
    return line_chart(series, f"layer: {listed}", metric.title)
