"""Every solver on every problem, alone and in batches."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from tests.contract_list import SOLVERS
from tests.tiny_networks import tiny
from unfeature.features.backend import backend
from unfeature.features.gradients.hog import HOG
from unfeature.features.networks.cnn import CNN
from unfeature.inversion.invert import invert
from unfeature.inversion.recipes import recipe_for, without_steps
from unfeature.inversion.solvers import SOLVERS as CATALOGUE
from unfeature.inversion.solvers.base import Box
from unfeature.inversion.solvers.first_order import AdaDelta, AdaGrad, Momentum
from unfeature.inversion.solvers.lbfgs import LBFGS
from unfeature.inversion.solvers.lbfgsb import LBFGSB
from unfeature.io.images import bundled, resize_longer, to_grey

SIZE = (3, 1, 4, 5)
BOX = Box(torch.full((1, 4, 5), -0.1, dtype=torch.float64), torch.full((1, 4, 5), 0.1, dtype=torch.float64))


def quadratic(seed, conditioning=30.0):
    """Value and gradient of ½ zᵀ A z − bᵀ z for each sample, and the minimum."""
    generator = torch.Generator().manual_seed(seed)
    n, m = SIZE[0], 20
    basis = torch.linalg.qr(torch.randn(n, m, m, generator=generator, dtype=torch.float64))[0]
    scales = torch.logspace(0, np.log10(conditioning), m, dtype=torch.float64)
    a = basis @ torch.diag(scales) @ basis.transpose(1, 2)
    b = torch.randn(n, m, generator=generator, dtype=torch.float64)

    def evaluate(z, samples=slice(None)):
        flat = z.reshape(len(z), -1)
        product = (a[samples] @ flat[..., None])[..., 0]
        value = 0.5 * (flat * product).sum(1) - (b[samples] * flat).sum(1)
        return value, (product - b[samples]).view_as(z)

    return evaluate, torch.linalg.solve(a, b).view(SIZE)


def rosenbrock(z, samples=slice(None)):
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        flat = z.reshape(len(z), -1)
        value = (100 * (flat[:, 1:] - flat[:, :-1] ** 2) ** 2 + (1 - flat[:, :-1]) ** 2).sum(1)
        (gradient,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), gradient


def scipy_rosenbrock(z):
    value, gradient = rosenbrock(torch.tensor(z).view(1, 1, 4, 5))
    return value.item(), gradient.numpy().ravel()


def scipy_value(evaluate, flat, sample):
    value, gradient = evaluate(torch.from_numpy(flat).view(1, *SIZE[1:]), slice(sample, sample + 1))
    return value.item(), gradient.numpy().ravel()


def start(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SIZE, generator=generator, dtype=torch.float64)


def run(solver, evaluate, z, steps, project=None):
    solver.begin(z, project)
    for _ in range(steps):
        solver.tell(*evaluate(solver.point))
    solver.end()
    return solver.best


@pytest.fixture(params=SOLVERS, ids=str)
def solver(request):
    return SOLVERS[request.param]


def test_minimum_of_a_quadratic_is_approached(solver):
    evaluate, minimum = quadratic(0)
    z = start()
    found = run(solver(), evaluate, z, 400)
    assert (found - minimum).norm() < 0.15 * (z - minimum).norm()


@pytest.mark.parametrize("problem", ["quadratic", "rosenbrock"])
def test_samples_run_as_they_would_alone(solver, problem):
    evaluate = quadratic(1)[0] if problem == "quadratic" else rosenbrock
    z = 0.1 * start(1)
    together = run(solver(), evaluate, z, 40)
    for i in range(len(z)):
        alone = run(solver(), lambda p, i=i: evaluate(p, slice(i, i + 1)), z[i : i + 1], 40)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-9, atol=1e-9)


def test_compiled_updates_are_those_of_torch(solver):
    evaluate, _ = quadratic(1)
    found = run(solver(), evaluate, start(1), 12)
    with backend("torch"):
        torch.testing.assert_close(run(solver(), evaluate, start(1), 12), found, rtol=1e-9, atol=1e-9)


def test_iterates_stay_where_the_projection_puts_them(solver):
    evaluate, minimum = quadratic(2)
    assert minimum.abs().max() > 0.01
    for project in (lambda z: z.clamp(-0.01, 0.01), Box(torch.tensor(-0.01), torch.tensor(0.01))):
        s = solver()
        if not s.keeps(project):
            with pytest.raises(ValueError, match="cannot keep coordinates inside a b"):
                s.begin(start(), project)
            continue
        s.begin(start(), project)
        for _ in range(10):
            s.tell(*evaluate(s.point))
            assert s.point.abs().max() <= 0.01
        s.end()


def test_only_lbfgs_keeps_no_box_and_only_lbfgsb_needs_one():
    keep = {name: [make().keeps(p) for p in (None, BOX, lambda z: z)] for name, make in SOLVERS.items()}
    assert {name for name, kept in keep.items() if kept != [True] * 3} == {"lbfgs", "lbfgsb"}
    assert keep["lbfgs"] == [True, False, False] and keep["lbfgsb"] == [True, True, False]


def test_the_catalogue_has_the_solvers_of_the_contract():
    assert {type(make()) for make in SOLVERS.values()} == {CATALOGUE[name] for name in CATALOGUE}


def in_a_box(solver):
    """Distance from the minimum of a quadratic in a box, over that of the start; None if the solver keeps no box."""
    if not solver.keeps(BOX):
        return None
    evaluate, _ = quadratic(6)
    z = BOX(start(6))
    expected = torch.stack([torch.from_numpy(minimize(
        lambda flat, i=i: scipy_value(evaluate, flat, i), sample.flatten().numpy(), jac=True, method="trust-constr",
        bounds=[(-0.1, 0.1)] * 20, options={"gtol": 1e-9}).x).view(SIZE[1:]) for i, sample in enumerate(z)])
    return float((run(solver, evaluate, z, 400, BOX) - expected).norm() / (z - expected).norm())


def of_hog(solver):
    """Relative error of HOG's pre-image over that of where it starts."""
    phi = HOG(bilinear=True)
    code = phi(resize_longer(to_grey(bundled("astronaut")), 48))
    recipe = replace(recipe_for(phi, "best"), solver=lambda: solver)
    return invert(phi, code, preset=recipe, steps=60, start="noise").error / invert(
        phi, code, preset=without_steps(recipe), start="noise").error


def of_a_layer(solver):
    """The same of a layer of a network."""
    phi = CNN(tiny(), "conv1")
    code = phi(np.random.default_rng(0).random((24, 24, 3), dtype=np.float32))
    recipe = replace(recipe_for(phi, "cvpr2015"), solver=lambda: solver)
    return invert(phi, code, preset=recipe, steps=60, size=(24, 24)).error / invert(
        phi, code, preset=without_steps(recipe), size=(24, 24)).error


@pytest.mark.parametrize(("problem", "most"), [(in_a_box, 0.1), (of_hog, 0.5), (of_a_layer, 0.85)],
                         ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("name", CATALOGUE)
def test_every_solver_solves_every_problem_with_its_own_settings(name, problem, most):
    found = problem(CATALOGUE[name]())
    assert found is None if name == "lbfgs" and problem is in_a_box else found < most


def test_lbfgs_equals_scipy_on_rosenbrock():
    z = 0.5 * start(3)
    found = run(LBFGS(history=10), rosenbrock, z, 400)
    assert rosenbrock(found)[0].max() < 1e-8
    budget = 0
    for sample in z:
        reference = minimize(
            scipy_rosenbrock,
            sample.flatten().numpy(),
            jac=True,
            method="L-BFGS-B",
            options={"maxcor": 10, "ftol": 1e-15, "gtol": 1e-6},
        )
        budget = max(budget, reference.nfev)
    assert rosenbrock(run(LBFGS(history=10), rosenbrock, z, 2 * budget))[0].max() < 1e-6


def test_lbfgs_steps_back_from_values_that_are_not_finite():
    def walled(z):
        value, gradient = quadratic(4)[0](z)
        outside = z.flatten(1).abs().amax(1) > 3
        return torch.where(outside, torch.nan, value), gradient

    solver = LBFGS(first_step=10.0)
    found = run(solver, walled, start(4).clamp(-1, 1), 120)
    assert torch.isfinite(walled(found)[0]).all()
    assert torch.linalg.vector_norm(walled(found)[1]) < 1e-4


def test_lbfgs_says_when_it_has_converged():
    solver = LBFGS()
    run(solver, quadratic(5)[0], start(5), 300)
    assert solver.converged
    point = solver.point.clone()
    solver.tell(*quadratic(5)[0](solver.point))
    torch.testing.assert_close(solver.point, point)


def test_adagrad_follows_the_published_update():
    g = torch.tensor([[[[2.0, -1.0]]]])
    solver = AdaGrad(step=0.1, damping=4.0, memory=0.9)
    solver.begin(torch.zeros(1, 1, 1, 2))
    solver.tell(torch.zeros(1), g)
    first = -0.1 * g / (4.0 / 2 + g.abs())
    torch.testing.assert_close(solver.point, first)
    solver.tell(torch.zeros(1), g)
    second = 0.9 * first - 0.1 * g / (4.0 / 2 + (0.9 * g**2 + g**2).sqrt())
    torch.testing.assert_close(solver.point, first + second)
    solver.next_stage(rate=0.1, changed=False)
    before = solver.point.clone()
    solver.tell(torch.zeros(1), g)
    third = -0.1 * g / (40.0 / 2 + (0.9 * 1.9 * g**2 + g**2).sqrt())
    torch.testing.assert_close(solver.point, before + third)


def test_momentum_follows_the_published_update():
    g = torch.ones(1, 1, 1, 2)
    solver = Momentum(step=0.5, memory=0.9)
    solver.begin(torch.zeros(1, 1, 1, 2))
    for _ in range(2):
        solver.tell(torch.zeros(1), g)
    torch.testing.assert_close(solver.point, -(1.0 + 1.9) * g)


def test_momentum_rests_when_its_rate_changes():
    g = torch.ones(1, 1, 1, 2)
    solver = Momentum(step=0.5, memory=0.9, pixels=4.0)
    solver.begin(torch.zeros(1, 1, 1, 2))
    solver.tell(torch.zeros(1), g)
    solver.next_stage(rate=0.1, changed=False)
    solver.tell(torch.zeros(1), g)
    torch.testing.assert_close(solver.point, -(2.0 + 0.2) * g)


def test_adadelta_follows_the_published_update():
    g, pixels = torch.tensor([[[[2.0, -1.0]]]]), 2
    solver = AdaDelta(memory=0.9, damping=1e-4)
    solver.begin(torch.zeros(1, 1, 1, 2))
    expected, squares, steps = torch.zeros_like(g), torch.zeros_like(g), torch.zeros_like(g)
    for rate in (1.0, 1.0, 0.5):
        solver.next_stage(rate, changed=False)
        solver.tell(torch.zeros(1), g)
        squares = 0.9 * squares + 0.1 * (pixels * g) ** 2
        step = -(steps + 1e-4).sqrt() / (squares + 1e-4).sqrt() * pixels * g
        steps = 0.9 * steps + 0.1 * step**2
        expected = expected + rate * step
        torch.testing.assert_close(solver.point, expected)


def test_a_descent_that_diverges_says_so_and_ends_with_the_last_finite_image():
    phi = HOG()
    code = phi(np.random.default_rng(7).random((32, 32)).astype(np.float32))
    recipe = recipe_for(phi, "cvpr2015")
    result = invert(phi, code, preset=replace(recipe, solver=partial(recipe.solver, step=0.01)))
    assert result.status.startswith("non-finite values at evaluation")
    assert np.isfinite(result.images).all() and np.isfinite(result.error)


@pytest.mark.parametrize("kind", [LBFGS, LBFGSB])
def test_an_empty_history_is_refused(kind):
    with pytest.raises(ValueError, match="history"):
        kind(history=0)
