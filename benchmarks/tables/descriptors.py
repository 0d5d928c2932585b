"""``unfeature bench descriptors``: every method on every hand-made descriptor."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np

from unfeature.baselines import METHODS
from unfeature.baselines.keypoints import Keypoints, SIFTKeypoints
from unfeature.features.base import Representation
from unfeature.features.words.vocabulary import Vocabulary
from unfeature.inversion import PRESETS
from unfeature.inversion.result import Result
from unfeature.io.images import list_images
from unfeature.io.similarity import measures

from .. import protocol
from ..page import EFFORT, ERRORS, LIKENESS, WITHIN, Metrics
from ..protocol import SIDE, Problem, descriptor, image_for
from ..study import Features, Names, Option, Side, Steps, Study, chosen
from ..tasks import Inputs, Outcome, Plan, Settings, Task, Work, digest

SLOW = ("deep-prior",)
"""Presets that take minutes a photograph, and are run only where they are named."""
POINTS = "keypoints"
"""SIFT at interest points: a descriptor and a baseline in one."""


@dataclass(frozen=True, kw_only=True)
class Descriptors(Study):
    """Invert descriptors with every method."""

    title = "Descriptors, inverted"
    heading = "Methods"
    lead = (
        "What to see: which method keeps most of the code (errors) and most of the photograph (correlation, SSIM). "
        "The relative error is ‖Φ(x) − Φ₀‖ / ‖Φ₀‖, which is small wherever codes have no negative values; the centred "
        "error divides by ‖Φ₀ − its mean cell‖ instead. The euclidean error divides by the mean distance between the "
        "codes of two photographs, the squared error ‖Φ(x) − Φ₀‖² by the mean of their squares. Correlation, SSIM and "
        "PSNR are with the photograph. Within ± 2 σ is the share of the photograph’s pixels, where σ is known. A zero "
        "code has a relative error of 1: hard visual words have no gradient, so that the published presets, which use "
        "no surrogate, end above it."
    )
    by: ClassVar = {"feature": "descriptor", "method": "method"}
    metrics: ClassVar[Metrics] = (*ERRORS, *LIKENESS, WITHIN, *EFFORT)

    features: Features = ("hog", "hogb", "dsift")
    methods: Annotated[Names | None, Option("Presets and baselines [all that apply but deep-prior].")] = None
    train: Annotated[tuple[Path, ...], Option("Folder of photographs to learn from; may be given again.")] = ()
    models: Annotated[Path | None, Option("Folder of models learned before, METHOD-FEATURE.npz.")] = None
    side: Side = SIDE
    steps: Steps = None

    def pairs(self) -> dict[str, list[str]]:
        """The methods of each descriptor: those that invert it."""
        known = (*protocol.descriptor_names(), *protocol.WORD_CODES, POINTS)
        features = chosen(self.features, known, "descriptor")
        methods = self._methods(features, known)
        return {feature: [method for method in methods if fits(method, feature)] for feature in features}

    def plan(self) -> Plan:
        """A row for each descriptor, method and photograph."""
        prepared, rows = self.pictures(self.side), []
        for feature, methods in self.pairs().items():
            settings, inputs = {"feature": feature}, {}
            if feature in protocol.WORD_CODES:
                prepared.append(words := self._words())
                settings["words"], inputs["words"] = words.key, str(words.output)
            if feature != POINTS:
                prepared += self.normaliser(settings, inputs, self.side)
            for method in methods:
                own, files = {**settings, "method": method}, dict(inputs)
                if learns(method):
                    prepared.append(model := self._model(own, inputs))
                    own["model"] = model.key
                    files |= {"model": model.output} if model.output else model.inputs
                rows += self.tasks(own, files, self.side, self.steps if method in PRESETS else None)
        return Plan(tuple(rows), tuple(prepared))

    def _methods(self, features: Names, known: Names) -> Names:
        """The methods; ValueError for a given one that inverts none of the descriptors."""
        everything = (*PRESETS, *METHODS)
        if self.methods is None:
            return tuple(method for method in everything if method not in SLOW
                         and (self.train or self.models or not learns(method)))
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
        if self.train:
            return self._learning("model", learn_model, settings, inputs)
        if ships(settings["method"], settings["feature"]):
            return Task("model", learn_model, {**settings, "learned": f"ships with {version('unfeature')}"}, inputs)
        raise ValueError(f"{settings['method']} learns from photographs: name a folder of them with --train, or a "
                         f"folder that holds {name} with --models")

    def _learning(self, kind: str, work: Work, settings: Settings, inputs: Inputs) -> Task:
        own = {**settings, "train": collection_digest(self.train), "side": self.side, "seed": self.seed}
        folders = "\n".join(str(folder.resolve()) for folder in self.train)
        task = Task(kind, work, own, {**inputs, "train": folders})
        return replace(task, output=str((self.out / "models" / f"{task.key}.npz").resolve()))

    @staticmethod
    def work(task: Task) -> Outcome:
        """Encode the photograph, find an image, and measure it."""
        if task.settings["method"] == POINTS:
            return from_keypoints(task)
        problem = Problem.of(task)
        return problem.outcome(inverted(problem))


def inverted(problem: Problem) -> Result:
    """What the method of a task finds."""
    method, inputs = problem.task.settings["method"], problem.task.inputs
    if method in PRESETS:
        return problem.invert(method)
    phi, kind = problem.phi.cpu(), METHODS[method]
    baseline = kind.load(inputs["model"], phi) if "model" in inputs else kind.of(phi)
    return baseline.invert(phi, problem.code.cpu(), size=problem.image.shape[:2], seed=problem.task.settings["seed"])


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


def ships(method: str, feature: str) -> bool:
    """Whether a model of a method for a descriptor ships with the package."""
    return fits(method, feature) and planned(feature).to_config() in METHODS[method].shipped()


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
        _ = kind.load(task.inputs["model"], phi) if "model" in task.inputs else kind.of(phi)
    else:
        Path(task.output).parent.mkdir(parents=True, exist_ok=True)
        kind.learn(task.inputs["train"].splitlines(), phi, output=task.output, seed=settings["seed"],
                   side=settings["side"] or None)
    return Outcome({})


def learn_words(task: Task) -> Outcome:
    """Learn visual words into the task's output."""
    files = [file for folder in task.inputs["train"].splitlines() for file in list_images(folder)]
    phi = protocol.named_descriptor(protocol.WORDS_OF)
    Vocabulary.learn(files, phi, words=task.settings["count"], seed=task.settings["seed"]).save(str(task.output))
    return Outcome({})
