"""What the tests share: data, photographs, and the rule that nothing is skipped unseen."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch

from unfeature.cli import main
from unfeature.io.images import bundled, resize_longer, to_grey

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
IN_CI = os.environ.get("CI") == "true"
EXPECTED_SKIPS = ("the shared data is not here", "no CUDA device")

if importlib.util.find_spec("cyvlfeat"):
    importlib.import_module("setuptools")  # cyvlfeat imports distutils, which warns unless setuptools comes first

hypothesis.settings.register_profile("deterministic", derandomize=True, deadline=None, max_examples=15)
hypothesis.settings.load_profile("deterministic")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    if not (SHARED / "data").is_dir():
        pytest.skip("the shared data is not here")
    return SHARED


@pytest.fixture(scope="session")
def photograph() -> Callable[..., np.ndarray]:
    """photograph(name, side, grey): one of scikit-image's, float32 in [0, 1]."""

    def load(name: str = "astronaut", side: int = 64, grey: bool = True) -> np.ndarray:
        image = bundled(name)
        return resize_longer(to_grey(image) if grey else image, side)

    return load


@pytest.fixture(scope="session")
def images(photograph: Callable[..., np.ndarray]) -> list[np.ndarray]:
    """Four small photographs to learn from, …"""
    return [photograph(name, 96, True) for name in ("camera", "chelsea", "coffee", "rocket")]


@pytest.fixture(scope="session")
def target(photograph: Callable[..., np.ndarray]) -> np.ndarray:
    """… and another one to find again."""
    return photograph("astronaut", 96, True)[:80]


def _unexpected_skips(config: pytest.Config) -> list[str]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):
        return []
    skipped = (r.longrepr for r in reporter.getreports("skipped"))
    reasons = [str(found[-1] if isinstance(found, tuple) else found) for found in skipped]
    return [reason for reason in reasons if not any(expected in reason for expected in EXPECTED_SKIPS)]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if IN_CI and _unexpected_skips(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    unexpected = _unexpected_skips(config)
    if IN_CI and unexpected:
        terminalreporter.section("unexpected skips fail in CI", red=True, bold=True)
        for reason in dict.fromkeys(unexpected):
            terminalreporter.write_line(reason, red=True)
    if importlib.util.find_spec("cyvlfeat") is None:
        terminalreporter.section("parity with VLFeat was NOT tested: cyvlfeat is missing", red=True, bold=True)


@pytest.fixture
def call(capsys):
    """Run a command in this process: exit status, standard output and error."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        return stop.value.code, *capsys.readouterr()

    return call
