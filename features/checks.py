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
    return _whole(name, value, 1, math.inf, "of at least 1")


def check_seed(value: int) -> int:
    """A whole number from 0 to 2³² − 1, or a ValueError; generators take no more bits of a seed."""
    return _whole("seed", value, 0, 2**32 - 1, "from 0 to 4294967295")


def check_size(value: tuple[int, int]) -> tuple[int, int]:
    """Height and width in pixels, or a ValueError."""
    try:
        height, width = value
    except (TypeError, ValueError):
        raise ValueError(f"size is height and width, as (192, 256), got {value!r}") from None
    return check_count("the height of size", height), check_count("the width of size", width)


def _whole(name: str, value: int, low: float, high: float, expected: str) -> int:
    try:
        whole = int(value)
        fits = bool(whole == value and low <= whole <= high)
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits or isinstance(value, str):
        raise ValueError(f"{name} is a whole number {expected}, got {value!r}")
    return whole


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
