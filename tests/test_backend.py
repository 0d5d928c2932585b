"""The choice of the backend reaches every descriptor, copy and pass of an inversion, and nothing else."""

from __future__ import annotations

import copy
import subprocess
import sys
import threading

import pytest
import torch

import unfeature as uf
from unfeature.features.backend import backend, uses_compiled
from unfeature.features.base import Representation

X = torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(0))
PHIS = uf.HOG(cell_size=6), uf.DSIFT(bin_size=4), uf.DSIFT(bin_size=4, window="flat")
FOLLOWERS = {
    "itself": lambda phi: phi,
    "surrogate": lambda phi: phi.surrogate(0.3),
    "replace": lambda phi: phi.replace(scale=100.0),
    "leaky": lambda phi: phi.leaky(0.1),
    "copy": copy.copy,
    "deep copy": copy.deepcopy,
    "configuration": lambda phi: Representation.from_config(phi.to_config()),
}


@pytest.fixture
def calls(monkeypatch):
    """The compiled passes of descriptors that were called."""
    from unfeature.features.gradients.compiled import autograd

    found, in_parallel = [], autograd.in_parallel

    def counted(kernel, *arguments):
        found.append(kernel.__name__)
        in_parallel(kernel, *arguments)

    monkeypatch.setattr(autograd, "in_parallel", counted)
    return found


@pytest.mark.parametrize("follower", FOLLOWERS)
@pytest.mark.parametrize("phi", PHIS, ids=repr)
def test_every_copy_follows(phi, follower, calls):
    x = X.clone().requires_grad_()
    with uf.backend("torch"):
        FOLLOWERS[follower](phi)(x).sum().backward()
        assert calls == []
        made_inside = FOLLOWERS[follower](phi)
    made_inside(x).sum().backward()
    assert len(calls) >= 4


def test_forward_decides_for_backward(calls):
    x, phi = X.clone().requires_grad_(), uf.HOG(cell_size=6)
    with backend("torch"):
        code = phi(x)
    (gradient,) = torch.autograd.grad(code.sum(), x, create_graph=True)
    assert gradient.requires_grad and calls == []
    code = phi(x)
    with backend("torch"):
        torch.autograd.grad(code.sum(), x)
    assert calls == ["pool", "add_blocks", "add_blocks_derivative", "unpool", "image_derivative"]


def test_blocks_nest_and_end_with_an_exception():
    with backend("torch"):
        with backend("compiled"):
            assert uses_compiled(X)
        assert not uses_compiled(X)
        with pytest.raises(KeyError), backend("compiled"):
            raise KeyError
        assert not uses_compiled(X)
    assert uses_compiled(X)


def test_a_new_thread_starts_with_the_default():
    found = []
    with backend("torch"):
        thread = threading.Thread(target=lambda: found.append(uses_compiled(X)))
        thread.start()
        thread.join()
        assert not uses_compiled(X)
    assert found == [True]


@pytest.mark.parametrize(("name", "hint"), [("Torch", "did you mean 'torch'"), ("compile", "did you mean 'compiled'"),
                                            ("cuda", "choose one of compiled, torch")])
def test_unknown_backends_are_named(name, hint):
    with pytest.raises(ValueError, match=f"unknown backend {name!r}.*{hint}"), backend(name):
        pass
    assert uses_compiled(X)


INVERSION = """
import sys, torch
import unfeature as uf

phi = uf.{phi}
x = torch.rand(2, 1, 48, 48, generator=torch.Generator().manual_seed(0))
with uf.backend("torch"):
    result = uf.invert(phi, phi(x), preset="ijcv2016", steps=4, size=(48, 48))
assert result.images.shape[0] == 2
assert "numba" not in sys.modules
"""


@pytest.mark.parametrize("phi", ["HOG(cell_size=6)", "DSIFT(bin_size=4, window='flat')"])
def test_an_inversion_takes_plain_torch_throughout(phi):
    program = [sys.executable, "-c", INVERSION.format(phi=phi)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("preset", ["cvpr2015", "best", "fast"])
def test_every_preset_takes_the_backend(preset, calls):
    phi = uf.HOG(cell_size=6)
    with uf.backend("torch"):
        result = uf.invert(phi, phi(X), preset=preset, steps=4)
    assert calls == [] and torch.isfinite(torch.as_tensor(result.images)).all()
    uf.invert(phi, phi(X), preset=preset, steps=4)
    assert {"pool", "unpool", "add_blocks"} <= set(calls)
