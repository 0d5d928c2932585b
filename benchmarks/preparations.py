"""What the rows need first: the photographs' pictures, normalisers of errors, learned models."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from unfeature.baselines import find
from unfeature.baselines.keypoints import SIFTKeypoints
from unfeature.io.images import list_images

from .protocol import DESCRIPTORS, LEARNED, WORDS, Options, collection_digest, descriptor, image_for, image_settings
from .protocol import normaliser as pair_normaliser
from .tasks import Outcome, Task, digest


def work(task: Task) -> Outcome:
    """Do one preparation."""
    if task.kind == "photograph":
        return Outcome({}, {"image": image_for(task.settings, task.inputs)})
    if task.kind == "normaliser":
        return _normaliser(task)
    return _words(task) if task.kind == "words" else _model(task)


def photographs(options: Options, **settings: Any) -> list[Task]:
    """One task a photograph: its picture for the page."""
    found = (image_settings(path, options) for path in options.photographs)
    return [Task("photograph", {**own, **settings}, inputs) for own, inputs in found]


def normaliser(options: Options, described: dict[str, Any], inputs: dict[str, str]) -> Task:
    """The task that finds N of the CVPR 2015 error, over the test photographs."""
    paths = options.photographs
    settings = {**described, "side": options.side, "images": [[path.stem, digest(path)] for path in paths]}
    return Task("normaliser", settings, {**inputs, "images": "\n".join(str(path.resolve()) for path in paths)})


def model(options: Options, method: str, feature: str, described: dict[str, Any], inputs: dict[str, str]) -> Task:
    """The task that learns a method's model, or takes over one that was learned before."""
    if options.models is not None and (stored := options.models / f"{method}-{feature}.npz").is_file():
        settings = {**described, "method": method, "learned": digest(stored)}
        return Task("model", settings, {**inputs, "model": str(stored.resolve())})
    if not options.train:
        raise ValueError(f"{method} learns from photographs: name a folder of them with --train, or a folder that "
                         f"holds {method}-{feature}.npz with --models")
    settings = {**described, "method": method, "train": collection_digest(options.train), "side": options.side,
                "seed": options.seed, **LEARNED[method]}
    task = Task("model", settings, {**inputs, "train": training(options)})
    output = (options.out / "models" / f"{task.key}.npz").resolve()
    return Task("model", settings, task.inputs, str(output))


def words(options: Options) -> Task:
    """The task that learns visual words."""
    if not options.train:
        raise ValueError("visual words are learned from photographs: name a folder of them with --train")
    settings = {"feature": "words", "count": WORDS, "train": collection_digest(options.train), "side": options.side,
                "seed": options.seed}
    task = Task("words", settings, {"train": training(options)})
    return Task("words", settings, task.inputs, str((options.out / "models" / f"{task.key}.npz").resolve()))


def training(options: Options) -> str:
    """The folders of training photographs, as a task's input."""
    return "\n".join(str(folder.resolve()) for folder in options.train)


def model_file(task: Task) -> str:
    """Where the model of a task of `model` is."""
    return task.output or task.inputs["model"]


def _normaliser(task: Task) -> Outcome:
    phi = descriptor(task.settings, task.inputs)
    paths = task.inputs["images"].splitlines()
    codes = [phi(image_for(task.settings, {"image": path})) for path in paths]
    return Outcome({"normaliser": pair_normaliser(codes)})


def _model(task: Task) -> Outcome:
    settings, begin = task.settings, time.perf_counter()
    method = settings["method"]
    phi = SIFTKeypoints() if method == "keypoints" else descriptor(settings, task.inputs)
    kind = find(method)
    if task.output is None:
        kind.load(task.inputs["model"], phi)
    else:
        Path(task.output).parent.mkdir(parents=True, exist_ok=True)
        kind.learn(task.inputs["train"].splitlines(), phi, output=task.output, seed=settings["seed"],
                   side=settings["side"], **LEARNED[method])
    return Outcome({"seconds": time.perf_counter() - begin})


def _words(task: Task) -> Outcome:
    from unfeature.features.words.vocabulary import Vocabulary

    settings, begin = task.settings, time.perf_counter()
    files = [file for folder in task.inputs["train"].splitlines() for file in list_images(folder)]
    vocabulary = Vocabulary.learn(files, DESCRIPTORS["dsift-vlfeat"](), words=settings["count"],
                                  seed=settings["seed"])
    vocabulary.save(str(task.output))
    return Outcome({"seconds": time.perf_counter() - begin})
