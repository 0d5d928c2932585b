"""SciPy's L-BFGS-B, which keeps coordinates in a box: a run of its own for each sample."""

from __future__ import annotations

import threading
import weakref
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from .base import Box, Projection, Solver

Vector = NDArray[np.float64]
Answer = tuple[float, Vector] | None  # objective and gradient; None ends the run
Question = Vector | Exception | None  # where they are needed; None if the run has ended
UNLIMITED = 2**30


class LBFGSB(Solver):
    r"""SciPy's L-BFGS-B: quasi-Newton steps along the free coordinates, with a line search; the others are at a bound.

    Parameters
    ----------
    history : int
        Pairs of steps and gradient changes that are kept.

    Raises
    ------
    ValueError
        From `begin`, for a projection that is no `Box`.

    Notes
    -----
    `scipy.optimize.minimize` calls the objective, while here the objective is told: each sample has a thread, in which
    `minimize` waits for it. The threads end with `end`, or with the solver. All vectors are in double precision.
    A sample is done when the objective does not change any more, or a line search fails. Source: Byrd, Lu, Nocedal &
    Zhu 1995. Differs from `LBFGS`: a stage with another objective starts without a history.
    """

    iterate: Tensor
    least: Tensor
    runs: list[_Run]

    def __init__(self, history: int = 10):
        if history < 1:
            raise ValueError(f"history is at least 1 pair, got {history}")
        self.history = history

    def keeps(self, project: Projection | None) -> bool:
        """A box, or no bound."""
        return project is None or isinstance(project, Box)

    def begin(self, start: Tensor, project: Projection | None = None) -> None:
        """Start a run for each sample."""
        super().begin(start, project)
        self.box = project if isinstance(project, Box) else None
        self._start_runs(self.point)

    @property
    def best(self) -> Tensor:
        """The iterate of least objective."""
        return self.iterate

    @property
    def converged(self) -> bool:
        """Whether the run of every sample has ended."""
        return all(run.done for run in self.runs)

    @property
    def vectors(self) -> int:
        """What SciPy allocates, in double precision: both of each pair, and five more vectors."""
        return 2 * (2 * self.history + 5)

    def next_stage(self, rate: float, changed: bool) -> None:
        """Go on; another objective starts new runs from the best iterate."""
        super().next_stage(rate, changed)
        if changed:
            self.end()
            self._start_runs(self.best)

    def tell(self, value: Tensor, gradient: Tensor) -> None:
        """Tell each run its objective and gradient, and ask for its next point."""
        better = value < self.least
        self.least = torch.where(better, value, self.least)
        self.iterate = torch.where(better.view(-1, *[1] * (gradient.ndim - 1)), self.point, self.iterate)
        gradients = _host(gradient)
        for run, one, slope in zip(self.runs, value.tolist(), gradients, strict=True):
            run.tell(one, slope)
        self._ask()

    def end(self) -> None:
        """End the threads."""
        for run in self.runs:
            run.end()

    def _start_runs(self, start: Tensor) -> None:
        self.iterate, self.least = start, start.new_full((len(start),), torch.inf)
        bounds = None if self.box is None else _bounds(self.box, start)
        self.runs = [_Run(sample, bounds, self.history) for sample in _host(start)]
        self._ask()

    def _ask(self) -> None:
        """Move each sample to where its run needs the objective; one that is done, to its best iterate."""
        found = [run.ask() for run in self.runs]
        nowhere = np.zeros(self.iterate[0].numel())
        points = np.stack([nowhere if point is None else point for point in found])
        self.point = torch.from_numpy(points).to(self.iterate).view_as(self.iterate)
        if any(run.done for run in self.runs):
            done = torch.tensor([run.done for run in self.runs]).to(self.iterate.device)
            self.point = torch.where(done.view(-1, *[1] * (self.point.ndim - 1)), self.iterate, self.point)


class _Run:
    """One run of `minimize`, in a thread that waits for each value of the objective."""

    def __init__(self, start: Vector, bounds: Any, history: int):
        self.done = False
        self.questions, self.answers = SimpleQueue[Question](), SimpleQueue[Answer]()
        arguments = self.questions, self.answers, start, bounds, history
        self.thread = threading.Thread(target=_minimise, args=arguments, name="L-BFGS-B", daemon=True)
        weakref.finalize(self, self.answers.put, None)
        self.thread.start()

    def tell(self, value: float, gradient: Vector) -> None:
        """Let the run go on; it computes until it needs the next value."""
        if not self.done:
            self.answers.put((value, gradient))

    def ask(self) -> Vector | None:
        """Where the objective is needed; None if the run has ended. An error in the run is raised here."""
        if self.done:
            return None
        question = self.questions.get()
        self.done = not isinstance(question, np.ndarray)
        if isinstance(question, Exception):
            raise question
        return question

    def end(self) -> None:
        """End the thread."""
        self.answers.put(None)
        self.thread.join()
        self.done = True


class _Ended(Exception):
    """Nobody needs the run any more."""


def _minimise(questions: SimpleQueue[Question], answers: SimpleQueue[Answer], start: Vector, bounds: Any,
              history: int) -> None:
    """What a thread does."""

    def objective(z: Vector) -> tuple[float, Vector]:
        questions.put(z.copy())
        answer = answers.get()
        if answer is None:
            raise _Ended
        return answer

    options = {"maxcor": history, "ftol": 0.0, "gtol": 0.0, "maxfun": UNLIMITED, "maxiter": UNLIMITED}
    try:
        minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        questions.put(None)
    except _Ended:
        pass
    except Exception as error:
        questions.put(error)


def _host(z: Tensor) -> Vector:
    """One row of double precision for each sample."""
    rows: Vector = z.detach().flatten(1).double().cpu().numpy()
    return rows


def _bounds(box: Box, z: Tensor) -> Any:
    """The bounds of one sample, as SciPy takes them."""
    from scipy.optimize import Bounds

    return Bounds(*(_host(side.to(z).expand_as(z[0])[None])[0] for side in (box.lower, box.upper)))
