"""The GPU's kernels: interpreted on the CPU against the torch reference, and compiled for two kinds of device."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

triton = pytest.importorskip("triton", reason="could not import 'triton'")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from tests.interpreted import checks  # noqa: E402
from tests.test_kernels import RULES, images, relative, value_and_gradient  # noqa: E402
from unfeature.features.hog import HOG  # noqa: E402
from unfeature.features.kernels import fits_gpu, gpu, gpu_blocks, gpu_core  # noqa: E402
from unfeature.features.kernels.gpu_trial import proven  # noqa: E402
from unfeature.features.kernels.runs import runs_of  # noqa: E402
from unfeature.features.oriented import Bins, cell_band, oriented_cells  # noqa: E402

WHOLE = ("height", "width", "runs", "first_y", "first_x", "base_y", "base_x", "cells_y", "cells_x", "runs_y", "runs_x",
         "code_plane", "code_width", "dimensions")
KINDS = dict.fromkeys(WHOLE, "i32") | {"scale": "fp32", "epsilon": "fp32"}


@pytest.fixture(scope="module")
def outcomes(root):
    program = [sys.executable, "-W", "ignore", "-m", "tests.interpreted"]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(program, cwd=root, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", checks())
def test_the_kernels_give_the_numbers_of_the_reference(name, outcomes):
    assert outcomes[name] == ""


@pytest.mark.parametrize(("rule", "capability"), [({}, 80), ({"linear": True}, 90), ({"softness": 0.1}, 90),
                                                   ({"cubic": True}, 80)], ids=str)
def test_the_kernels_compile(rule, capability, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    runs = runs_of(cell_band(32, 8, 4, 32))
    constants = gpu_core.constants(torch.zeros(1, 3, 32, 32), Bins(2, **rule), runs, runs)
    constants |= {"TALL": 4, "WIDE": 16, "NEXT": 4, "LANES": 1, "SIDE": 32, "SIZE": 128}
    for kernel in (gpu.pool, gpu.gather_cells, gpu.unpool):
        compile_for(capability, kernel, constants)


@pytest.mark.parametrize(("variant", "capability"), [("uoctti", 90), ("dpm", 80), ("dalal-triggs", 80)])
def test_the_normalisation_compiles(variant, capability, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    constants = gpu_blocks.constants(2, *HOG(variant).block_constants)
    for kernel in (gpu_blocks.energies, gpu_blocks.normalise, gpu_blocks.slopes, gpu_blocks.normalise_derivative):
        compile_for(capability, kernel, constants)


def compile_for(capability, kernel, constants):
    known = {name: value for name, value in constants.items() if name in kernel.arg_names}
    kinds = {name: "constexpr" if name in known else KINDS.get(name, "*fp32") for name in kernel.arg_names}
    places = {(kernel.arg_names.index(name),): value for name, value in known.items()}
    made = triton.compile(ASTSource(kernel, kinds, places), target=GPUTarget("cuda", capability, 32))
    assert f".target sm_{capability}" in made.asm["ptx"]
    assert made.asm["cubin"]


def test_tensors_of_the_cpu_are_left_alone():
    assert not fits_gpu(torch.zeros(1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_device_gives_the_numbers_of_the_reference(rule):
    x = images((3, 3, 131, 150), torch.float32).cuda()
    arguments = cell_band(131, 16, 8, 131), cell_band(150, 19, 8, 150), Bins(9, **rule), 255.0
    assert proven(x.device)
    found = value_and_gradient(lambda z: gpu_core.oriented_cells(z, *arguments).cpu(), x)
    known = value_and_gradient(lambda z: oriented_cells(z, *arguments, fused=False).cpu(), x)
    assert relative(found[0], known[0]) < 1e-3
    assert relative(found[1], known[1]) < 1e-3
