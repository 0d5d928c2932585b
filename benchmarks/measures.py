"""What is measured beside the errors of codes: likeness of images, means with their margins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas
from numpy.typing import NDArray

from unfeature.inversion.result import Result
from unfeature.io.images import to_grey
from unfeature.io.similarity import measures

Image = NDArray[np.float32]


def values_of(result: Result, original: Image) -> dict[str, Any]:
    """The values of one inversion: errors of the code, likeness of the image, effort."""
    codes = result.codes
    if codes is None:
        raise ValueError("a result without a code cannot be measured")
    image = np.clip(result.image, 0, 1)
    norm = float(np.linalg.norm(codes[result.best].astype(np.float64)))
    return {
        "error": result.error,
        "error_centred": result.error_centred,
        "distance": result.error * norm,
        **measures(original, image),
        "within_two": within_two(result, original),
        "seconds": result.provenance["seconds"],
        "evaluations": result.provenance.get("evaluations"),
        "status": result.status,
    }


def within_two(result: Result, original: Image) -> float | None:
    """Share of the photograph's pixels within ± 2 σ of the image, both about zero with its contrast; None without σ."""
    if result.uncertainty is None:
        return None
    image, photograph = (to_grey(x).astype(np.float64) for x in (result.image, original))
    wanted = (photograph - photograph.mean()) * (image.std() / max(photograph.std(), 1e-12))
    return float((np.abs(image - image.mean() - wanted) <= 2 * result.uncertainty).mean())


def interval(values: Iterable[float | None]) -> tuple[float, float]:
    """Mean and 1.96 standard errors of the finite values; NaN where there are too few."""
    finite = _finite(values)
    return float(finite.mean()), 1.96 * float(finite.sem())


def deviation(values: Iterable[float | None]) -> tuple[float, float]:
    """Mean and standard deviation of the finite values; NaN where there are too few."""
    finite = _finite(values)
    return float(finite.mean()), float(finite.std())


def _finite(values: Iterable[float | None]) -> pandas.Series[float]:
    return pandas.Series(list(values), dtype=float).replace([np.inf, -np.inf], np.nan)
