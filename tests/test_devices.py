"""Descriptors and inversions run on other devices as on the CPU; they mix no tensors of the two and do not wait.

The device is a pretended one, see `elsewhere`, so that no real one is needed.
"""

from __future__ import annotations

import pytest
import torch

from tests.checking import outcomes_of
from tests.on_a_device import checks
from unfeature.features.gradients.hog import HOG
from unfeature.inversion.invert import invert


@pytest.fixture(scope="module")
def outcomes(root):
    return outcomes_of("tests.on_a_device", root)


@pytest.mark.parametrize("name", checks())
def test_a_device_is_like_the_cpu(name, outcomes):
    assert outcomes[name] == ""


def test_the_pretended_device_refuses_a_mixture(outcomes):
    assert "meet one of the CPU" in outcomes["mixture"]
    assert "the host waits" in outcomes["wait"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("preset", ["ijcv2016", "fast"])
def test_an_inversion_on_a_real_device_comes_as_near(preset):
    phi, x = HOG(texture=False), torch.rand(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    here, there = (invert(phi, phi(x.to(where)).detach(), preset=preset).errors for where in ("cpu", "cuda"))
    assert abs(there.mean() - here.mean()) < 0.1 * here.mean()
