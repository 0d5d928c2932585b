"""Other ways from a code to an image; each returns the same Result as the engine."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Baseline

METHODS = {
    "paired-dictionary": ("paired_dictionary", "PairedDictionary"),
    "ridge": ("ridge", "Ridge"),
    "elda": ("elda", "ELDA"),
    "direct": ("direct", "Direct"),
    "collage": ("collage", "Collage"),
    "jigsaw": ("jigsaw", "Jigsaw"),
    "upconv": ("upconv", "UpConvolution"),
    "primal-dual": ("primal_dual", "PrimalDual"),
}
LEARNED_AS = {"dictionary": "paired-dictionary", "basis": "direct"}

__all__ = ["LEARNED_AS", "METHODS", "find"]


def find(name: str) -> type[Baseline]:
    """The class of a method by its command-line name, or by what ``unfeature learn`` calls its model.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    name = LEARNED_AS.get(name, name)
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}: one of {', '.join(METHODS)}")
    module, kind = METHODS[name]
    found: type[Baseline] = getattr(import_module(f".{module}", __name__), kind)
    return found


def __getattr__(name: str) -> Any:
    if name == "KeypointCollage":
        return import_module(".keypoints", __name__).KeypointCollage
    for method, (_, kind) in METHODS.items():
        if kind == name:
            return find(method)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "KeypointCollage", *(kind for _, kind in METHODS.values())]
