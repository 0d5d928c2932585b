"""The same tasks on a Dask cluster: a scheduler and two workers, processes of their own; one worker is killed."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from unfeature.io.images import bundled, resize_longer, write_png

pytest.importorskip("distributed", reason="Dask is not installed")
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def dask(*arguments) -> subprocess.Popen:
    call = [sys.executable, "-m", "dask", *map(str, arguments)]
    return subprocess.Popen(call, env=ONE_THREAD, start_new_session=True, **QUIET)


@pytest.fixture
def cluster(tmp_path):
    """Address of a scheduler, and its two workers."""
    port, dashboard = free_port(), free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = dask("scheduler", "--host", "127.0.0.1", "--port", port, "--dashboard-address",
                     f"127.0.0.1:{dashboard}", "--no-show")
    workers = [dask("worker", address, "--host", "127.0.0.1", "--nthreads", 1, "--no-nanny", "--no-dashboard",
                    "--local-directory", tmp_path / f"worker{i}") for i in range(2)]
    yield address, workers
    for process in (*workers, scheduler):
        process.kill()
        process.wait()


def test_a_killed_worker_loses_nothing(cluster, tmp_path):
    address, workers = cluster
    images = tmp_path / "images"
    for name in ("astronaut", "camera", "coffee", "rocket"):
        write_png(images / f"{name}.png", resize_longer(bundled(name), 64))
    out = tmp_path / "out"
    call = [sys.executable, "-m", "unfeature", "bench", "descriptors", "--images", images, "--out", out, "--side", 64,
            "--features", "hog", "--methods", "ijcv2016,cvpr2015", "--scheduler", address]
    run = subprocess.Popen(list(map(str, call)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(out.glob("tasks/descriptors-*/row.json")) and run.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(workers[0].pid, signal.SIGKILL)
    output, error = run.communicate(timeout=120)
    assert run.returncode == 0, error
    assert output.strip() == str(out / "report.html")
    with (out / "rows.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    keys = [(row["image"], row["method"]) for row in rows]
    assert len(keys) == len(set(keys)) == 8
    assert json.loads((out / "results.json").read_text())["failures"] == {}
