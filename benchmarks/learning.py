"""What baselines learn before the rows of a table: visual words and models."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from pathlib import Path

from unfeature.baselines import find
from unfeature.baselines.keypoints import KeypointCollage
from unfeature.features.words.vocabulary import Vocabulary
from unfeature.io.images import list_images

from .protocol import DESCRIPTORS, WORDS_OF, descriptor
from .tasks import Outcome, Task

POINTS = "keypoints"
"""SIFT at interest points: a descriptor and a baseline in one."""


def collection_digest(folders: Iterable[Path]) -> str:
    """A fingerprint of the photographs in folders: their paths in the folder, and their sizes."""
    paths = ((path.relative_to(folder), path.stat().st_size) for folder in folders for path in list_images(folder))
    listed = "\n".join(f"{inside.as_posix()} {size}" for inside, size in paths)
    return hashlib.sha256(listed.encode()).hexdigest()[:16]


def learn_model(task: Task) -> Outcome:
    """Learn a baseline's model into the task's output, or check a stored one."""
    settings, begin = task.settings, time.perf_counter()
    points = settings["method"] == POINTS
    kind = KeypointCollage if points else find(settings["method"])
    codes = () if points else (descriptor(settings, task.inputs),)
    if task.output is None:
        kind.load(task.inputs["model"], *codes)
    else:
        Path(task.output).parent.mkdir(parents=True, exist_ok=True)
        kind.learn(task.inputs["train"].splitlines(), *codes, output=task.output, seed=settings["seed"],
                   side=settings["side"])
    return Outcome({"seconds": time.perf_counter() - begin})


def learn_words(task: Task) -> Outcome:
    """Learn visual words into the task's output."""
    settings, begin = task.settings, time.perf_counter()
    files = [file for folder in task.inputs["train"].splitlines() for file in list_images(folder)]
    vocabulary = Vocabulary.learn(files, DESCRIPTORS[WORDS_OF](), words=settings["count"], seed=settings["seed"])
    vocabulary.save(str(task.output))
    return Outcome({"seconds": time.perf_counter() - begin})
