"""What is measured: errors of codes, likeness of images, means with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas
from numpy.typing import NDArray

from unfeature.inversion.result import Result
from unfeature.io.similarity import measures

Image = NDArray[np.float32]


def values_of(result: Result, original: Image) -> dict[str, Any]:
    """The values of one inversion: errors of the code, likeness of the image, effort."""
    codes = result.codes
    if codes is None:
        raise ValueError("a result without a code cannot be measured")
    image = np.clip(result.image, 0, 1)
    norm = float(np.square(codes[result.best], dtype=np.float64).sum())
    return {
        "error": result.error,
        "error_centred": result.error_centred,
        "squared_error": result.error**2 * norm,
        "positions": int(np.prod(codes.shape[1:-1])),
        **measures(original, image),
        "seconds": result.provenance["seconds"],
        "evaluations": result.provenance.get("evaluations"),
        "status": result.status,
    }


def normaliser(codes: Sequence[NDArray[Any]]) -> float:
    r"""N of the CVPR 2015 error: mean over pairs of photographs of ‖Φ(x_i) − Φ(x_j)‖², for one position of the code.

    Photographs differ in size, so a pair is compared on the positions that both have, and the result is for one
    position: an image's error is ‖Φ(x) − Φ₀‖² / (positions · N). Of codes without positions there is one.
    """
    if len(codes) < 2:
        raise ValueError(f"the CVPR 2015 error needs two photographs or more, got {len(codes)}")
    distances = []
    for a, b in combinations(codes, 2):
        common = tuple(slice(0, min(m, n)) for m, n in zip(a.shape[:-1], b.shape[:-1], strict=True))
        distances.append(float(np.square(a[common] - b[common], dtype=np.float64).sum(axis=-1).mean()))
    return sum(distances) / len(distances)


def interval(values: Iterable[float | None]) -> tuple[float, float]:
    """Mean and 1.96 standard errors of the finite values; NaN where there are too few."""
    finite = pandas.Series(list(values), dtype=float).replace([np.inf, -np.inf], np.nan)
    return float(finite.mean()), 1.96 * float(finite.sem())

