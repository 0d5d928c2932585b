"""The codes that the smaller studies invert: descriptors by name, or layers of a network."""

from __future__ import annotations

from typing import Any

from . import preparations
from .protocol import DESCRIPTORS, Options, image_settings
from .tables.cnn import layers_of, network
from .tasks import Task

FEATURES = ("hog",)


def subjects(options: Options) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """Settings and inputs of each descriptor, or with --net of each layer."""
    if options.net is None:
        names = options.chosen(options.features, FEATURES, DESCRIPTORS, "descriptor")
        return [({"feature": name}, {}) for name in names]
    described, inputs = network(options)
    return [({**described, "feature": layer}, inputs) for layer in layers_of(options)]


def photographs(options: Options) -> tuple[Task, ...]:
    """The pictures of the photographs, square and in colour for networks."""
    return tuple(preparations.photographs(options, **({} if options.net is None else {"net": options.net})))


def tasks(kind: str, options: Options, variants: list[dict[str, Any]]) -> tuple[Task, ...]:
    """One task for each subject, variant and photograph."""
    steps = {} if options.steps is None else {"steps": options.steps}
    found = []
    for described, files in subjects(options):
        for variant in variants:
            for path in options.photographs:
                settings, inputs = image_settings(path, options)
                settings = {**described, **variant, **settings, **steps}
                found.append(Task(kind, settings, {**inputs, **files}, device=options.device))
    return tuple(found)
