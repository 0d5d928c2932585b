"""The folder of an inversion: the result, its pictures, its page, and facts about the photograph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from unfeature.features.base import Representation
    from unfeature.inversion.result import Result


def with_photograph(result: Result, name: str, photograph: NDArray[Any] | None) -> Result:
    """The result with facts about the photograph: its name, size, and correlation with the image found."""
    if photograph is None:
        return result
    facts = {"name": name, "height": photograph.shape[0], "width": photograph.shape[1]}
    alike = len(result) == result.starts and photograph.shape == result.image.shape
    if alike and photograph.std() > 0 and result.image.std() > 0:
        facts["correlation"] = float(np.corrcoef(photograph.ravel(), result.image.ravel())[0, 1])
    return replace(result, provenance={**result.provenance, "photograph": facts})


def write_inversion(folder: Path, phi: Representation, code: NDArray[Any], result: Result,
                    photograph: NDArray[Any] | None) -> None:
    """Write the result, its pictures and its page into a folder, as ``unfeature invert`` does."""
    from unfeature.io.images import write_png

    from .pictures import glyph, present_words
    from .report import write_report

    pictures = {"original": photograph, "glyph": glyph(phi, code), "words": present_words(phi, code),
                "decoder": None if result.guess is None else result.guess[result.best]}
    for name, image in pictures.items():
        if image is not None:
            write_png(folder / f"{name}.png", image)
    result.save(folder)
    write_report(folder)
