"""Checks of arguments, which say what is expected."""

from __future__ import annotations

import math

from unfeature.catalogue import suggestion


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """One of the choices, or a ValueError that suggests the nearest."""
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}: choose one of {', '.join(choices)}"
                         f"{suggestion(str(value).lower(), choices)}")
    return value


def check_count(name: str, value: int) -> int:
    """A whole number of at least 1, or a ValueError."""
    if int(value) != value or value < 1:
        raise ValueError(f"{name} is a whole number of at least 1, got {value!r}")
    return int(value)


def check_positive(name: str, value: float) -> float:
    """A finite positive number, or a ValueError."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is a positive number, got {value!r}")
    return float(value)


def check_not_negative(name: str, value: float) -> float:
    """A finite number of at least 0, or a ValueError."""
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} is a number of at least 0, got {value!r}")
    return float(value)
