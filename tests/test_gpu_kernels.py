"""The GPU's kernels: interpreted on the CPU against the torch reference, and compiled for two kinds of device."""

from __future__ import annotations

import pytest
import torch

triton = pytest.importorskip("triton", reason="could not import 'triton'")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from tests.checking import outcomes_of  # noqa: E402
from tests.interpreted import checks  # noqa: E402
from tests.test_kernels import RULES, images, relative, value_and_gradient  # noqa: E402
from unfeature.features.hog import HOG  # noqa: E402
from unfeature.features.kernels import fits_gpu, gpu, gpu_blocks, gpu_core  # noqa: E402
from unfeature.features.kernels.gpu_trial import compiled, proven  # noqa: E402
from unfeature.features.kernels.runs import runs_of  # noqa: E402
from unfeature.features.oriented import Bins, cell_band, oriented_cells  # noqa: E402

WHOLE = ("height", "width", "runs", "first_y", "first_x", "base_y", "base_x", "cells_y", "cells_x", "runs_y", "runs_x",
         "code_plane", "code_width", "dimensions")
ONES = dict.fromkeys(WHOLE[2:], 1)
"""Numbers that are 1 become part of what is compiled."""


@pytest.fixture(scope="module")
def outcomes(root):
    return outcomes_of("tests.interpreted", root, TRITON_INTERPRET="1", PYTHONWARNINGS="ignore")


@pytest.mark.parametrize("name", checks())
def test_the_kernels_give_the_numbers_of_the_reference(name, outcomes):
    assert outcomes[name] == ""


@pytest.mark.parametrize(("rule", "capability"), [({}, 80), ({"linear": True}, 90), ({"softness": 0.1}, 90),
                                                   ({"cubic": True}, 80)], ids=str)
def test_the_kernels_compile(rule, capability, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    runs = runs_of(cell_band(32, 8, 4, 32))
    constants = gpu_core.constants(torch.zeros(1, 3, 32, 32), Bins(2, **rule), 255.0, runs, runs)
    constants |= {"TALL": 4, "WIDE": 16, "NEXT": 2, "LANES": 2, "SIDE": 16, "SIZE": 128}
    for kernel in (gpu.pool, gpu.gather_cells, gpu.unpool):
        compile_for(capability, kernel, constants | (ONES if capability == 80 else {}))


@pytest.mark.parametrize(("variant", "capability"), [("uoctti", 90), ("dpm", 80), ("dalal-triggs", 80)])
def test_the_normalisation_compiles(variant, capability, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    constants = gpu_blocks.constants(2, *HOG(variant).block_constants)
    for kernel in (gpu_blocks.energies, gpu_blocks.normalise, gpu_blocks.slopes, gpu_blocks.normalise_derivative):
        compile_for(capability, kernel, constants | (ONES if capability == 80 else {}))


def compile_for(capability, kernel, constants):
    known = {name: value for name, value in constants.items() if name in kernel.arg_names}
    kinds = {name: "constexpr" if name in known else "i32" if name in WHOLE else "*fp32" for name in kernel.arg_names}
    places = {(kernel.arg_names.index(name),): value for name, value in known.items()}
    made = triton.compile(ASTSource(kernel, kinds, places), target=GPUTarget("cuda", capability, 32))
    assert f".target sm_{capability}" in made.asm["ptx"]
    assert made.asm["cubin"]


class NoDevice:
    """What Triton asks of a driver; launches are remembered and do nothing."""

    get_current_device = staticmethod(lambda: 0)
    get_current_stream = staticmethod(lambda device: 0)
    get_current_target = staticmethod(lambda: GPUTarget("cuda", 90, 32))
    get_active_torch_device = staticmethod(lambda: torch.device("cpu"))

    def __init__(self):
        self.utils, self.grids = self, []

    def get_device_properties(self, device):
        return {"max_shared_mem": 232448, "max_num_regs": 65536, "multiprocessor_count": 132, "warpSize": 32}

    def load_binary(self, *binary):
        return 0, 0, 32, 0, 1024

    def launcher_cls(self, source, metadata):
        return lambda *arguments: self.grids.append(arguments[:3])


def test_launches_are_compiled_as_they_are_made(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    device, x = NoDevice(), torch.zeros(3, 1, 40, 72, requires_grad=True)
    monkeypatch.setattr(triton.runtime.driver, "_active", device)
    code = compiled(HOG(cell_size=4, orientations=2), x)
    (gradient,) = torch.autograd.grad(code.sum(), x)
    assert code.shape == (3, 10, 10, 18) and gradient.shape == x.shape
    cells = [(2, 3, 1), (2, 3, 1)]
    assert device.grids == [(2, 11, 3), (2, 3, 1), *cells, *cells, (2, 2, 3)]


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
