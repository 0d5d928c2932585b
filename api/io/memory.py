"""Amounts of memory, as people write them."""

from __future__ import annotations

import re

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def bytes_of(memory: int | str) -> int:
    """A number of bytes, or text such as ``"2GB"`` or ``"500 MB"``, as a number of bytes; ValueError for others."""
    match = re.fullmatch(r"\s*([\d.]+(?:E[+-]?\d+)?)\s*([KMGT]?)(?:I?B)?\s*", str(memory).upper())
    try:
        amount = float(match[1]) * UNITS[match[2]] if match else 0.0
    except ValueError:
        amount = 0.0
    if not 0 < amount < float("inf"):
        raise ValueError(f"cannot read {memory!r} as an amount of memory: write it as 2GB or 500MB")
    return int(amount)
