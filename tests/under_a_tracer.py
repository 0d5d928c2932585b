"""Encodes under one of torch's tracers or transforms, the first thing that a process does, and then eagerly.

``python under_a_tracer.py NAME …`` fails unless both agree with plain torch, for each descriptor.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import torch
from tiny_networks import ResNet, ViT, tiny

import unfeature as uf

PATCHES = uf.BRIEF(bits=6, patch_size=8, step=3, softness=1.0)
GENERATOR = np.random.default_rng(0)
WORDS = uf.Vocabulary(PATCHES, GENERATOR.uniform(-0.6, 0.6, (8, 6)))

PHIS = {
    "hog": uf.HOG(cell_size=4, orientations=4),
    "dsift-flat": uf.DSIFT(bin_size=3, step=6, window="flat"),
    "lbp": uf.LBP(cell_size=6),
    "bovw": uf.BoVW(WORDS),
    "bovw-soft": uf.BoVW(WORDS, "soft", levels=(1,)),
    "cnn": uf.CNN(tiny(), "fire3"),
    "cnn-tokens": uf.CNN(ViT(), "blocks.0", mean=0.5, std=1, input_size=(16, 16)),
    "layers": uf.Layers(ResNet(), ["relu", "layer2.0.conv1"], mean=0.5, std=1, call=-1, input_size=(16, 16)),
}
TRACERS = {}


def tracer(function):
    TRACERS[function.__name__] = function
    return function


def image(phi, count=1):
    shape = count, phi.in_channels[0], *(phi.input_size or (11, 11))
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def expected(phi, x):
    with uf.backend("torch"):
        return phi(x)


def close(found, wanted):
    scale = float(wanted.detach().abs().max())
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3 * scale)


@tracer
def compiled(phi):
    """As it is and as a part of a network, with its gradient."""
    model = torch.compile(torch.nn.Sequential(phi, torch.nn.Flatten(), torch.nn.Softmax(1)), backend="eager")
    x = image(phi).requires_grad_()
    code, whole = torch.compile(phi, backend="eager")(x), model(x)
    wanted = expected(phi, x)
    weights = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad(code, x, weights)
    close(code, wanted)
    close(whole, torch.softmax(wanted.flatten(1), 1))
    close(gradient, torch.autograd.grad(wanted, x, weights)[0])


@tracer
def exported(phi):
    x = image(phi)
    close(torch.export.export(phi, (x,), strict=False).module()(x), expected(phi, x))
    with uf.backend("torch"):
        program = torch.export.export(phi, (x,), strict=False)
    close(program.module()(x.flip(3)), expected(phi, x.flip(3)))
    if not isinstance(phi, uf.BoVW):
        batch = image(phi, 3)
        shapes = ({0: torch.export.Dim("images", min=2, max=9)},)
        program = torch.export.export(phi, (batch,), dynamic_shapes=shapes, strict=False)
        close(program.module()(batch[:2]), expected(phi, batch[:2]))


@tracer
def fake(phi):
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        for dtype in (torch.float64, torch.float32):
            x = image(phi).to(dtype)
            assert phi(mode.from_tensor(x)).shape == expected(phi, x).shape


@tracer
def vmap(phi):
    x = image(phi, 3)
    close(torch.vmap(lambda image: phi(image[None])[0])(x), expected(phi, x))


@tracer
def derivatives(phi):
    """Forward and reverse derivatives by torch.func agree with each other and with autograd."""
    x = image(phi)
    weights = torch.randn(expected(phi, x).shape, generator=torch.Generator().manual_seed(1))

    def loss(image):
        return (phi(image) * weights).sum()

    by_grad, jacobian = torch.func.grad(loss)(x), torch.func.jacrev(phi)(x)
    leaf = x.clone().requires_grad_()
    close(by_grad, torch.autograd.grad((expected(phi, leaf) * weights).sum(), leaf)[0])
    close(torch.tensordot(weights, jacobian, weights.ndim), by_grad)
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    code, along = torch.func.jvp(phi, (x,), (direction,))
    close(code, expected(phi, x))
    close(along, torch.tensordot(jacobian, direction, x.ndim))
    with torch.autograd.forward_ad.dual_level():
        dual = phi(torch.autograd.forward_ad.make_dual(x, direction))
        close(torch.autograd.forward_ad.unpack_dual(dual).tangent, along)


@tracer
def second_derivatives(phi):
    """By torch.func.hessian, twice through autograd, and by autograd's own functional interface."""
    x = image(phi)
    weights = torch.randn(expected(phi, x).shape, generator=torch.Generator().manual_seed(1))

    def loss(image):
        return (phi(image) * weights).sum()

    hessian = torch.func.hessian(loss)(x).reshape(x.numel(), -1)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    (product,) = torch.autograd.grad((gradient * direction).sum(), leaf)
    close(product.flatten(), hessian @ direction.flatten())
    rows = torch.autograd.functional.jacobian(phi, x, vectorize=True)
    close(rows, torch.func.jacrev(phi)(x))


def main(name):
    for kind, phi in PHIS.items():
        try:
            TRACERS[name](phi)
            x = image(phi).requires_grad_()
            code = phi(x)
            close(code, expected(phi, x))
            assert torch.isfinite(torch.autograd.grad(code.sum(), x)[0]).all()
            double = x.detach().double()
            close(phi(double), expected(phi, double))
        except Exception as error:
            raise AssertionError(f"{kind} under {name}: {type(error).__name__}: {error}") from error


if __name__ == "__main__":
    warnings.filterwarnings("error", message=".*lru_cache")
    for name in sys.argv[1:]:
        main(name)
