"""Compiled code: kept where it can be, made without a folder too, only what a run needs, and one order of sums."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import unfeature as uf
from unfeature.inversion.near import Near
from unfeature.inversion.objectives import Euclidean
from unfeature.inversion.priors.bounded_range import BoundedRange
from unfeature.inversion.priors.variation import TotalVariation
from unfeature.inversion.solvers.lbfgs import LBFGS
from unfeature.io.images import bundled_path, resize_longer

PRELUDE = """
import errno, os, sys
import numpy as np
import torch
import numba.core.caching as caching
from numba.core import event

class Names(event.Listener):
    def on_start(self, e):
        found.append(e.data["dispatcher"].py_func.__name__)

    def on_end(self, e):
        pass

found = []
event.register("numba:compile", Names())
"""
RUN = """
from unfeature.features.gradients.compiled.pooling import pool

one, first = np.ones((1, 1)), np.zeros((1, 1), int)
entries = np.array([0, 1]), np.array([0]), np.array([1.0])
for _ in range(2):
    cells = np.zeros((1, 1, 1))
    pool(one, first, first, one, True, entries, entries, 1, cells, 0, 1, 1)
print(cells.item() == 1)
"""
NO_FOLDER = "caching.CacheImpl._locator_classes.clear()\n"
FULL_DISK = """
def full(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

caching.IndexDataCacheFile.save = full
"""


def run(program, cache):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", PRELUDE + program], env=environment, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("trouble", [NO_FOLDER, FULL_DISK], ids=["no folder", "full disk"])
def test_without_a_place_for_compiled_code_one_line_says_so(trouble, tmp_path):
    done = run(trouble + RUN, tmp_path)
    assert done.stdout == "True\n"
    (line,) = done.stderr.splitlines()
    assert "cannot be kept" in line and "set NUMBA_CACHE_DIR" in line


def test_a_command_without_a_home_works_and_says_so_in_one_line(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    photograph = bundled_path("camera")
    command = ["features", photograph, "--feature", "hog", "--size", 32, "-o", tmp_path / "code.npy"]
    program = f"{PRELUDE}{NO_FOLDER}from unfeature.cli import main; main({[*map(str, command)]!r})"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout.startswith("HOG()"), done.stderr
    (line,) = done.stderr.splitlines()
    assert "cannot be kept" in line
    np.testing.assert_array_equal(np.load(tmp_path / "code.npy"),
                                  uf.HOG()(resize_longer(uf.read_image(photograph, grey=True), 32)))


def test_compiled_code_is_kept_and_a_damaged_one_made_again(tmp_path):
    report = RUN + "print(sorted(set(found) & {'pool'}))"
    made, kept = "True\n['pool']\n", "True\n[]\n"
    assert [run(report, tmp_path).stdout for _ in range(2)] == [made, kept]
    for path in tmp_path.rglob("*.nb?"):
        path.write_bytes(b"")
    done = run(report, tmp_path)
    assert (done.stdout, done.stderr) == (made, "")


def test_a_run_compiles_what_it_needs(tmp_path):
    program = """
import unfeature as uf

phi = uf.HOG(cell_size=6)
uf.invert(phi, phi(torch.rand(1, 1, 30, 30)), size=(30, 30), steps=3)
own = [name for name in found if name not in ("impl", "<lambda>")]
print(len(own), sorted({"linear_shares", "cubic_shares", "describe", "filter_down"} & set(own)))
assert "sympy" not in sys.modules
"""
    number, others = run(program, tmp_path).stdout.strip().split(" ", 1)
    assert int(number) <= 8 and others == "[]"


def placements(arrays):
    """Copies of the arrays in one buffer: in any order, at any offset, some close together."""
    orders = list(itertools.permutations(range(len(arrays))))[:: max(1, len(arrays) ** 2 - 12)]
    for offset, gap, order in itertools.product(range(17), (0, 1), orders[:40]):
        buffer = np.zeros(sum(a.nbytes for a in arrays) + 16 * len(arrays) + 256, np.uint8)
        at, placed = -buffer.ctypes.data % 64 + 4 * offset, list(arrays)
        for i in order:
            at += (-(buffer.ctypes.data + at)) % arrays[i].itemsize
            placed[i] = buffer[at:at + arrays[i].nbytes].view(arrays[i].dtype).reshape(arrays[i].shape)
            placed[i][...] = arrays[i]
            at += arrays[i].nbytes + 4 * gap
        yield placed


def noise(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


CENTRE = torch.full((1, 1, 1), 0.5)


def steps(*gradients):
    """Where L-BFGS goes with some gradients."""
    solver = LBFGS()
    solver.begin(torch.zeros_like(gradients[0]))
    for value, gradient in enumerate(gradients):
        solver.tell(torch.tensor([-float(value)]), gradient)
    return solver.point, solver.direction


SUMS = {
    "distance": ([noise(1, 2500), noise(1, 2500, seed=1)], lambda code, target: Euclidean(target).with_gradient(code)),
    "range": ([noise(1, 1, 9, 37)] * 2, lambda x, g: (BoundedRange().with_gradient(x, CENTRE, g), g)),
    "variation": ([noise(1, 1, 9, 37)] * 2, lambda x, g: (TotalVariation().with_gradient(x, CENTRE, g), g)),
    "near": ([noise(1, 1, 9, 37)] * 2, lambda x, g: (Near(0 * x).with_gradient(x, CENTRE, g), g)),
    "l-bfgs": ([noise(1, 2500) / (1 + k) + 0.1 * noise(1, 2500, seed=k) for k in range(4)], steps),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_do_not_depend_on_where_arrays_lie(name):
    arrays, function = SUMS[name]
    found = set()
    for placed in placements(arrays):
        results = function(*map(torch.from_numpy, placed))
        found.add(b"".join(result.numpy().tobytes() for result in results))
    assert len(found) == 1


@pytest.mark.parametrize("phi", [uf.HOG(cell_size=6, softness=0.1), uf.HOG("dpm", cell_size=6, bilinear=True),
                                 uf.DSIFT(bin_size=4), uf.DSIFT(bin_size=4, window="flat")], ids=repr)
def test_descriptors_do_not_depend_on_where_images_lie(phi):
    found = set()
    for (place,) in placements([np.random.default_rng(0).random((1, 1, 40, 51)).astype(np.float32)]):
        x = torch.from_numpy(place).requires_grad_()
        code = phi(x)
        (gradient,) = torch.autograd.grad(code.square().sum(), x)
        found.add(code.detach().numpy().tobytes() + gradient.numpy().tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("preset", ["best", "fast", "cvpr2015"])
def test_the_same_task_gives_the_same_bits_wherever_memory_is_free(preset):
    phi, found, kept = uf.HOG(cell_size=6), set(), []
    code = phi(torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(0)))
    for attempt in range(4):
        kept += [np.empty(size, np.uint8) for size in np.random.default_rng(attempt).integers(100, 90000, 200)]
        result = uf.invert(phi, code, preset=preset, steps=30)
        found.add(result.images.tobytes() + result.history["objective"].tobytes())
        del kept[::3]
    assert len(found) == 1
