"""Processes killed at random moments lose, double and change nothing; `make fuzz` kills more of them."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from unfeature.io.images import bundled, resize_longer, write_png

KILLS, SEED = int(os.environ.get("FUZZ_KILLS", 4)), int(os.environ.get("FUZZ_SEED", 0))
ALWAYS_STORE = "from unfeature.baselines.stream import Stream; Stream.interval = -1.0; "
START = "from unfeature.cli import main; main()"
NOT_THE_SAME = ("seconds", "task_seconds", "cpu_seconds")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("astronaut", "coffee", "rocket"):
        for side in (48, 56):
            write_png(folder / f"{name}-{side}.png", resize_longer(bundled(name), side))
    return folder


def learning(photographs, out):
    return [ALWAYS_STORE + START, "learn", "ridge", photographs, "--windows", 400, "--cells", 2, "-o", out / "m.npz"]


def measuring(photographs, out):
    return [START, "bench", "descriptors", "--images", photographs, "--out", out, "--features", "hog",
            "--methods", "best,fast", "--side", 48, "--steps", 20, "--jobs", 2]


def learned(out):
    return {path.name: path.read_bytes() for path in out.iterdir()}


def measured(out):
    hidden = [path for path in out.rglob("*") if path.name.startswith(".")]
    with (out / "rows.csv").open(encoding="utf-8") as stream:
        rows = [{k: v for k, v in row.items() if k not in NOT_THE_SAME} for row in csv.DictReader(stream)]
    pictures = {path.relative_to(out): path.read_bytes() for path in out.rglob("*.webp")}
    return hidden, rows, sorted(path.relative_to(out) for path in out.rglob("*")), pictures


def start(arguments):
    return subprocess.Popen([sys.executable, "-c", *map(str, arguments)], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)


@pytest.mark.parametrize(("command", "outcome"), [(learning, learned), (measuring, measured)])
def test_after_any_kill_the_same_call_leaves_what_an_undisturbed_one_does(command, outcome, photographs, tmp_path):
    for name in ("undisturbed", "killed"):
        (tmp_path / name).mkdir()
    begin = time.monotonic()
    assert start(command(photographs, tmp_path / "undisturbed")).wait() == 0
    usual, rng = time.monotonic() - begin, np.random.default_rng(SEED)
    for number in range(KILLS // 2):
        process = start(command(photographs, tmp_path / "killed"))
        try:
            process.wait(rng.uniform(0.2, 1) * usual)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
        assert process.wait() in (0, -signal.SIGKILL)
        if number % 5 == 4 or number + 1 == KILLS // 2:
            time.sleep(1)
            assert start(command(photographs, tmp_path / "killed")).wait() == 0
            assert outcome(tmp_path / "killed") == outcome(tmp_path / "undisturbed")
            if number + 1 < KILLS // 2:
                for path in sorted((tmp_path / "killed").rglob("*"), reverse=True):
                    path.rmdir() if path.is_dir() else path.unlink()
