"""SciPy's L-BFGS-B, told its objective: it is SciPy's own run, and its threads end however the descent ends."""

import gc
import os
import signal
import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import Bounds, minimize

import unfeature as uf
from tests.test_solvers import quadratic, rosenbrock, scipy_rosenbrock, start
from unfeature.inversion.parameterizations import BoxedPixels, Pixels
from unfeature.inversion.recipes import Stage, ijcv2016
from unfeature.inversion.solvers.base import Box
from unfeature.inversion.solvers.lbfgsb import LBFGSB


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "L-BFGS-B"]


@pytest.fixture(autouse=True)
def all_threads_end():
    yield
    gc.collect()
    for thread in threads():
        thread.join(10)
    assert threads() == []


def test_points_are_those_of_scipy():
    seen = []

    def objective(z):
        seen.append(z.copy())
        return scipy_rosenbrock(z)

    z, half = 0.5 * start(3)[:1], torch.full((1, 4, 5), 0.5, dtype=torch.float64)
    bounds = Bounds(np.full(20, -0.5), np.full(20, 0.5))
    reference = minimize(objective, z.clamp(-0.5, 0.5).flatten().numpy(), jac=True, method="L-BFGS-B", bounds=bounds,
                         options={"maxcor": 7, "ftol": 0, "gtol": 0})
    solver = LBFGSB(history=7)
    solver.begin(z, Box(-half, half))
    for point in seen:
        np.testing.assert_array_equal(solver.point.flatten(), point)
        assert not solver.converged
        solver.tell(*rosenbrock(solver.point))
    assert solver.converged and rosenbrock(solver.best)[0].item() <= reference.fun
    np.testing.assert_allclose(solver.best.flatten(), reference.x, atol=1e-9)
    found = solver.best
    solver.tell(*rosenbrock(solver.point))
    assert torch.equal(solver.point, found) and torch.equal(solver.best, found)
    solver.end()


def test_another_objective_starts_from_the_best_point():
    first, second = quadratic(0)[0], quadratic(1)
    solver = LBFGSB()
    solver.begin(start())
    for _ in range(9):
        solver.tell(*first(solver.point))
    best = solver.best
    solver.next_stage(1.0, changed=False)
    assert solver.best is best and not torch.equal(solver.point, best)
    solver.next_stage(1.0, changed=True)
    assert torch.equal(solver.point, best)
    assert len(threads()) == 3
    for _ in range(200):
        solver.tell(*second[0](solver.point))
    torch.testing.assert_close(solver.best, second[1], rtol=1e-5, atol=1e-6)
    solver.end()


def test_a_solver_that_is_dropped_ends_its_threads():
    solver = LBFGSB()
    solver.begin(start())
    solver.tell(*quadratic(0)[0](solver.point))
    assert len(threads()) == 3
    del solver


def test_an_error_in_a_run_is_raised_and_ends_the_others(monkeypatch):
    def broken(objective, z, **options):
        objective(z)
        raise ZeroDivisionError("in the thread")

    monkeypatch.setattr("unfeature.inversion.solvers.lbfgsb.minimize", broken)
    solver = LBFGSB()
    solver.begin(start())
    with pytest.raises(ZeroDivisionError, match="in the thread"):
        solver.tell(*quadratic(0)[0](solver.point))
    solver.end()


def test_ctrl_c_reaches_who_waits_for_a_run(monkeypatch):
    def slow(objective, z, **options):
        objective(z)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        objective(z)

    monkeypatch.setattr("unfeature.inversion.solvers.lbfgsb.minimize", slow)
    solver = LBFGSB()
    solver.begin(start()[:1])
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C
    try:
        with pytest.raises(KeyboardInterrupt):
            solver.tell(*rosenbrock(solver.point))
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert torch.equal(solver.best, start()[:1])
    solver.end()


def test_an_error_of_the_objective_and_an_interrupt_end_the_threads():
    phi = uf.HOG(bilinear=True)
    code = phi(np.random.default_rng(0).random((32, 32), dtype=np.float32))
    recipe = replace(ijcv2016(phi), parameterization=BoxedPixels, solver=LBFGSB)

    def stop(progress, error):
        if progress.step == 5:
            assert len(threads()) == 2
            raise error

    result = uf.invert(phi, code, preset=recipe, starts=2, progress=partial(stop, error=KeyboardInterrupt))
    assert result.status == "stopped by the user after 5 of 300 gradient evaluations" and threads() == []
    with pytest.raises(RuntimeError, match="mine"):
        uf.invert(phi, code, preset=recipe, starts=2, progress=partial(stop, error=RuntimeError("mine")))
    assert threads() == []


def test_images_stay_in_the_box_and_batches_are_their_samples():
    phi = uf.HOG(bilinear=True)
    images = np.random.default_rng(1).random((3, 32, 32), dtype=np.float32).round()
    codes = [phi(image) for image in images]
    recipe = replace(ijcv2016(phi), name="boxed", parameterization=BoxedPixels, solver=LBFGSB, priors=())
    together = uf.invert(phi, codes, preset=recipe, steps=40)
    assert together.images.min() == 0 and together.images.max() == 1
    assert together.errors.max() < 0.3
    for code, image in zip(codes, together.images, strict=True):
        np.testing.assert_array_equal(uf.invert(phi, code, preset=recipe, steps=40).image, image)


def test_a_stage_may_go_on_with_it_and_bounds_of_colours_are_refused():
    phi = uf.HOG(bilinear=True)
    grey = np.random.default_rng(2).random((32, 32), dtype=np.float32)
    stages = (Stage(20), Stage(20, solver=LBFGSB), Stage(20, softness=0.1, solver=LBFGSB), Stage(10, softness=0.05))
    found = uf.invert(phi, phi(grey), preset=replace(ijcv2016(phi), stages=stages))
    assert found.provenance["evaluations"] == 70
    assert found.error < 0.5 * uf.invert(phi, phi(grey), preset="ijcv2016", steps=20).error
    bound = Pixels(uf.inversion.parameterizations.base.ImageSpec(4, 4, torch.full((3, 1, 1), 0.5))).constraint
    with pytest.raises(ValueError, match="LBFGSB cannot keep coordinates inside a bound"):
        LBFGSB().begin(torch.zeros(1, 3, 4, 4), bound)
