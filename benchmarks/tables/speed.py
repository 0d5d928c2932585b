"""``unfeature bench speed``: descriptors, their gradients and whole inversions, timed against other libraries."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from unfeature.features.base import Representation, image_to_tensor
from unfeature.features.gradients.dsift import DSIFT
from unfeature.features.gradients.hog import HOG
from unfeature.inversion.invert import invert

from .. import libraries
from .. import page as tables
from ..page import Cell, Metric, Page, Plan
from ..protocol import Options, image_settings, photograph
from ..tasks import Outcome, Row, Task
from ..timing import Call, interleaved

SIZES = (256, 512, 1024, 2048)
SIZE = 512
BATCH = 8
BY_SIZE, BATCHED = "hog hard, by size", "hog hard, batch"
INVERSIONS = ("fast", "best", "ijcv2016")
BY = {"comparison": "what", "contestant": "who", "pixels": "pixels", "threads": "threads"}
MILLISECONDS = (Metric("median", "median, ms", 2, 1e3), Metric("low", "quickest, ms", 2, 1e3),
                Metric("cpu", "processor, ms", 2, 1e3), Metric("ratio", "of the first", 2))
LEAD = (
    "Interleaved repeats: all that is compared takes turns in one process, with the threads stated. The processor’s "
    "time, a median too, is what other programs on the machine disturb least; “of the first” divides it by that of the "
    "comparison’s first line."
)


def plan(options: Options) -> Plan:
    """One task for each comparison; on the CPU with one thread, and a batch with one and two."""
    path = options.photographs[0]
    settings, inputs = image_settings(path, options)
    shared = {"image_digest": settings["image_digest"], "seed": options.seed}
    found = []
    for name in COMPARISONS:
        sizes = SIZES if name == BY_SIZE else (options.side if name in PRESET_ROWS else SIZE,)
        found += [Task("speed", {"name": f"{name} {pixels}", "comparison": name, "pixels": pixels, **shared}, inputs,
                       device=options.device) for pixels in sizes]
    batch = {"comparison": BATCHED, "pixels": SIZE, **shared}
    found += [Task("speed", {"name": f"batch {threads}", **batch}, inputs, threads=threads, device=options.device)
              for threads in (1, 2)]
    return Plan(tuple(found))


def work(task: Task) -> Outcome:
    """Time one comparison."""
    settings = task.settings
    image = square(photograph(task.inputs["image"], 2 * settings["pixels"]), settings["pixels"])
    calls = COMPARISONS.get(settings["comparison"], hog_batch)(image, task.device)
    return Outcome({"times": interleaved(calls, task.device)})


def square(image: NDArray[np.float32], pixels: int) -> NDArray[np.float32]:
    """The upper left pixels × pixels of an image, mirrored where it is too small."""
    missing = [(0, max(0, pixels - extent)) for extent in image.shape]
    return np.ascontiguousarray(np.pad(image, missing, mode="symmetric")[:pixels, :pixels])


def ours(phi: Representation, image: NDArray[np.float32], device: str, batch: int = 1) -> dict[str, Call]:
    """The value of a descriptor, and value and gradient, through torch."""
    import torch

    x = image_to_tensor(image).to(device).repeat(batch, 1, 1, 1)
    phi = phi.to(device)
    leaf = x.clone().requires_grad_()
    with torch.no_grad():
        cotangent = torch.ones_like(phi(x))

    def value() -> None:
        with torch.no_grad():
            phi(x)

    return {"unfeature, value": value,
            "unfeature, value and gradient": lambda: torch.autograd.grad(phi(leaf), leaf, cotangent)}


def hog(bilinear: bool) -> Callable[[NDArray[np.float32], str], dict[str, Call]]:
    """HOG of VLFeat's kind, beside VLFeat, scikit-image and OpenCV."""

    def calls(image: NDArray[np.float32], device: str) -> dict[str, Call]:
        plain = HOG(bilinear=bilinear)
        plain.fused = False
        torch_only = {f"plain torch, {name.split(', ')[1]}": call for name, call in ours(plain, image, device).items()}
        others = libraries.hog(image, bilinear)
        return {**ours(HOG(bilinear=bilinear), image, device), **torch_only, **others}

    return calls


def hog_batch(image: NDArray[np.float32], device: str) -> dict[str, Call]:
    """Hard HOG of eight images."""
    return ours(HOG(), image, device, BATCH)


def dsift(window: str) -> Callable[[NDArray[np.float32], str], dict[str, Call]]:
    """Dense SIFT, bins and steps of 8 pixels, beside VLFeat and kornia."""

    def calls(image: NDArray[np.float32], device: str) -> dict[str, Call]:
        phi = DSIFT(bin_size=8, step=8, window=window)
        return {**ours(phi, image, device), **libraries.dsift(image, window)}

    return calls


def inversions(bilinear: bool) -> Callable[[NDArray[np.float32], str], dict[str, Call]]:
    """Whole inversions by preset, and the published one through plain torch."""

    def calls(image: NDArray[np.float32], device: str) -> dict[str, Call]:
        import torch

        found: dict[str, Call] = {}
        for fused in (None, False):
            phi = HOG(bilinear=bilinear, texture=False)
            phi.fused = fused
            code = torch.as_tensor(phi(image_to_tensor(image))).to(device)
            for preset in INVERSIONS if fused is None else ("ijcv2016",):
                name = preset if fused is None else f"{preset}, plain torch"
                found[name] = partial(invert, phi.to(device), code, preset=preset)
        return found

    return calls


COMPARISONS: dict[str, Callable[[NDArray[np.float32], str], dict[str, Call]]] = {
    "hog hard": hog(False),
    "hog bilinear": hog(True),
    "dsift flat": dsift("flat"),
    "dsift gaussian": dsift("gaussian"),
    BY_SIZE: lambda image, device: ours(HOG(), image, device),
    "inversion, hog hard": inversions(False),
    "inversion, hog bilinear": inversions(True),
}
PRESET_ROWS = ("inversion, hog hard", "inversion, hog bilinear")


def page(rows: list[Row], prepared: list[Row], options: Options) -> Page:
    """One line for each contestant."""
    lines = []
    for row in rows:
        times = {name: np.array(values) for name, values in row["times"].items()}
        pixels = row["pixels"] ** 2 * (BATCH if row["comparison"] == BATCHED else 1)
        first = float(np.median(next(iter(times.values()))[:, 1]))
        for name, values in times.items():
            median, busy = (float(value) for value in np.median(values, axis=0))
            numbers = (median, float(values[:, 0].min()), busy, busy / first)
            lines.append((
                tables.text(row["comparison"]), tables.text(name), Cell(str(row["pixels"]), row["pixels"]),
                Cell(str(row.machine["threads"]), row.machine["threads"]),
                *(tables.number(value, metric) for value, metric in zip(numbers, MILLISECONDS, strict=True)),
                Cell(f"{1e9 * busy / pixels:.1f}", 1e9 * busy / pixels),
            ))
    columns = (*BY.values(), *(metric.title for metric in MILLISECONDS), "ns a pixel")
    note = f"Other libraries, where installed: {libraries.installed()}. Batches are of {BATCH} images."
    timings = tables.Table("summary", "Timings", columns, tuple(lines), note)
    return Page("Speed", LEAD, tuple(rows), (timings,))
