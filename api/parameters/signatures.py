"""Options read from signatures: names, types and defaults from annotations, help from numpydoc."""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from collections import ChainMap
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click

from .kinds import FILE, Name, Number, Parsed, Whole, values

SPELLING = {  # the parameters whose options do not have their names
    "network": "--net",
    "colour": "--colour-space",
    "bilinear": "--bilinear/--hard",
    "rotation_invariant": "--rotation-invariant/--oriented",
}
PLAIN: dict[Any, click.ParamType] = {  # type: ignore[type-arg]
    bool: click.BOOL, int: Whole(), float: Number(), str: click.STRING, Path: FILE,
}


class ParameterOption(click.Option):
    """The option of `parameter`, `needed` if that has no default; its value is None if it is not given.

    `usual` is the default and `written` its text, `sentence` what it is about.
    """

    def __init__(self, parameter: inspect.Parameter, kind: click.ParamType, sentence: str, taken: Container[str]):  # type: ignore[type-arg]
        self.parameter, self.needed = parameter.name, parameter.default is parameter.empty
        plain = f"{'feature-' if parameter.name in taken else ''}{parameter.name.replace('_', '-')}"
        flags = SPELLING.get(parameter.name, f"--{plain}/--no-{plain}" if kind is click.BOOL else f"--{plain}")
        self.usual, self.sentence = None if self.needed else parameter.default, sentence
        self.written = "" if self.needed else _written(parameter.default, flags)
        text = " ".join(part for part in (sentence, f"[{self.written}]" if self.written else "") if part)
        super().__init__([flags], type=kind, default=None, help=text or None)


def options_of(function: Callable[..., Any], documented: Iterable[Any], taken: Container[str] = (),
               without: Container[str] = ()) -> list[ParameterOption]:
    """The options of a function's parameters; their help is the first sentence of the first numpydoc about them.

    A parameter whose values a command line cannot give has no option, nor have those in `without`. The options of those
    in `taken` begin with ``--feature-``, since the command has options of these names.
    """
    sentences = ChainMap(*(first_sentences(documenting.__doc__ or "") for documenting in documented))
    names = vars(sys.modules[function.__module__])
    return [ParameterOption(p, kind, sentences.get(p.name, ""), taken)
            for p in inspect.signature(function).parameters.values()
            if p.name not in without and (kind := option_type(evaluated(p.annotation, names))) is not None]


def option_type(annotation: Any) -> click.ParamType | None:  # type: ignore[type-arg]
    """The type of the option of an annotation; None if a command line cannot give its values.

    A ``Literal`` becomes a choice, a union a path or the first of its members that has a type, a tuple or sequence a
    list separated by commas, and a class with ``load(path)`` a file.
    """
    origin, members = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return Name(members)
    if origin in (typing.Union, types.UnionType):
        kinds = [option_type(member) for member in sorted(members, key=lambda member: member is not Path)]
        return next((kind for kind in kinds if kind is not None), None)
    if origin in (tuple, Sequence):
        elements = {part for member in members for part in (get_args(member) or (member,))}
        pairs = any(get_origin(part) is tuple for part in elements)
        return values(next((e for e in (float, int, str) if e in elements), int), pairs)
    if isinstance(annotation, type) and hasattr(annotation, "load"):
        return Parsed("file", annotation.load)
    return PLAIN.get(annotation)


def first_sentences(docstring: str) -> dict[str, str]:
    """The first sentence about each parameter of a numpydoc docstring."""
    from docstring_parser import DocstringStyle, parse

    found: dict[str, str] = {}
    for entry in parse(inspect.cleandoc(docstring), DocstringStyle.NUMPYDOC).params:
        sentence = re.split(r"(?<=[.!?])\s", " ".join((entry.description or "").split()), maxsplit=1)[0]
        for name in entry.arg_name.split(", "):
            found.setdefault(name, sentence.replace("`", ""))
    return found


def take_values(options: Sequence[ParameterOption], arguments: dict[str, Any], owner: str) -> dict[str, Any]:
    """Take the values of options given out of a command's arguments; ValueError if a needed one is missing."""
    taken = {option.parameter: arguments.pop(str(option.name), None) for option in options}
    for option in options:
        if option.needed and taken[option.parameter] is None:
            raise ValueError(f"{owner} needs {option.opts[0]}: {option.help or 'it has no default'}")
    return {name: value for name, value in taken.items() if value is not None}


def _written(default: Any, flags: str) -> str:
    """A default value as the command line writes it."""
    if isinstance(default, bool):
        return flags.split("/")[0 if default else -1].lstrip("-")
    if isinstance(default, (tuple, list)):
        return ",".join("x".join(map(str, part)) if isinstance(part, tuple) else str(part) for part in default)
    return "" if default is None else f"{default:g}" if isinstance(default, float) else str(default)


def evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    """An annotation; None if it uses names that only type checkers import."""
    try:
        return eval(annotation, names) if isinstance(annotation, str) else annotation
    except NameError:
        return None
