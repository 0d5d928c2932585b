"""``unfeature bench cnn``: layers of a network inverted, by C: error, naturalness, and whether the label survives."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unfeature.features.networks.cnn import CNN
from unfeature.inversion.invert import invert
from unfeature.inversion.recipes import PRESETS
from unfeature.show.curves import Series, line_chart

from .. import page as tables
from .. import preparations
from ..page import Page, Plan
from ..protocol import Options, code_on, descriptor, image_for, image_settings, interval, measures
from ..tasks import Outcome, Row, Task, digest
from .hog import with_cvpr15

DATA_WEIGHTS = (1.0, 20.0, 100.0, 300.0)
METHODS = ("ijcv2016", "best")
LAST = {"squeezenet1_0": "pool_final", "torchvision-squeezenet1_0": "pool_final"}
LAYERS: dict[str, tuple[str, ...]] = {
    "squeezenet1_0": ("conv1", "fire2", "fire3", "fire4", "fire5", "fire6", "fire7", "fire8", "fire9",
                      "conv_final"),
}
USUAL_LAYERS: tuple[str, ...] = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
"""The published networks end in fc8; the layers by default are those whose weights are learned."""
BY = {"method": "method", "feature": "layer", "data_weight": "C"}
CONSISTENCY = tables.Metric("consistent", "same label, %", 0, 100)
METRICS = (tables.ERROR, tables.CVPR15, tables.NATURALNESS, CONSISTENCY, tables.CORRELATION, tables.SECONDS)
LEAD = (
    "Layers of a network, inverted with different weights C of the code against the priors. Naturalness is the "
    "intersection of the image’s and the photograph’s histograms of gradient directions; the label is the network’s "
    "first choice."
)


def plan(options: Options) -> Plan:
    """One task for each photograph, layer, C and method."""
    described, inputs = network(options)
    layers = layers_of(options)
    methods = options.chosen(options.methods, METHODS, PRESETS, "method")
    prepared = preparations.photographs(options, net=described["net"])
    rows = []
    for layer in layers:
        CNN(described["net"], layer, weights=inputs["weights"])
        own = {**described, "feature": layer}
        if len(options.photographs) > 1:
            prepared.append(preparations.normaliser(options, own, inputs))
        for method in methods:
            for data_weight in options.data_weights or DATA_WEIGHTS:
                more = {**own, "method": method, "data_weight": data_weight}
                rows += [_task(path, options, more, inputs) for path in options.photographs]
    return Plan(tuple(rows), tuple(prepared))


def layers_of(options: Options) -> tuple[str, ...]:
    """The layers asked for, or the network's usual ones."""
    return options.layers or LAYERS.get(str(options.net), USUAL_LAYERS)


def network(options: Options) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings and inputs of a network's tasks; ValueError if no network was named."""
    if options.net is None or options.weights is None:
        raise ValueError("name a network with --net and its weights with --weights, such as --net squeezenet1_0 "
                         "--weights squeezenet1_0.safetensors")
    weights = options.weights.resolve()
    if not weights.is_file():
        raise FileNotFoundError(f"there is no file {options.weights}")
    return {"net": options.net, "weights_digest": digest(weights)}, {"weights": str(weights)}


def _task(path: Any, options: Options, described: dict[str, Any], files: dict[str, str]) -> Task:
    settings, inputs = image_settings(path, options)
    steps = {} if options.steps is None else {"steps": options.steps}
    return Task("cnn", {**described, **settings, **steps}, {**inputs, **files}, device=options.device)


def work(task: Task) -> Outcome:
    """Invert one layer, and ask the network what it sees."""
    settings = task.settings
    phi, image = descriptor(settings, task.inputs), image_for(settings, task.inputs)
    code = code_on(phi, image, task.device)
    result = invert(phi, code, preset=settings["method"], steps=settings.get("steps"),
                    data_weight=settings["data_weight"], size=image.shape[:2],
                    seed=settings["seed"])
    last = CNN(settings["net"], LAST.get(settings["net"], "fc8"), weights=task.inputs["weights"])
    labels = [label(last, picture) for picture in (image, result.image)]
    values = {**measures(result, image), "label": labels[1], "consistent": float(labels[0] == labels[1])}
    return Outcome(values, {"image": result.image})


def label(scores: CNN, image: NDArray[Any]) -> int:
    """The class that a network's scores, averaged over positions, put first."""
    x = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)).permute(2, 0, 1)[None]
    with torch.no_grad():
        code = scores(x)
        return int(code.reshape(1, code.shape[1], -1).mean(2).argmax())


def page(rows: list[Row], prepared: list[Row], options: Options) -> Page:
    """Tables, curves by layer with bands of 1.96 standard errors, and pictures."""
    rows = with_cvpr15(rows, prepared)
    originals = [row for row in prepared if "image" in row.pictures]
    tabled = (tables.summary("summary", "Layers", rows, BY, METRICS),
              tables.every_image(rows, {**BY, "image": "photograph"}, METRICS))
    charts = tuple(by_layer(rows, metric) for metric in (tables.ERROR, tables.NATURALNESS, CONSISTENCY) if rows)
    return Page("Layers of a network, inverted", LEAD, tuple(rows), tabled, charts,
                tables.sheets(rows, originals, "feature", ("method", "data_weight")))


def by_layer(rows: list[Row], metric: tables.Metric) -> str:
    """One curve for each method and C: a quantity over the layers, in their order."""
    layers = list(dict.fromkeys(row["feature"] for row in rows))
    series = []
    for (method, data_weight), members in tables.groups(rows, ("method", "data_weight")).items():
        found = [interval(row[metric.name] for row in members if row["feature"] == layer) for layer in layers]
        mean, margin = np.array(found).T * metric.factor
        places, edges = np.arange(1, len(layers) + 1), np.nan_to_num(margin)
        series.append(Series(f"{method}, C = {data_weight:g}", places, mean, low=mean - edges, high=mean + edges))
    listed = " · ".join(f"{i} {layer}" for i, layer in enumerate(layers, start=1))
    return line_chart(series, f"layer: {listed}", metric.title)
