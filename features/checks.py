"""Checks of arguments, which say what is expected."""

from __future__ import annotations

import math
from typing import Any

from unfeature.catalogue import suggestion


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """One of the choices, or a ValueError that suggests the nearest."""
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}: choose one of {', '.join(choices)}"
                         f"{suggestion(str(value).lower(), choices)}")
    return value


def check_count(name: str, value: int, most: int = 10**6) -> int:
    """A whole number from 1 to `most`, or a ValueError."""
    return _whole(name, value, 1, most)


def check_seed(value: int) -> int:
    """A whole number from 0 to 2³² − 1, or a ValueError; generators take no more bits of a seed."""
    return _whole("seed", value, 0, 2**32 - 1)


def check_size(value: tuple[int, int]) -> tuple[int, int]:
    """Height and width in pixels, or a ValueError."""
    try:
        height, width = value
    except (TypeError, ValueError):
        raise ValueError(f"size is height and width, as (192, 256), got {value!r}") from None
    return check_count("the height of size", height), check_count("the width of size", width)


def check_device(name: str | None) -> str:
    """A device that torch can compute on, by default a GPU if there is one; ValueError for another."""
    import torch

    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device).sum().item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"torch cannot compute on {name!r} here: choose cpu, or leave the device out") from error
    return str(device)


def check_positive(name: str, value: float, least: float = 1e-9, most: float = 1e9) -> float:
    """A positive number between two bounds, or a ValueError."""
    return _between(name, value, least, most, "positive number")


def check_not_negative(name: str, value: float, most: float = 1e9) -> float:
    """A number of at least 0 and at most `most`, or a ValueError."""
    return _between(name, value, 0, most, "number")


def _whole(name: str, value: int, low: int, high: int) -> int:
    try:
        whole = int(value)
        fits = bool(whole == value and low <= whole <= high)
    except (TypeError, ValueError, OverflowError):
        fits, whole = False, low
    if not fits or isinstance(value, str):
        raise ValueError(f"{name} is a whole number of {_bound(whole, low, high)}, got {_shown(value)}")
    return whole


def _between(name: str, value: float, low: float, high: float, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not low <= number <= high:
        raise ValueError(f"{name} is a {what} of {_bound(number, low, high)}, got {_shown(value)}")
    return number


def _bound(number: float, low: float, high: float) -> str:
    """The bound that a number is beyond."""
    return f"at most {high:.10g}" if number > high else f"at least {low:.10g}"


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.40}"
    except ValueError:  # an integer of more digits than Python prints
        return "a huge number"
