"""The compiled kernels give the numbers of the torch reference, whatever the batch and the threads."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unfeature.features.backend import BACKENDS, backend, uses_compiled
from unfeature.features.gradients.bins import Bins
from unfeature.features.gradients.dsift import DSIFT
from unfeature.features.gradients.histograms import oriented_cells
from unfeature.features.gradients.hog import HOG
from unfeature.features.gradients.pooling import PoolingMatrix, cell_pooling

VARIANTS = "uoctti", "dpm", "dalal-triggs"
RULES = [{}, {"linear": True}, {"softness": 0.5}, {"softness": 0.02}, {"cubic": True}, {"decimals": 4},
         {"decimals": 4, "softness": 0.1}]
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def images(shape, dtype, seed=0):
    """Noise with a flat corner and, in colour, equal channels in the last sample: zeros and ties."""
    x = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    x[:, :, : shape[2] // 2, : shape[3] // 2] = 0.5
    x[-1] = x[-1, :1]
    return x


def value_and_gradient(function, x, arithmetic="compiled", weights_seed=1):
    x = x.detach().clone().requires_grad_()
    with backend(arithmetic):
        y = function(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(weights_seed), dtype=x.dtype)
    return y.detach(), torch.autograd.grad((y * weights).sum(), x)[0]


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


def random_pooling(rows, pixels, seed):
    rng = np.random.default_rng(seed)
    count = 4 * pixels
    return PoolingMatrix(rows, pixels, rng.integers(0, rows, count), rng.integers(0, pixels, count), rng.random(count))


@DTYPES
@pytest.mark.parametrize("rule", RULES, ids=str)
@settings(max_examples=6)
@given(orientations=st.integers(1, 12), channels=st.sampled_from([1, 3]), height=st.integers(2, 24),
       width=st.integers(2, 24))
def test_the_core_is_that_of_the_reference(rule, dtype, orientations, channels, height, width):
    x = images((2, channels, height, width), dtype, seed=height)
    bins = Bins(orientations, **rule)
    rows, columns = random_pooling(5, height, 2), cell_pooling(width, (width + 1) // 2, 2, width + 1)
    results = [value_and_gradient(lambda z: oriented_cells(z, rows, columns, bins, 255.0), x, arithmetic)
               for arithmetic in BACKENDS]
    tolerance = 1e-6 if dtype == torch.float64 else 1e-4
    if results[1][1].abs().max() > 0:
        assert relative(results[0][0], results[1][0]) < tolerance
        assert relative(results[0][1], results[1][1]) < tolerance


@DTYPES
@pytest.mark.parametrize(("texture", "softness"), [(True, 0.0), (False, 0.0), (True, 0.7)])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_normalisation_is_that_of_the_reference(variant, texture, softness, dtype):
    cells = images((3, 10, 4, 7), dtype) ** 4 * 20
    phi = HOG(variant, orientations=5, texture=texture, softness=softness)
    results = [value_and_gradient(phi.normalise, cells, arithmetic) for arithmetic in BACKENDS]
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert relative(results[0][0], results[1][0]) < tolerance
    assert relative(results[0][1], results[1][1]) < tolerance


@pytest.mark.parametrize("variant", VARIANTS)
def test_results_repeat_bit_by_bit(variant):
    x = images((3, 3, 230, 150), torch.float32)
    phi = HOG(variant, cell_size=6, softness=0.2)
    value, gradient = value_and_gradient(phi, x)
    singles = [value_and_gradient(lambda z: phi(z) * 1, x[n:n + 1]) for n in range(3)]
    assert all(torch.equal(value[n], singles[n][0][0]) for n in range(3))
    torch.set_num_threads(3)
    try:
        several = value_and_gradient(phi, x)
        one = value_and_gradient(phi, x[:1])
    finally:
        torch.set_num_threads(1)
    assert torch.equal(value, several[0])
    assert torch.equal(gradient, several[1])
    assert torch.equal(singles[0][0], one[0])
    assert torch.equal(singles[0][1], one[1])


def test_views_and_other_layouts():
    x = images((2, 3, 24, 40), torch.float64)
    phi = HOG(cell_size=4)
    expected, gradient = value_and_gradient(phi, x)
    for other in (x.to(memory_format=torch.channels_last), x.transpose(2, 3).contiguous().transpose(2, 3)):
        found = value_and_gradient(phi, other)
        assert torch.equal(found[0], expected)
        assert torch.equal(found[1], gradient)
    y = phi(x.requires_grad_())
    (total,) = torch.autograd.grad(y.sum(), x)
    assert torch.isfinite(total).all()


@pytest.mark.parametrize("phi", [HOG(cell_size=4), HOG("dpm", cell_size=4, bilinear=True), DSIFT(bin_size=3),
                                 DSIFT(bin_size=3, window="flat"), DSIFT(bin_size=3, variant="network")], ids=repr)
def test_second_derivatives_are_those_of_plain_torch(phi):
    x = images((1, 1, 20, 20), torch.float64).requires_grad_()
    weights, direction = images(phi(x).shape, torch.float64, 1), images(x.shape, torch.float64, 2)

    def products():
        (gradient,) = torch.autograd.grad((phi(x) * weights).sum(), x, create_graph=True)
        return gradient, torch.autograd.grad((gradient * direction).sum(), x)[0]

    found = products()
    with backend("torch"):
        expected = products()
    for one, other in zip(found, expected, strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3 * float(other.detach().abs().max()))


def test_other_dtypes_take_the_reference():
    x = images((1, 1, 20, 20), torch.float64)
    assert uses_compiled(x)
    assert not uses_compiled(x.bfloat16())
    phi = HOG(cell_size=4)
    code = phi(x.bfloat16())
    assert code.dtype == torch.bfloat16
    with backend("torch"):
        assert torch.equal(code, phi(x.bfloat16()))


def test_numba_is_not_imported_before_it_is_needed():
    program = ("import sys, torch; from unfeature import HOG; assert 'numba' not in sys.modules; "
               "HOG()(torch.rand(1, 1, 32, 32)); assert 'numba' in sys.modules")
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_what_is_not_finite_stays_so(rule):
    rows, columns = cell_pooling(20, 5, 4, 20), cell_pooling(20, 5, 4, 20)
    for bad in (float("nan"), float("inf")):
        x = images((1, 1, 20, 20), torch.float32)
        x[0, 0, 9, 9] = bad
        cells = oriented_cells(x, rows, columns, Bins(9, **rule), 1.0)
        assert not torch.isfinite(cells).all()
        assert torch.isfinite(cells[..., 4]).all()


FORKED = """
import os, torch
from unfeature.features.gradients.hog import HOG

torch.set_num_threads(2)
x = torch.rand(2, 1, 256, 256)
code = HOG()(x)
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(HOG()(x), code) else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked on this system")
def test_a_forked_process_has_threads_of_its_own():
    environment = {**os.environ, "NUMBA_NUM_THREADS": "2", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", FORKED], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "0", done.stderr
