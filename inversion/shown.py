"""How a result shows itself: in notebooks, as a figure, as a film."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfeature.io.images import encode_png, write_film

Floats = NDArray[np.float64]


class Shown:
    """The part of `Result` that is for looking at."""

    images: NDArray[np.float32]
    errors: Floats
    status: str
    starts: int
    snapshots: NDArray[np.float32] | None
    history: dict[str, Floats]

    @property
    def best(self) -> int:
        """Index of the best image."""
        raise NotImplementedError

    def _repr_png_(self) -> bytes:
        """All images, side by side, as a PNG: what a notebook shows where it shows no HTML."""
        return encode_png(_side_by_side(self.images))

    def _repr_html_(self) -> str:
        """The images with their errors, and how the run ended: what a notebook shows."""
        figures = [
            f'<figure style="margin:0"><img src="data:image/png;base64,{_encoded(image)}" alt="pre-image {i + 1}" '
            'style="height:192px;max-width:100%;image-rendering:auto">'
            f"<figcaption>{'relative error ' + f'{error:.4f}' if np.isfinite(error) else f'image {i + 1}'}</figcaption>"
            "</figure>" for i, (image, error) in enumerate(zip(self.images, self.errors, strict=True))]
        return (f'<div style="display:flex;flex-wrap:wrap;gap:1em">{"".join(figures)}</div>'
                f"<p>{escape(self.status[:1].upper() + self.status[1:])}.</p>")

    def plot(self, axes: Sequence[Any] | None = None) -> Any:
        """Draw the image and the curves of the run with matplotlib.

        Parameters
        ----------
        axes : sequence of two matplotlib axes, optional
            Where to draw the image and the curves; by default a new figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ValueError
            If matplotlib is not installed.
        """
        try:
            import matplotlib.pyplot as plt
        except ModuleNotFoundError as error:
            raise ValueError("plot needs matplotlib: install unfeature[plot]") from error
        if axes is None:
            _, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained", width_ratios=(1, 1.5))
        picture, curves = axes
        best, image = self.best, self.images[self.best]
        picture.imshow(np.clip(image, 0, 1), cmap=None if image.ndim == 3 else "gray", vmin=0, vmax=1)
        picture.set_axis_off()
        if np.isfinite(self.errors[best]):
            picture.set_title(f"relative error {self.errors[best]:.4f}")
        for name, values in self.history.items():
            values = values.reshape(len(values), -1)[:, best]
            steps = np.flatnonzero(np.isfinite(values))
            if steps.size:
                curves.plot(steps + 1, values[steps], label=name, marker="o" if name == "error" else None)
        positive = all(np.nanmin(v) > 0 for v in self.history.values() if np.isfinite(v).any())
        curves.set(xlabel="gradient evaluations", yscale="log" if positive and self.history else "linear")
        if curves.lines:
            curves.legend()
        return picture.figure

    def animate(self, path: str | Path, seconds: float = 4.0) -> Path:
        """Write the snapshots as a film, which ends with the image found, shown a little longer.

        Parameters
        ----------
        path : str or Path
            A .gif, .webp or animated .png file; of several images the best is shown.
        seconds : float
            Length of the way, without the last image.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        ValueError
            If the result has no snapshots, the file another ending, or seconds are not positive.
        """
        if self.snapshots is None:
            raise ValueError("this result has no snapshots: give invert snapshots=24, or another number")
        return write_film(path, self.snapshots[:, self.best], seconds)


def _side_by_side(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images (N, H, W) or (N, H, W, C) in one row, with white gaps."""
    gap = np.ones_like(images[0][:, :4])
    parts = [part for image in images for part in (gap, image)][1:]
    return np.concatenate(parts, axis=1)


def _encoded(image: NDArray[Any]) -> str:
    return base64.b64encode(encode_png(image)).decode("ascii")
