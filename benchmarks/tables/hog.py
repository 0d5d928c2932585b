"""``unfeature bench hog``: every method on every hand-made descriptor, beside the published figures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

import numpy as np

from unfeature.baselines import METHODS
from unfeature.baselines.keypoints import Keypoints, SIFTKeypoints
from unfeature.features.base import Representation
from unfeature.features.words.vocabulary import Vocabulary
from unfeature.inversion import PRESETS
from unfeature.io.images import list_images
from unfeature.io.similarity import measures

from .. import protocol
from ..measures import interval
from ..page import (
    CORRELATION,
    CVPR15,
    EFFORT,
    ERROR,
    ERRORS,
    LIKENESS,
    Cell,
    Metric,
    Table,
    groups,
    link_to,
    number,
    text,
)
from ..protocol import SIDE, Problem, descriptor, image_for
from ..study import Features, Names, Option, Side, Steps, Study, chosen
from ..tasks import Inputs, Outcome, Plan, Row, Settings, Task, Work, digest

POINTS = "keypoints"
"""SIFT at interest points: a descriptor and a baseline in one."""


@dataclass(frozen=True, kw_only=True)
class Hog(Study):
    """Invert descriptors with every method, beside the published figures."""

    title = "Descriptors, inverted"
    heading = "Methods"
    lead = (
        "Images found from the codes of photographs. The relative error is ‖Φ(x) − Φ₀‖ / ‖Φ₀‖, which is small wherever "
        "codes have no negative values; the centred error divides by ‖Φ₀ − its mean cell‖ instead. The CVPR’15 error "
        "is ‖Φ(x) − Φ₀‖² over the mean squared distance between the codes of two photographs. Correlation, SSIM and "
        "PSNR are with the photograph."
    )
    by: ClassVar = {"feature": "descriptor", "method": "method"}
    metrics = (*ERRORS, *LIKENESS, *EFFORT)

    features: Features = ("hog", "hogb", "dsift")
    methods: Annotated[Names | None, Option("Presets and baselines [all that apply].")] = None
    train: Annotated[tuple[Path, ...], Option("Folder of photographs to learn from; may be given again.")] = ()
    models: Annotated[Path | None, Option("Folder of models learned before, METHOD-FEATURE.npz.")] = None
    side: Side = SIDE
    steps: Steps = None

    def plan(self) -> Plan:
        """A row for each descriptor, each method that inverts it, and each photograph."""
        known = (*protocol.descriptor_names(), *protocol.WORD_CODES, POINTS)
        features = chosen(self.features, known, "descriptor")
        methods = self._methods(features, known)
        prepared, rows = self.pictures(self.side), []
        for feature in features:
            settings, inputs = {"feature": feature}, {}
            if feature in protocol.WORD_CODES:
                prepared.append(words := self._words())
                settings["words"], inputs["words"] = words.key, str(words.output)
            if feature != POINTS:
                prepared += self.normaliser(settings, inputs, self.side)
            for method in methods:
                if fits(method, feature):
                    own, files = {**settings, "method": method}, dict(inputs)
                    if learns(method):
                        prepared.append(model := self._model(own, inputs))
                        own["model"], files["model"] = model.key, model.output or model.inputs["model"]
                    rows += self.tasks(own, files, self.side, self.steps if method in PRESETS else None)
        return Plan(tuple(rows), tuple(prepared))

    def _methods(self, features: Names, known: Names) -> Names:
        """The methods; ValueError for a given one that inverts none of the descriptors."""
        everything = (*PRESETS, *METHODS)
        if self.methods is None:
            return tuple(method for method in everything if self.train or self.models or not learns(method))
        for method in chosen(self.methods, everything, "method"):
            if not any(fits(method, feature) for feature in features):
                wanted = next((feature for feature in known if fits(method, feature)), "")
                raise ValueError(f"{method} inverts none of {', '.join(features)}: add --features {wanted}")
        return chosen(self.methods, everything, "method")

    def _words(self) -> Task:
        """The task that learns visual words."""
        if not self.train:
            raise ValueError("visual words are learned from photographs: name a folder of them with --train")
        return self._learning("words", learn_words, {"feature": "words", "count": protocol.WORDS}, {})

    def _model(self, settings: Settings, inputs: Inputs) -> Task:
        """The task that learns a baseline's model, or checks one that was learned before."""
        name = f"{settings['method']}-{settings['feature']}.npz"
        if self.models is not None and (stored := self.models / name).is_file():
            files = {**inputs, "model": str(stored.resolve())}
            return Task("model", learn_model, {**settings, "learned": digest(stored)}, files)
        if not self.train:
            raise ValueError(f"{settings['method']} learns from photographs: name a folder of them with --train, or a "
                             f"folder that holds {name} with --models")
        return self._learning("model", learn_model, settings, inputs)

    def _learning(self, kind: str, work: Work, settings: Settings, inputs: Inputs) -> Task:
        own = {**settings, "train": collection_digest(self.train), "side": self.side, "seed": self.seed}
        folders = "\n".join(str(folder.resolve()) for folder in self.train)
        task = Task(kind, work, own, {**inputs, "train": folders})
        return replace(task, output=str((self.out / "models" / f"{task.key}.npz").resolve()))

    @staticmethod
    def work(task: Task) -> Outcome:
        """Encode the photograph, find an image, and measure it."""
        method, seed = task.settings["method"], task.settings["seed"]
        if method == POINTS:
            return from_keypoints(task)
        problem = Problem.of(task)
        if method in PRESETS:
            result = problem.invert(method)
        else:
            phi, kind = problem.phi.cpu(), METHODS[method]
            baseline = kind.load(task.inputs["model"], phi) if kind.learned else kind.of(phi)
            result = baseline.invert(phi, problem.code.cpu(), size=problem.image.shape[:2], seed=seed)
        return problem.outcome(result)

    def tables(self, rows: list[Row]) -> tuple[Table, ...]:
        """The summary, the published figures, and every photograph."""
        means, everything = super().tables(rows)
        published = beside_published(rows)
        return (means, published, everything) if published.rows else (means, everything)


def fits(method: str, feature: str) -> bool:
    """Whether a preset or a baseline inverts a descriptor."""
    return feature != POINTS if method in PRESETS else METHODS[method].inverts(planned(feature))


def planned(feature: str) -> Representation | SIFTKeypoints:
    """The descriptor, or one like it: two arbitrary words replace those that the run will learn."""
    if feature == POINTS:
        return SIFTKeypoints()
    if feature not in protocol.WORD_CODES:
        return protocol.named_descriptor(feature)
    local = protocol.named_descriptor(protocol.WORDS_OF)
    words = np.eye(2, local.output_shape(protocol.SIDE, protocol.SIDE)[0], dtype=np.float32)
    return protocol.WORD_CODES[feature](Vocabulary(local, words))


def learns(method: str) -> bool:
    """Whether a method is learned from photographs."""
    return method in METHODS and METHODS[method].learned


def from_keypoints(task: Task) -> Outcome:
    """The collage of a photograph's keypoints, which have no code of fixed shape, and so no error."""
    image = image_for(task.settings, task.inputs)
    phi = SIFTKeypoints()
    result = Keypoints.load(task.inputs["model"], phi).invert(phi, phi(image))
    facts = {name: result.provenance[name] for name in ("seconds", "keypoints")}
    return Outcome({**measures(image, result.image), **facts, "status": result.status}, {"image": result.image})


def collection_digest(folders: Iterable[Path]) -> str:
    """A fingerprint of the photographs in folders: their paths in the folder, and their sizes."""
    paths = ((path.relative_to(folder), path.stat().st_size) for folder in folders for path in list_images(folder))
    listed = "\n".join(f"{inside.as_posix()} {size}" for inside, size in paths)
    return hashlib.sha256(listed.encode()).hexdigest()[:16]


def learn_model(task: Task) -> Outcome:
    """Learn a baseline's model into the task's output, or check a stored one."""
    settings = task.settings
    kind = METHODS[settings["method"]]
    phi = SIFTKeypoints() if settings["feature"] == POINTS else descriptor(settings, task.inputs)
    if task.output is None:
        kind.load(task.inputs["model"], phi)
    else:
        Path(task.output).parent.mkdir(parents=True, exist_ok=True)
        kind.learn(task.inputs["train"].splitlines(), phi, output=task.output, seed=settings["seed"],
                   side=settings["side"])
    return Outcome({})


def learn_words(task: Task) -> Outcome:
    """Learn visual words into the task's output."""
    files = [file for folder in task.inputs["train"].splitlines() for file in list_images(folder)]
    phi = protocol.named_descriptor(protocol.WORDS_OF)
    Vocabulary.learn(files, phi, words=task.settings["count"], seed=task.settings["seed"]).save(str(task.output))
    return Outcome({})


class Published(NamedTuple):
    """A published figure: its row and measure, mean and deviation as text, source, and what differs from ours."""

    feature: str
    method: str
    metric: Metric
    figure: str
    source: str
    differs: str


OTHER_PHOTOGRAPHS = "the first 100 of ILSVRC-2012 val; ± is the deviation over them"
SPAMS = ("HOGgles’ algorithm, run again with SPAMS", "all 100 photographs of the sample; 100,000 training windows")
PUBLISHED = (
    Published("hog", "paired-dictionary", CVPR15, "66.2 ± 13.7", "Mahendran & Vedaldi 2015, of HOGgles",
              f"{OTHER_PHOTOGRAPHS}; HOGgles’ own DPM features and dictionary"),
    Published("hog", "cvpr2015", CVPR15, "28.1 ± 7.9", "Mahendran & Vedaldi 2015", OTHER_PHOTOGRAPHS),
    Published("hogb", "cvpr2015", CVPR15, "10.67 ± 5.2", "Mahendran & Vedaldi 2015", OTHER_PHOTOGRAPHS),
    Published("dsift", "cvpr2015", CVPR15, "10.89 ± 7.5", "Mahendran & Vedaldi 2015",
              f"{OTHER_PHOTOGRAPHS}; bins of 5 pixels"),
    Published("dpm", "paired-dictionary", ERROR, "0.589", *SPAMS),
    Published("dpm", "paired-dictionary", CORRELATION, "0.613", *SPAMS),
)


def beside_published(rows: list[Row]) -> Table:
    """The published figures of the methods and descriptors that the rows have, with ours."""
    found = groups(rows, tuple(Hog.by))
    lines = []
    for known in PUBLISHED:
        if (members := found.get((known.feature, known.method))) is not None:
            mean, margin = interval(row[known.metric.name] for row in members)
            lines.append((text(known.feature), text(known.method), text(known.metric.title),
                          Cell(known.figure, float(known.figure.partition(" ")[0])),
                          number(mean, known.metric, link_to(members[0]), margin),
                          text(known.source), text(known.differs)))
    columns = ("descriptor", "method", "measure", "published", "ours", "source", "what differs")
    return Table("published", "Beside the published figures", columns, tuple(lines),
                 "Ours: mean ± 1.96 standard errors, of the photographs of this run.")
