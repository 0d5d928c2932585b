"""``unfeature bench speed``: descriptors, their gradients and whole inversions, timed against other libraries."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import torch
from skimage.feature import hog as skimage_hog
from torch.utils.benchmark import timer

from unfeature.features.backend import backend
from unfeature.features.base import image_to_tensor
from unfeature.features.gradients.dsift import DSIFT
from unfeature.features.gradients.hog import HOG
from unfeature.inversion.invert import invert
from unfeature.io.images import to_bytes

from ..measures import Image
from ..page import Cell, Metric, Table, number, text
from ..protocol import SIDE, photograph
from ..study import Side, Study
from ..tasks import Outcome, Plan, Row, Task

Call = Callable[[], Any]
LIBRARIES = ("cyvlfeat", "scikit-image", "opencv-python", "kornia")
SIZES, SIZE, BATCH = (256, 512, 1024, 2048), 512, 8
BY_SIZE, BATCHED = "hog hard, by size", "hog hard, batch"
INVERSIONS = ("fast", "best", "ijcv2016")
REPEATS, WARM, LEAST, SECONDS = 15, 1, 3, 12.0
"""Repeats, one more to warm up, and fewer, but three at least, once a comparison has taken so long."""


@dataclass(frozen=True, kw_only=True)
class Speed(Study):
    """Time descriptors and inversions against other libraries, in one run."""

    title = "Speed"
    lead = (
        "What to see: “of the first”, the processor’s time divided by that of the comparison’s first line. Repeats "
        "are interleaved: the calls of a comparison take turns in one process, with the threads stated. Other "
        "programs on the machine disturb the processor’s time least; it is a median too."
    )
    by: ClassVar = {"comparison": "what", "contestant": "who", "pixels": "pixels", "threads": "threads"}
    metrics = (Metric("median", "median, ms", 2, 1e3), Metric("low", "quickest, ms", 2, 1e3),
               Metric("cpu", "processor, ms", 2, 1e3), Metric("ratio", "of the first", 2),
               Metric("pixel", "ns a pixel", 1, 1e9))
    alone = True

    side: Side = SIDE

    def plan(self) -> Plan:
        """One task for each comparison and size; on the CPU with one thread, and a batch with one and two."""
        one = self.photographs[0]
        inputs, shared = {"image": one.file}, {"image_digest": one.digest, "seed": self.seed}
        found = []
        for name in COMPARISONS:
            side = self.side if name.startswith("inversion") else SIZE
            for pixels in SIZES if name == BY_SIZE else (side,):
                settings = {"name": f"{name} {pixels}", "comparison": name, "pixels": pixels, **shared}
                found += [self.task(settings, inputs, threads) for threads in ((1, 2) if name == BATCHED else (1,))]
        return Plan(tuple(found))

    @staticmethod
    def work(task: Task) -> Outcome:
        """Time one comparison."""
        settings = task.settings
        image = square(photograph(task.inputs["image"], 2 * settings["pixels"]), settings["pixels"])
        return Outcome({"times": interleaved(COMPARISONS[settings["comparison"]](image, task.device))})

    def tables(self, rows: list[Row]) -> tuple[Table, ...]:
        """A line for each call."""
        columns = (*self.by.values(), *(metric.title for metric in self.metrics))
        note = f"Other libraries, where installed: {installed()}. Batches are of {BATCH} images."
        lines = tuple(line for row in rows for line in self._lines(row))
        return (Table("summary", "Timings", columns, lines, note),)

    def _lines(self, row: Row) -> list[tuple[Cell, ...]]:
        times = {name: np.array(values) for name, values in row["times"].items()}
        pixels = row["pixels"] ** 2 * (BATCH if row["comparison"] == BATCHED else 1)
        first = float(np.median(next(iter(times.values()))[:, 1]))
        lines = []
        for name, values in times.items():
            median, busy = (float(value) for value in np.median(values, axis=0))
            numbers = (median, float(values[:, 0].min()), busy, busy / first, busy / pixels)
            settings = (row["comparison"], name, row["pixels"], row.machine["threads"])
            lines.append((*map(text, settings), *map(number, numbers, self.metrics)))
        return lines


def installed() -> str:
    """Names and versions of the libraries to compare with."""
    found = []
    for package in LIBRARIES:
        with suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return ", ".join(found)


def interleaved(calls: dict[str, Call]) -> dict[str, list[tuple[float, float]]]:
    """Seconds, and seconds of the processor, of each call, repeats of all in turn, after calls that warm up.

    The clock is that of torch.utils.benchmark, which waits for a GPU. Its ``Timer`` does not serve: it reads one clock
    only, and makes two more calls to warm up before each repeat.
    """
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    start = timer()
    for repeat in range(-WARM, REPEATS):
        if repeat >= LEAST and timer() - start > SECONDS:
            break
        for name, call in calls.items():
            begin, busy = timer(), time.process_time()
            call()
            end = timer()
            if repeat >= 0:
                seconds[name].append((end - begin, time.process_time() - busy))
    return seconds


def square(image: Image, pixels: int) -> Image:
    """The upper left pixels × pixels of an image, mirrored where it is too small."""
    missing = [(0, max(0, pixels - extent)) for extent in image.shape]
    return np.ascontiguousarray(np.pad(image, missing, mode="symmetric")[:pixels, :pixels])


def ours(phi: torch.nn.Module, image: Image, device: str, batch: int = 1, who: str = "unfeature") -> dict[str, Call]:
    """The value of a descriptor, and value and gradient, through torch."""
    x = image_to_tensor(image).to(device).repeat(batch, 1, 1, 1)
    phi = phi.to(device)
    leaf = x.clone().requires_grad_()
    with torch.no_grad():
        cotangent = torch.ones_like(phi(x))
    return {f"{who}, value": torch.no_grad()(lambda: phi(x)),
            f"{who}, value and gradient": lambda: torch.autograd.grad(phi(leaf), leaf, cotangent)}


def under_torch(call: Call) -> Call:
    """The same under the backend "torch"."""

    def timed(**settings: Any) -> Any:
        with backend("torch"):
            return call(**settings)

    return timed


def hog(bilinear: bool, image: Image, device: str) -> dict[str, Call]:
    """HOG of VLFeat's kind, compiled and through plain torch, beside other libraries on the CPU.

    Cells of 8 pixels and 9 orientations. VLFeat computes the same code; scikit-image, and with bilinear bins OpenCV,
    Dalal–Triggs', with overlapping blocks of 2 × 2 cells.
    """
    calls = ours(HOG(bilinear=bilinear), image, device)
    calls |= {f"plain torch, {name.split(', ')[1]}": under_torch(call) for name, call in calls.items()}
    with suppress(ModuleNotFoundError):
        from cyvlfeat.hog import hog as vlfeat

        scaled = np.asfortranarray(image * 255, dtype=np.float32)
        calls["VLFeat, value"] = lambda: vlfeat(scaled, 8, bilinear_interpolation=bilinear)
    if not bilinear:
        return {**calls, "scikit-image, value": lambda: skimage_hog(image, 9, (8, 8), (2, 2))}
    height, width = image.shape
    extractor = cv2.HOGDescriptor((width // 8 * 8, height // 8 * 8), (16, 16), (8, 8), (8, 8), 9)
    grey = to_bytes(image)
    return {**calls, "OpenCV, value": lambda: extractor.compute(grey)}


def dsift(window: Literal["flat", "gaussian"], image: Image, device: str) -> dict[str, Call]:
    """Dense SIFT, bins and steps of 8 pixels, beside VLFeat's, and kornia's with its own Gaussian window."""
    calls = ours(DSIFT(bin_size=8, step=8, window=window), image, device)
    with suppress(ModuleNotFoundError):
        from cyvlfeat.sift import dsift as vlfeat

        scaled = np.asfortranarray(image * 255, dtype=np.float32)
        calls["VLFeat, value"] = lambda: vlfeat(scaled, step=8, size=8, fast=window == "flat", float_descriptors=True)
    if window == "flat":
        return calls
    with suppress(ModuleNotFoundError):
        from kornia.feature import DenseSIFTDescriptor  # pyright: ignore[reportMissingImports]

        described = DenseSIFTDescriptor(num_ang_bins=8, num_spatial_bins=4, spatial_bin_size=8, stride=8)
        calls |= ours(described, image, "cpu", who="kornia")
    return calls


def inversions(bilinear: bool, image: Image, device: str) -> dict[str, Call]:
    """Whole inversions by preset, and the published one through plain torch."""
    phi = HOG(bilinear=bilinear, texture=False)
    code = torch.as_tensor(phi(image_to_tensor(image))).to(device)
    found: dict[str, Call] = {name: partial(invert, phi.to(device), code, preset=name) for name in INVERSIONS}
    return {**found, "ijcv2016, plain torch": under_torch(found["ijcv2016"])}


COMPARISONS: dict[str, Callable[[Image, str], dict[str, Call]]] = {
    "hog hard": partial(hog, False),
    "hog bilinear": partial(hog, True),
    "dsift flat": partial(dsift, "flat"),
    "dsift gaussian": partial(dsift, "gaussian"),
    BY_SIZE: lambda image, device: ours(HOG(), image, device),
    BATCHED: lambda image, device: ours(HOG(), image, device, BATCH),
    "inversion, hog hard": partial(inversions, False),
    "inversion, hog bilinear": partial(inversions, True),
}
"""What is compared, from an image and a device."""
