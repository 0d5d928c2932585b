"""Ctrl-C: at once, without a traceback, and without half of anything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from unfeature.baselines.ridge import Ridge
from unfeature.benchmarks.runner import in_this_process
from unfeature.benchmarks.tasks import Outcome, Task
from unfeature.features.gradients.hog import HOG
from unfeature.inversion.invert import invert
from unfeature.inversion.result import Result
from unfeature.io.files import save_array
from unfeature.io.images import bundled, resize_longer, write_png
from unfeature.io.interrupts import ending_all, uninterrupted

START = "import signal as s; s.signal(s.SIGINT, s.default_int_handler); from unfeature.cli import main; main()"
PHI = HOG(cell_size=6)
CODE = PHI(resize_longer(bundled("camera"), 36))


@pytest.fixture(autouse=True)
def heard():
    """Ctrl-C is attended to, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("astronaut", "coffee"):
        write_png(folder / f"{name}.png", resize_longer(bundled(name), 48))
    return folder


def press(*_, **__):
    signal.raise_signal(signal.SIGINT)


def start(*arguments, **options):
    """A process with a group of its own, as a terminal gives it."""
    return subprocess.Popen([sys.executable, "-c", START, *map(str, arguments)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, start_new_session=True, **options)


def stopped(process):
    """Status, standard error and seconds after Ctrl-C."""
    begin = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    return process.returncode, error, time.monotonic() - begin


def alive(group):
    """Processes of a group that still run, but the tracker of `multiprocessing`, which ends by itself."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines()
            if line.split()[0] == str(group) and not line.split()[1].startswith("Z") and "resource_tracker" not in line]


def wait_for(condition, process):
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)


def test_a_block_is_left_whole():
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        press()
        with uninterrupted():
            press()
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]
    with pytest.raises(KeyboardInterrupt):
        press()


def test_other_threads_are_not_concerned():
    found = []

    def work():
        with uninterrupted(), ending_all():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


def test_a_search_stops_early_but_not_where_all_shall_end():
    result = invert(PHI, CODE, preset="fast", progress=press)
    assert result.interrupted and result.status.startswith("stopped by the user after 1 of")
    with pytest.raises(KeyboardInterrupt), ending_all():
        invert(PHI, CODE, preset="fast", progress=press)
    assert not invert(PHI, CODE, preset="fast", steps=1).interrupted


def halved(task):
    invert(PHI, CODE, preset="fast", progress=press)
    return Outcome({"error": 1.0})


def test_no_row_is_made_of_a_search_that_was_stopped():
    records = in_this_process([Task("toy", halved, {"name": str(i)}) for i in range(2)])
    with pytest.raises(KeyboardInterrupt):
        next(records)


def test_a_result_is_saved_whole(tmp_path, monkeypatch):
    first, second = (invert(PHI, CODE, preset="fast", steps=steps) for steps in (1, 2))
    first.save(tmp_path)
    replace = Path.replace

    def pressed(self, target):
        if target.parent == tmp_path:
            press()
        return replace(self, target)

    monkeypatch.setattr("pathlib.Path.replace", pressed)
    with pytest.raises(KeyboardInterrupt):
        second.save(tmp_path)
    assert Result.load(tmp_path) == second


def test_learning_leaves_a_checkpoint_or_nothing(photographs, tmp_path, monkeypatch):
    stop = {"progress": lambda done, total: press()}
    settings = {"windows": 50, "output": tmp_path / "m.npz"}
    with pytest.raises(KeyboardInterrupt):
        Ridge.learn(photographs, HOG(), **settings, **stop)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("unfeature.baselines.stream.Stream.interval", 0.0)
    with pytest.raises(KeyboardInterrupt):
        Ridge.learn(photographs, HOG(), **settings, progress=lambda done, total: done == 2 and press())
    assert [path.name for path in tmp_path.iterdir()] == ["m.npz.partial"]


@pytest.mark.parametrize("again", [False, True])
def test_commands_save_what_there_is_once_or_not_at_all(photographs, tmp_path, again):
    out = tmp_path / "out"
    process = start("caricature", photographs / "coffee.png", "--feature", "hog", "--size", 48, "--steps", 10**6,
                    "--preset", "ijcv2016", "-o", out)
    wait_for(lambda: list(tmp_path.glob(".unfeature-*")), process)
    time.sleep(1)
    if again:
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
    status, error, _ = stopped(process)
    assert status == 130 and error.splitlines()[-1] == "unfeature: stopped"
    assert [path.name for path in tmp_path.iterdir()] in ([], ["out"])
    if out.exists():
        assert Result.load(out).interrupted


def test_benchmarks_end_with_their_workers(photographs, tmp_path):
    process = start("bench", "descriptors", "--images", photographs, "--out", tmp_path / "out", "--features", "hog",
                    "--methods", "best", "--side", 48, "--steps", 10**6, "--jobs", 2)
    wait_for(lambda: len(list(tmp_path.glob("out/tasks/photograph-*/row.json"))) == 2, process)
    status, error, seconds = stopped(process)
    assert status == 130 and error.splitlines()[-1] == "unfeature: stopped" and seconds < 2
    deadline = time.monotonic() + 10
    while alive(process.pid):
        assert time.monotonic() < deadline
    assert not list(tmp_path.glob("out/*.html")) and not list(tmp_path.glob("out/.unfeature-*"))
    rows = [json.loads(path.read_text())["values"] for path in tmp_path.glob("out/tasks/descriptors-*/row.json")]
    assert rows == []


def test_imports_end_without_a_traceback(photographs, tmp_path):
    processes = [start("features", photographs / "coffee.png", "--feature", "hog", "-o", tmp_path / f"{i}.npy",
                       env={**os.environ, "PYTHONVERBOSE": "1"}) for i in range(3)]
    for process, module in zip(processes, ("click", "torch._C", "torch.nn"), strict=True):
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(f"import '{module}'"):
                break
        status, error, _ = stopped(process)
        assert status == 130 and "Traceback" not in error and "unfeature: stopped\n" in error
    assert list(tmp_path.iterdir()) == []


def test_the_time_of_a_command_is_not_lost_after_its_search(tmp_path, monkeypatch):
    save_array(tmp_path / "code.npy", np.asarray(CODE))
    saved = Result.save

    def pressed(self, folder):
        press()
        saved(self, folder)

    monkeypatch.setattr("unfeature.inversion.result.Result.save", pressed)
    from unfeature.cli import main

    with pytest.raises(SystemExit) as stop:
        main(["invert", str(tmp_path / "code.npy"), "--feature", "hog", "--cell-size", "6", "--steps", "2",
              "-o", str(tmp_path / "out")])
    assert stop.value.code == 130
    assert Result.load(tmp_path / "out").status.startswith("step limit reached")
