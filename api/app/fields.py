"""What a form asks for: the parameters of descriptors and the methods, read from the catalogues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import click

from unfeature.baselines import METHODS
from unfeature.catalogue import summary_of
from unfeature.features import DESCRIPTORS
from unfeature.inversion import PRESETS
from unfeature.parameters.kinds import File, Name, Number, Parsed, Whole
from unfeature.parameters.signatures import ParameterOption, options_of

Kind = Literal["flag", "choice", "whole", "number", "text", "file"]
KINDS: tuple[tuple[type, Kind], ...] = (
    (click.types.BoolParamType, "flag"), (Name, "choice"), (Whole, "whole"), (Number, "number"), (File, "file"))


@dataclass(frozen=True)
class Field:
    """One parameter of a descriptor, as a form asks for it: that of an option of the command line."""

    option: ParameterOption

    @property
    def name(self) -> str:
        """The parameter's name."""
        return self.option.parameter

    @property
    def label(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ")

    @property
    def kind(self) -> Kind:
        """How a form asks for it."""
        kind = self.option.type
        if isinstance(kind, Parsed):
            return "file" if kind.name == "file" else "text"
        return next((known for one, known in KINDS if isinstance(kind, one)), "text")

    @property
    def choices(self) -> list[str]:
        """The names to choose from."""
        return list(self.option.type.known) if isinstance(self.option.type, Name) else []

    def read(self, given: Any) -> Any:
        """The value of what a form holds, None for the default; ValueError if it is no value, or needed and missing."""
        if given is None or given == "":
            if self.option.needed:
                raise ValueError(f"{self.label} is missing: {self.option.sentence or 'it has no default'}")
            return None
        try:
            return self.option.type.convert(given, None, None)
        except click.UsageError as error:
            raise ValueError(f"{self.label}: {error.message}") from error

    def written(self, given: Any) -> list[str]:
        """A value as arguments of the command line; none for the default."""
        if given is None or given in ("", self.option.usual, self.option.written):
            return []
        if self.kind == "flag":
            return [(self.option.opts if given else self.option.secondary_opts)[0]]
        return [self.option.opts[0], str(given)]


@dataclass(frozen=True)
class Method:
    """A preset or a baseline, with a sentence about it and whether it needs a model file for every descriptor."""

    name: str
    sentence: str
    preset: bool
    needs_model: bool = False


@cache
def fields_of(feature: str) -> tuple[Field, ...]:
    """The parameters of a descriptor."""
    entry = DESCRIPTORS.find(feature)
    return tuple(Field(option) for option in options_of(entry.__init__, entry.__mro__))


@cache
def features() -> dict[str, str]:
    """The names of the descriptors, usual ones first, and a sentence about each."""
    usual = ["hog", "dsift"]
    return {name: DESCRIPTORS.outline(name)[0] for name in [*usual, *(n for n in DESCRIPTORS if n not in usual)]}


@cache
def methods() -> dict[str, Method]:
    """The presets, then the baselines that invert codes of descriptors, by name."""
    found = [Method(name, summary_of(make.__doc__), True) for name, make in PRESETS.items()]
    for name, method in METHODS.items():
        if method.feature in DESCRIPTORS:
            needs = method.learned and not method.shipped()
            found.append(Method(name, summary_of(method.__doc__), False, needs))
    return {method.name: method for method in found}


def read_options(feature: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a descriptor from what a form holds, by parameter; ValueError for the first that is wrong."""
    read = {field.name: field.read(given.get(field.name)) for field in fields_of(feature)}
    return {name: value for name, value in read.items() if value is not None}
