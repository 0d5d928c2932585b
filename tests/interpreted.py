"""What `test_gpu_kernels` runs in a process of its own, with TRITON_INTERPRET=1: the GPU's kernels on CPU tensors.

Prints a JSON object: the name of each check, and what went wrong or nothing.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from tests.checking import report
from tests.test_kernels import RULES, images, random_band, relative, value_and_gradient
from unfeature.features.dsift import DSIFT
from unfeature.features.hog import HOG
from unfeature.features.kernels import gpu_blocks, gpu_core
from unfeature.features.kernels.gpu_trial import proven
from unfeature.features.oriented import Bins, cell_band, oriented_cells

BINS = Bins(4, softness=0.3)


def agree(x: torch.Tensor, rows: Any, columns: Any, bins: Bins, tolerance: float) -> None:
    found = value_and_gradient(lambda z: gpu_core.oriented_cells(z, rows, columns, bins, 255.0), x)
    known = value_and_gradient(lambda z: oriented_cells(z, rows, columns, bins, 255.0, fused=False), x)
    for a, b in zip(found, known, strict=True):
        assert relative(a, b) < tolerance


def core(rule: dict[str, Any], dtype: torch.dtype) -> None:
    """A grid of cells along x, whatever along y; several programs along x."""
    x = images((2, 3 if dtype == torch.float32 else 1, 7, 68), dtype)
    agree(x, random_band(3, 7, 2), cell_band(68, 9, 8, 68), Bins(5, **rule), 1e-6 if dtype == torch.float64 else 1e-4)


def hog(variant: str, cell: int, height: int, width: int) -> None:
    """The grids of every variant, with borders that are cut off and repeated."""
    phi = HOG(variant, cell_size=cell)
    agree(images((1, 1, height, width), torch.float64), *phi.bands(height, width), Bins(2), 1e-6)


def sift(step: int) -> None:
    """Windows that overlap, and that reach beyond the border."""
    phi = DSIFT(bin_size=4, step=step, window="flat")
    agree(images((1, 1, 21, 22), torch.float64), *phi.bands(21, 22), Bins(2, cubic=True), 1e-6)


def blocks(variant: str, texture: bool, dtype: torch.dtype, softness: float = 0.0) -> None:
    """The normalisation."""
    cells = images((2, 6, 5, 9), dtype) ** 4 * 20
    phi = HOG(variant, orientations=3, texture=texture, softness=softness)
    phi.fused = False
    found = value_and_gradient(lambda c: gpu_blocks.normalised_code(c, *phi.block_constants), cells)
    for a, b in zip(found, value_and_gradient(phi.normalise, cells), strict=True):
        assert relative(a, b) < (1e-12 if dtype == torch.float64 else 1e-5)


def single_images() -> None:
    """A batch gives the bits of its samples."""
    x, band = images((3, 1, 12, 70), torch.float32), (cell_band(12, 3, 4, 12), cell_band(70, 17, 4, 70))
    function = partial(gpu_core.oriented_cells, rows=band[0], columns=band[1], bins=BINS, scale=255.0)
    whole = value_and_gradient(lambda z: function(z).square(), x, weights_seed=0)[0]
    for n in range(3):
        assert torch.equal(function(x[n:n + 1])[0].square(), whole[n])
    leaves = [x.clone().requires_grad_(), x[1:2].clone().requires_grad_()]
    batch, single = (torch.autograd.grad(function(leaf).square().sum(), leaf)[0] for leaf in leaves)
    assert torch.equal(batch[1], single[0])


def others() -> None:
    """Windows of dense SIFT with a Gaussian are left to torch; other layouts of the image are not."""
    assert gpu_core.suits(*HOG().bands(64, 64), Bins())
    assert not gpu_core.suits(*HOG().bands(64, 64), Bins(99))
    assert gpu_core.suits(*DSIFT(window="flat").bands(64, 64), BINS)
    assert not gpu_core.suits(*DSIFT().bands(64, 64), BINS)
    x = images((1, 3, 12, 14), torch.float64).to(memory_format=torch.channels_last)
    agree(x, cell_band(12, 3, 4, 12), cell_band(14, 3, 4, 14), BINS, 1e-6)


def trial() -> None:
    """The kernels prove themselves, or say why not."""
    here = torch.device("cpu")
    with torch.inference_mode():
        assert proven(here)
    for broken in (lambda *_: 1 / 0, lambda *arguments: oriented_cells(*arguments, fused=False).roll(1, 1)):
        proven.cache_clear()
        kept, gpu_core.oriented_cells = gpu_core.oriented_cells, broken
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            assert not proven(here)
        gpu_core.oriented_cells = kept
        assert "torch alone is used instead" in str(said[-1].message)


def checks() -> dict[str, Callable[[], None]]:
    """All checks, by name."""
    found: dict[str, Callable[[], None]] = {
        f"core {rule}": partial(core, rule, dtype)
        for rule, dtype in zip(RULES, itertools.cycle((torch.float32, torch.float64)), strict=False)}
    for case in (("uoctti", 4, 13, 15), ("uoctti", 3, 9, 10), ("dpm", 4, 14, 17), ("dalal-triggs", 5, 12, 13)):
        found[f"hog {case}"] = partial(hog, *case)
    for case in (*itertools.product(("uoctti", "dpm"), (True, False), (torch.float64,)), ("dpm", True, torch.float32),
                 ("dalal-triggs", True, torch.float64), ("uoctti", True, torch.float64, 0.7),
                 ("dpm", True, torch.float64, 0.7), ("dalal-triggs", True, torch.float64, 0.7)):
        found[f"blocks {case}"] = partial(blocks, *case)
    found |= {f"sift {step}": partial(sift, step) for step in (4, 2, 6)}
    return found | {check.__name__: check for check in (single_images, others, trial)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    report(checks())
