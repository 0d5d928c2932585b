"""The rows of ``unfeature bench speed --device cuda``: how much of the device's bandwidth HOG uses, and inversions."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..features.base import image_to_tensor
from ..features.hog import HOG
from ..inversion.invert import invert
from . import tables
from .tables import Cell, Metric
from .tasks import Row
from .timing import Call, interleaved

BATCH = 64
GRADIENTS, INVERSIONS = f"hog on the device, {BATCH} images", f"inversions on the device, {BATCH} images"
SIZES = {GRADIENTS: 512, INVERSIONS: 256}
"""Pixels along a side."""
COPY, COPIES = "copy", 8
"""A copy from device memory to device memory, of so many times the images, to be larger than any cache."""
METRICS = (Metric("milliseconds", "median, ms", 2, 1e3), Metric("bandwidth", "GB a second", 0, 1e-9),
           Metric("share", "of the copy", 3), Metric("images", "images a second", 0))
NOTE = (
    "GB a second counts the bytes that must move: the images, read for the value and again for the gradient, the "
    "gradient, the codes and their derivatives, each once; for the copy what is read and written. Value and gradient "
    "by one photograph, turned and mirrored in the batch."
)


def measured(comparison: str, image: NDArray[np.float32], device: str, batch: int = BATCH) -> dict[str, Any]:
    """Times of all calls of a comparison, and the bytes that each must move, 0 where that is not counted."""
    calls, moved = (gradients if comparison == GRADIENTS else inversions)(image, device, batch)
    return {"times": interleaved(calls, device), "bytes": moved, "batch": batch}


def gradients(image: NDArray[np.float32], device: str, batch: int) -> tuple[dict[str, Call], dict[str, int]]:
    """A copy, and HOG with its gradient by the kernels and by torch alone."""
    import torch

    x = views(image, batch).to(device)
    source = x.repeat(COPIES, 1, 1, 1)
    target = torch.empty_like(source)
    calls: dict[str, Call] = {COPY: lambda: target.copy_(source)}
    moved = {COPY: 2 * source.numel() * source.element_size()}
    for bins, bilinear in (("hard", False), ("bilinear", True)):
        for way, fused in (("kernels", None), ("plain torch", False)):
            phi = HOG(bilinear=bilinear)
            phi.fused = fused
            calls[f"{bins}, {way}"] = _value_and_gradient(phi, x)
            code = batch * int(np.prod(phi.output_shape(*x.shape[-2:])))
            moved[f"{bins}, {way}"] = (3 * x.numel() + 2 * code) * x.element_size()
    return calls, moved


def inversions(image: NDArray[np.float32], device: str, batch: int) -> tuple[dict[str, Call], dict[str, int]]:
    """Whole inversions of a batch of codes of hard HOG, with their evaluations recorded and without."""
    import torch

    recorded, launched = HOG(texture=False), HOG(texture=False)
    launched.recordable = False
    with torch.no_grad():
        code = recorded(views(image, batch).to(device))
    calls: dict[str, Call] = {}
    for preset in ("fast", "best", "ijcv2016"):
        calls[preset] = partial(invert, recorded, code, preset=preset)
        calls[f"{preset}, not recorded"] = partial(invert, launched, code, preset=preset)
    return calls, dict.fromkeys(calls, 0)


def views(image: NDArray[np.float32], batch: int) -> Any:
    """So many images (N, 1, H, W): one, turned and mirrored in eight ways over and over."""
    import torch

    x = image_to_tensor(image)
    turned = [torch.rot90(x, k, (2, 3)) for k in range(4)]
    eight = torch.cat([*turned, *(one.flip(3) for one in turned)])
    return eight.repeat(-(-batch // 8), 1, 1, 1)[:batch].contiguous()


def _value_and_gradient(phi: HOG, x: Any) -> Call:
    import torch

    leaf = x.clone().requires_grad_()
    cotangent = torch.ones(len(x), *phi.output_shape(*x.shape[-2:]), dtype=x.dtype, device=x.device)
    return lambda: torch.autograd.grad(phi(leaf), leaf, cotangent)


def table(rows: list[Row]) -> tables.Table:
    """One line for each call."""
    lines = []
    for row in rows:
        copied = np.nan
        for name, times in row["times"].items():
            seconds, moved = float(np.median(np.array(times)[:, 0])), row["bytes"][name]
            bandwidth = moved / seconds if moved else np.nan
            copied = bandwidth if name == COPY else copied
            numbers = seconds, bandwidth, bandwidth / copied, np.nan if name == COPY else row["batch"] / seconds
            lines.append((tables.text(row["comparison"]), tables.text(name), Cell(str(row["pixels"]), row["pixels"]),
                          *(tables.number(value, metric) for value, metric in zip(numbers, METRICS, strict=True))))
    columns = ("what", "who", "pixels", *(metric.title for metric in METRICS))
    return tables.Table("device", "On the device", columns, tuple(lines), NOTE)
