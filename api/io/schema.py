"""What the fields of a file are: names, types, shapes and ranges, declared for each kind of file and checked here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Field:
    """An array: its dtype ("" for any numbers), its shape and its range, both ends included.

    A dimension is a number, or a name that stands for one number in all fields of a file. A shape of None is any.
    Floats are finite unless `finite` is off.
    """

    dtype: str = ""
    shape: tuple[int | str, ...] | None = None
    low: float = -math.inf
    high: float = math.inf
    optional: bool = False
    finite: bool = True

    def trouble(self, value: Any, sizes: dict[str, int]) -> str:
        """What is wrong with a value, or nothing; new named dimensions are added to `sizes`."""
        if not isinstance(value, np.ndarray):
            return f"is {_shown(value)} instead of an array"
        if value.dtype.kind not in "biuf" or (self.dtype and value.dtype != np.dtype(self.dtype)):
            return f"has the dtype {value.dtype} instead of {self.dtype or 'numbers'}"
        if self.shape is not None and not _fits(value.shape, self.shape, sizes):
            expected = ", ".join(f"{n} = {sizes[n]}" if n in sizes else str(n) for n in self.shape)
            return f"has the shape {value.shape} instead of ({expected})"
        return self._range_trouble(value)

    def _range_trouble(self, value: NDArray[Any]) -> str:
        if self.finite and value.dtype.kind == "f" and not np.isfinite(value).all():
            return f"has {int((~np.isfinite(value)).sum())} values that are not finite"
        bounded = math.isfinite(self.low) or math.isfinite(self.high)
        if bounded and value.size and (value.min() < self.low or value.max() > self.high):
            return f"spans {value.min():g} to {value.max():g} instead of {self.low:g} to {self.high:g}"
        return ""


@dataclass(frozen=True)
class Value:
    """A value of JSON: its Python type, its range or choices. A float may be a whole number, but no NaN."""

    type: type
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[Any, ...] = ()
    optional: bool = False

    def trouble(self, value: Any, sizes: dict[str, int]) -> str:
        """What is wrong with a value, or nothing."""
        accepted = (int, float) if self.type is float else self.type
        if not isinstance(value, accepted) or (isinstance(value, bool) and self.type is not bool):
            return f"is {_shown(value)} instead of a value of type {self.type.__name__}"
        if self.choices and value not in self.choices:
            return f"is {_shown(value)} instead of one of {', '.join(map(repr, self.choices))}"
        if isinstance(value, (int, float)) and not (self.low <= value <= self.high and abs(value) != math.inf):
            return f"is {_shown(value)} instead of a number from {self.low:g} to {self.high:g}"
        return ""


Schema = Mapping[str, Field | Value]


def check_fields(source: Any, values: Any, schema: Schema, sizes: Mapping[str, int] | None = None) -> dict[str, int]:
    """The named dimensions of some values; a ValueError, which names the source, unless they fit the schema.

    `sizes` are dimensions that are known already, as those that follow from a descriptor.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{source} is damaged: it holds {_shown(values)} instead of fields by name")
    missing = [name for name, field in schema.items() if name not in values and not field.optional]
    if missing or (unknown := [str(name) for name in values if name not in schema]):
        said = f"lacks {', '.join(missing)}" if missing else f"has unknown fields: {_shown(', '.join(unknown))}"
        raise ValueError(f"{source} is damaged, or was written by another version: it {said}")
    known = dict(sizes or {})
    for name, field in schema.items():
        if name in values and (trouble := field.trouble(values[name], known)):
            raise ValueError(f"{source} is damaged, or does not fit: {name} {trouble}")
    return known


def check_shapes(source: Any, arrays: Mapping[str, Any], schema: Schema, sizes: Mapping[str, int]) -> None:
    """A ValueError, which names the source, unless the arrays of the schema have shapes of these dimensions."""
    known = dict(sizes)
    for name, field in schema.items():
        if isinstance(field, Field) and field.shape is not None and not _fits(arrays[name].shape, field.shape, known):
            expected = ", ".join(f"{n} = {known[n]}" if n in known else str(n) for n in field.shape)
            raise ValueError(f"{source} does not fit: {name} has the shape {arrays[name].shape} instead of "
                             f"({expected})")


def _fits(shape: tuple[int, ...], expected: tuple[int | str, ...], sizes: dict[str, int]) -> bool:
    if len(shape) != len(expected):
        return False
    return all(n == (sizes.setdefault(e, n) if isinstance(e, str) else e) for n, e in zip(shape, expected, strict=True))


def _shown(value: Any) -> str:
    try:
        text = str(value) if isinstance(value, str) else repr(value)
    except ValueError:  # an integer of more digits than Python prints
        text = "a huge number"
    return text if len(text) <= 60 else f"{text[:57]}…"
