"""``unfeature bench hog``: every method on every hand-made descriptor, beside the published figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unfeature.baselines import METHODS as BASELINES
from unfeature.baselines import find
from unfeature.baselines.keypoints import Keypoints, SIFTKeypoints
from unfeature.inversion.invert import invert
from unfeature.inversion.recipes import PRESETS
from unfeature.inversion.result import Result

from .. import page as tables
from .. import preparations
from ..page import Cell, Page, Plan, Table
from ..protocol import (
    BAGS,
    DESCRIPTORS,
    LEARNED,
    ONLY,
    UNLEARNED,
    Image,
    Options,
    code_on,
    descriptor,
    image_for,
    image_settings,
    interval,
    likeness,
    measures,
)
from ..tasks import Outcome, Row, Task

FEATURES = ("hog", "hogb", "dsift")
METHODS = (*PRESETS, *LEARNED, *UNLEARNED)
POINTS = "keypoints"
BY = {"feature": "descriptor", "method": "method"}
SUMMARY = (tables.ERROR, tables.CENTRED, tables.CVPR15, tables.CORRELATION, tables.SSIM, tables.PSNR, tables.SECONDS,
           tables.PROCESSOR, tables.EVALUATIONS)
LEAD = (
    "Photographs found from their codes. The relative error is ‖Φ(x) − Φ₀‖ / ‖Φ₀‖, and flatters, for these codes are "
    "not negative; the centred error divides by ‖Φ₀ − its mean cell‖, the CVPR’15 error is ‖Φ(x) − Φ₀‖² over the mean "
    "squared distance between the codes of two photographs. Correlation, SSIM and PSNR are with the photograph."
)


@dataclass(frozen=True)
class Published:
    """A published figure: for which row of ours, the measure, mean and ± deviation, and what differs."""

    feature: str
    method: str
    metric: tables.Metric
    mean: float
    deviation: float | None
    source: str
    differs: str


OTHER_PHOTOGRAPHS = "the first 100 of ILSVRC-2012 val; ± is the deviation over them"
PUBLISHED = (
    Published("hog", "paired-dictionary", tables.CVPR15, 66.20, 13.7, "Mahendran & Vedaldi 2015, of HOGgles",
              f"{OTHER_PHOTOGRAPHS}; HOGgles’ own DPM features and dictionary"),
    Published("hog", "cvpr2015", tables.CVPR15, 28.10, 7.9, "Mahendran & Vedaldi 2015", OTHER_PHOTOGRAPHS),
    Published("hogb", "cvpr2015", tables.CVPR15, 10.67, 5.2, "Mahendran & Vedaldi 2015", OTHER_PHOTOGRAPHS),
    Published("dsift", "cvpr2015", tables.CVPR15, 10.89, 7.5, "Mahendran & Vedaldi 2015",
              f"{OTHER_PHOTOGRAPHS}; bins of 5 pixels"),
    Published("dpm", "paired-dictionary", tables.ERROR, 0.589, None, "HOGgles’ algorithm, run again with SPAMS",
              "all 100 photographs of the sample; 100,000 training windows"),
    Published("dpm", "paired-dictionary", tables.CORRELATION, 0.613, None, "HOGgles’ algorithm, run again with SPAMS",
              "all 100 photographs of the sample; 100,000 training windows"),
)


def plan(options: Options) -> Plan:
    """The tasks: photographs, normalisers and models first, then one for each photograph, method and descriptor."""
    features = options.chosen(options.features, FEATURES, (*DESCRIPTORS, *BAGS, POINTS), "descriptor")
    learnable = bool(options.train) or options.models is not None
    usual = METHODS if learnable else (*PRESETS, *UNLEARNED)
    methods = options.chosen(options.methods, usual, METHODS, "method")
    idle = [method for method in methods if not any(applies(method, feature) for feature in features)]
    if idle and options.methods is not None:
        wanted = find(idle[0]).feature
        raise ValueError(f"{idle[0]} inverts none of {', '.join(features)}: add --features {wanted}")
    prepared, rows = preparations.photographs(options), []
    for feature in features:
        described: dict[str, Any] = {"feature": feature}
        inputs: dict[str, str] = {}
        if feature in BAGS:
            vocabulary = preparations.words(options)
            prepared.append(vocabulary)
            described["words"], inputs["words"] = vocabulary.key, str(vocabulary.output)
        if len(options.photographs) > 1 and feature != POINTS:
            prepared.append(preparations.normaliser(options, described, inputs))
        for method in methods:
            if not applies(method, feature):
                continue
            more, files = dict(described), dict(inputs)
            if method in LEARNED:
                model = preparations.model(options, method, feature, described, inputs)
                prepared.append(model)
                more["model"], files["model"] = model.key, preparations.model_file(model)
            rows += [_task(path, options, method, more, files) for path in options.photographs]
    prepared.sort(key=lambda task: ("words", "model").index(task.kind) if task.kind in ("words", "model") else 2)
    return Plan(tuple(rows), tuple(prepared))


def applies(method: str, feature: str) -> bool:
    """Whether a method inverts a descriptor."""
    if method in ONLY:
        return feature in ONLY[method]
    return feature in DESCRIPTORS or (feature in BAGS and method in PRESETS)


def _task(path: Any, options: Options, method: str, described: dict[str, Any], files: dict[str, str]) -> Task:
    settings, inputs = image_settings(path, options)
    steps = {} if options.steps is None or method not in PRESETS else {"steps": options.steps}
    return Task("hog", {**described, "method": method, **settings, **steps}, {**inputs, **files}, device=options.device)


def work(task: Task) -> Outcome:
    """Encode the photograph, find an image, and measure it."""
    image = image_for(task.settings, task.inputs)
    if task.settings["feature"] == POINTS:
        return _from_keypoints(task, image)
    phi = descriptor(task.settings, task.inputs)
    result = find_image(task, phi, image)
    return Outcome(measures(result, image), {"image": result.image})


def _from_keypoints(task: Task, image: Image) -> Outcome:
    """Keypoints have no code of fixed shape, and so no error."""
    phi = SIFTKeypoints()
    result = Keypoints.load(task.inputs["model"], phi).invert(phi, phi(image))
    facts = {name: result.provenance[name] for name in ("seconds", "keypoints")}
    return Outcome({**likeness(image, result.image), **facts, "status": result.status}, {"image": result.image})


def find_image(task: Task, phi: Any, image: Any) -> Result:
    """The result of the task's method, a preset or another one."""
    method, seed = task.settings["method"], task.settings["seed"]
    size = image.shape[:2]
    if method in BASELINES:
        kind = find(method)
        chosen = kind.load(task.inputs["model"], phi) if kind.learned else kind.of(phi)
        return chosen.invert(phi, phi(image), size=size, seed=seed)
    code = code_on(phi, image, task.device)
    return invert(phi, code, preset=method, steps=task.settings.get("steps"), size=size, seed=seed)


def page(rows: list[Row], prepared: list[Row], options: Options) -> Page:
    """The tables and pictures."""
    rows = with_cvpr15(rows, prepared)
    originals = [row for row in prepared if "image" in row.pictures]
    tabled = [tables.summary("summary", "Methods", rows, BY, SUMMARY)]
    compared = beside_published(rows)
    if compared.rows:
        tabled.append(compared)
    everything = {**BY, "image": "photograph"}
    tabled.append(tables.every_image(rows, everything, SUMMARY))
    sheets = tables.sheets(rows, originals, "feature", ("method",))
    return Page("Descriptors, inverted", LEAD, tuple(rows), tuple(tabled), (), sheets)


def with_cvpr15(rows: list[Row], prepared: list[Row]) -> list[Row]:
    """Rows with the CVPR 2015 error, where its normaliser is known."""
    known = {row["feature"]: row["normaliser"] for row in prepared if row["normaliser"]}
    return [tables.with_values(row, cvpr15=row["squared_error"] / (row["positions"] * known[row["feature"]]))
            if row["feature"] in known else row for row in rows]


def beside_published(rows: list[Row]) -> Table:
    """The published figures of the methods and descriptors that the rows have, with ours."""
    found = tables.groups(rows, tuple(BY))
    lines = []
    for figure in PUBLISHED:
        members = found.get((figure.feature, figure.method))
        if members is None:
            continue
        mean, margin = interval(row[figure.metric.name] for row in members)
        deviation = "" if figure.deviation is None else f" ± {figure.deviation:g}"
        lines.append((tables.text(figure.feature), tables.text(figure.method), tables.text(figure.metric.title),
                      Cell(f"{figure.mean:g}{deviation}", figure.mean),
                      tables.number(mean, figure.metric, f"#p-{members[0].key}", margin),
                      tables.text(figure.source), tables.text(figure.differs)))
    columns = ("descriptor", "method", "measure", "published", "ours", "source", "what differs")
    return Table("published", "Beside the published figures", columns, tuple(lines),
                 "Ours: mean ± 1.96 standard errors, of the photographs of this run.")
