"""``unfeature bench cnn``: layers of a network inverted, by C: error, metamer test, naturalness."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass, field, fields, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from unfeature.display.curves import Series, line_chart
from unfeature.features.base import code_to_numpy
from unfeature.features.networks.cnn import CNN
from unfeature.inversion.metamer_test import Agreement, agreement, chance_agreement
from unfeature.inversion.result import encode

from ..measures import interval
from ..page import (
    CORRELATION,
    ERROR,
    EUCLIDEAN,
    NATURALNESS,
    SECONDS,
    Metric,
    Metrics,
    Page,
    groups,
    number,
    with_values,
)
from ..protocol import SIDE, Problem, descriptor, image_for
from ..study import CodeStudy, DataWeights, Features, Methods, Side
from ..tasks import Inputs, Outcome, Row, Settings, Task

LAST = {"squeezenet1_0": "pool_final", "torchvision-squeezenet1_0": "pool_final"}
"""The layer of the scores, where it is not fc8."""
CONSISTENCY = Metric("consistent", "same label, %", 0, 100)
SPEARMAN, R2, SNR = Metric("spearman", "Spearman’s ρ"), Metric("r2", "R²"), Metric("snr", "SNR, dB", 1)
AGREEMENT = SPEARMAN, R2, SNR
METAMER = Metric("metamer", "metamer, %", 0, 100)
CHANCE = "chance"
"""The kind of the task that measures how well the codes of different photographs agree, …"""
PREFIX = "chance_"
"""… and what its values begin with."""


@dataclass(frozen=True, kw_only=True)
class Cnn(CodeStudy):
    """Invert layers of a network: error, metamer test and naturalness by layer and C."""

    title = "Layers of a network, inverted"
    heading = "Layers"
    lead = (
        "What to see: a larger weight C of the code against the priors buys accuracy at the cost of naturalness. "
        "Naturalness is the intersection of the image’s and the photograph’s histograms of gradient directions; the "
        "label is the network’s first choice. An image is a metamer (Feather et al. 2019, 2023) if it has the label of "
        "the photograph and its code agrees with the photograph’s better than those of any two photographs of the run "
        "agree, by Spearman’s ρ, R² and signal to noise."
    )
    by: ClassVar = {"method": "method", "feature": "layer", "data_weight": "C"}
    metrics: ClassVar[Metrics] = (ERROR, EUCLIDEAN, *AGREEMENT, CONSISTENCY, METAMER, NATURALNESS, CORRELATION, SECONDS)
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

    def normaliser(self, settings: Settings, inputs: Inputs, side: int) -> list[Task]:
        """Also the task that finds how well the photographs' codes agree by chance."""
        found = super().normaliser(settings, inputs, side)
        return [*found, *(Task(CHANCE, by_chance, task.settings, task.inputs) for task in found)]

    @staticmethod
    def work(task: Task) -> Outcome:
        """Invert one layer; compare the codes, and the network's labels, of the photograph and of the image."""
        settings, problem = task.settings, Problem.of(task)
        result = problem.invert(settings["method"], data_weight=settings["data_weight"])
        found = agreement(encode(problem.phi, result.image), code_to_numpy(problem.code))
        last = CNN(settings["net"], LAST.get(settings["net"], "fc8"), weights=task.inputs["weights"])
        labels = [label(last, image) for image in (problem.image, result.image)]
        return problem.outcome(result, label=labels[1], consistent=float(labels[0] == labels[1]), **asdict(found))

    def page(self, rows: list[Row], prepared: list[Row]) -> Page:
        """The page, on which each row says whether its image is a metamer, where the null is known."""
        nulls = {row["feature"]: null for row in prepared if (null := null_of(row)) is not None}
        known = [with_values(row, metamer=passed(row, nulls[row["feature"]])) if row["feature"] in nulls else row
                 for row in rows]
        page = super().page(known, prepared)
        if not nulls:
            return page
        means, *others = page.tables
        return replace(page, tables=(replace(means, note=f"{means.note} {by_chance_in_words(nulls)}"), *others))

    def charts(self, rows: list[Row]) -> tuple[str, ...]:
        """Curves by layer, with bands of 1.96 standard errors."""
        return tuple(by_layer(rows, metric) for metric in (ERROR, NATURALNESS, CONSISTENCY) if rows)


def by_chance(task: Task) -> Outcome:
    """The best agreement of the codes of two of a task's photographs."""
    phi = descriptor(task.settings, task.inputs)
    paths = task.inputs["images"].splitlines()
    found = chance_agreement(phi(image_for(task.settings, {"image": path})) for path in paths)
    return Outcome({f"{PREFIX}{name}": value for name, value in asdict(found).items()})


def null_of(row: Row) -> Agreement | None:
    """The null that a preparation found; None for others."""
    values = [row[f"{PREFIX}{part.name}"] for part in fields(Agreement)]
    return None if None in values else Agreement(*values)


def passed(row: Row, null: Agreement) -> float:
    """1 for a metamer, 0 for none."""
    values = [row[part.name] for part in fields(Agreement)]
    return float(bool(row["consistent"]) and None not in values and Agreement(*values).exceeds(null))


def by_chance_in_words(nulls: dict[Any, Agreement]) -> str:
    """The null of each layer."""
    layers = (f"{layer} {', '.join(number(*one).text for one in zip(astuple(null), AGREEMENT, strict=True))}"
              for layer, null in nulls.items())
    return f"By chance, codes of two photographs of the run agree at best (ρ, R², dB): {'; '.join(layers)}."


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
    for (method, setting), members in groups([row for row in rows if not row.diverged], ("method", key)).items():
        found = [interval(row[metric.name] for row in members if row["feature"] == layer) for layer in layers]
        mean, margin = np.array(found).T * metric.factor
        places, edges = np.arange(1, len(layers) + 1), np.nan_to_num(margin)
        series.append(Series(f"{method}, {name} = {setting:g}", places, mean, low=mean - edges, high=mean + edges))
    listed = " · ".join(f"{i} {layer}" for i, layer in enumerate(layers, start=1))
    return line_chart(series, f"layer: {listed}", metric.title)
