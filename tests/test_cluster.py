"""The same work on a Dask cluster: a scheduler and two workers, processes of their own; one worker is killed."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

import unfeature as uf
from unfeature.cli.many import Store
from unfeature.features.code import load_code
from unfeature.io.images import bundled, resize_longer, write_png

pytest.importorskip("distributed", reason="Dask is not installed")
NAMES = ("astronaut", "camera", "coffee", "rocket")
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def dask(*arguments) -> subprocess.Popen:
    call = [sys.executable, "-m", "dask", *map(str, arguments)]
    return subprocess.Popen(call, env=ONE_THREAD, start_new_session=True, **QUIET)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Address of a scheduler, and its two workers."""
    port, dashboard = free_port(), free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = dask("scheduler", "--host", "127.0.0.1", "--port", port, "--dashboard-address",
                     f"127.0.0.1:{dashboard}", "--no-show")
    workers = [dask("worker", address, "--host", "127.0.0.1", "--nthreads", 1, "--no-nanny", "--no-dashboard",
                    "--local-directory", tmp_path_factory.mktemp("worker")) for _ in range(2)]
    yield address, workers
    for process in (*workers, scheduler):
        process.kill()
        process.wait()


@pytest.fixture
def images(tmp_path):
    """A folder of four photographs."""
    for name in NAMES:
        write_png(tmp_path / "images" / f"{name}.png", resize_longer(bundled(name), 64))
    return tmp_path / "images"


def test_codes_of_a_folder(call, cluster, images, tmp_path, monkeypatch):
    zarr = pytest.importorskip("zarr")
    monkeypatch.chdir(tmp_path)
    command = ("features", "images", "--feature", "hog", "--scheduler", cluster[0], "-o")
    for out in ("codes.zarr", "codes"):
        status, _, said = call(*command, out)
        assert status == 0 and "4 photographs, 0 done before" in said
    (tmp_path / "codes" / "coffee.npy").unlink()
    assert "4 photographs, 3 done before" in call(*command, "codes")[2]
    store = zarr.open_group(tmp_path / "codes.zarr", mode="r")
    assert sorted(store) == sorted(NAMES)
    for name in NAMES:
        code = uf.HOG()(uf.read_image(images / f"{name}.png", grey=True))
        np.testing.assert_array_equal(store[name][:], code)
        np.testing.assert_array_equal(load_code(tmp_path / "codes" / f"{name}.npy", uf.HOG()), code)


def test_pre_images_of_a_folder(call, cluster, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images" / "bad.png").write_text("no image")
    np.save(tmp_path / "grey.npy", np.full((64, 64), 0.5, np.float32))
    settings = ("--feature", "hog", "--preset", "fast", "--steps", 2, "--size", 64, "--init", "grey.npy")
    square = images / "astronaut.png"
    status, _, said = call("invert", square, images / "bad.png", *settings, "--scheduler", cluster[0], "-o", "out")
    assert status == 2 and "bad: " in said and "1 of 2 photographs failed" in said
    assert call("invert", square, *settings, "-o", "alone", "--quiet")[0] == 0
    one, other = (uf.Result.load(tmp_path / place) for place in ("out/astronaut", "alone"))
    np.testing.assert_array_equal(one.images, other.images)


@pytest.mark.parametrize(("arguments", "message"), [
    (("images/camera.png", "--scheduler", "tcp://127.0.0.1:1"), "--scheduler is for several photographs"),
    (("images", "--scheduler", "127.0.0.1"), "there is no Dask scheduler at 127.0.0.1"),
])
def test_mistakes_are_named(call, images, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, said = call("features", *arguments, "--feature", "hog", "-o", "codes")
    assert status == 2 and message in said
    assert not (tmp_path / "codes").exists()


def test_a_store_takes_a_code_that_two_workers_write(tmp_path):
    pytest.importorskip("zarr")
    store, code = Store(tmp_path / "codes.zarr"), uf.HOG()(np.eye(32, dtype=np.float32))
    for _ in range(2):
        store.write({"a": code})
    assert sorted(path.name for path in store.place.iterdir()) == ["a", "zarr.json"]


def test_a_killed_worker_loses_nothing(cluster, images, tmp_path):
    address, workers = cluster
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
