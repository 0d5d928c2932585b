"""The runner and the tables: what is measured, what is kept, what is done again."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from unfeature.baselines import METHODS
from unfeature.baselines.base import Baseline
from unfeature.benchmarks import TABLES, measures, runner, study
from unfeature.benchmarks.page import ERROR
from unfeature.benchmarks.tables.descriptors import Descriptors
from unfeature.benchmarks.tables.speed import interleaved
from unfeature.benchmarks.tables.starts import over_starts
from unfeature.benchmarks.tasks import Outcome, Plan, Record, Row, Store, Task, execute, facts
from unfeature.cli import main
from unfeature.features import DESCRIPTORS
from unfeature.features.base import Representation
from unfeature.inversion import PRESETS
from unfeature.io.images import bundled, resize_longer, write_png

SHORT = ("--features", "hog,hogb", "--methods", "best,ijcv2016", "--side", 64, "--steps", 30)
NOT_THE_SAME = ("seconds", "task_seconds", "cpu_seconds")


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("astronaut", "coffee", "rocket"):
        write_png(folder / f"{name}.png", resize_longer(bundled(name), 72))
    return folder


@pytest.fixture(scope="session")
def finished(photographs, tmp_path_factory) -> Path:
    """The folder of one undisturbed run, in this process."""
    out = tmp_path_factory.mktemp("finished")
    with pytest.raises(SystemExit) as stop:
        main(["bench", "descriptors", "--images", str(photographs), "--out", str(out), "--jobs", "1",
              *map(str, SHORT)])
    assert stop.value.code == 0
    return out


def command(*arguments, wait=True):
    call = [sys.executable, "-m", "unfeature", "bench", *map(str, arguments)]
    if wait:
        return subprocess.run(call, capture_output=True, text=True, timeout=300)
    return subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "rows.csv").open(encoding="utf-8") as stream:
        return [{k: v for k, v in row.items() if k not in NOT_THE_SAME} for row in csv.DictReader(stream)]


def row(key="k", pictures=(), **values) -> Row:
    facts = {"version": "1", "commit": "c", "hardware": "h", "threads": 1}
    return Row(key, {}, values, facts, {name: Path(f"{name}.webp") for name in pictures})


class Recording:
    """A pool that makes records in this process, and remembers the tasks."""

    def __init__(self, failing=()):
        self.done, self.failing = [], failing

    def __call__(self, given):
        for task in given:
            self.done.append(task.settings["name"])
            failed = task.settings["name"] in self.failing
            yield Record(task, failure="ValueError: no") if failed else Record(task, {"n": 1}, {}, {"a": b"picture"})


def some_tasks(*names) -> list[Task]:
    return [Task("photograph", study.picture, {"name": name}) for name in names]


def test_every_row_says_where_it_was_made_and_what_was_measured(finished):
    rows = json.loads((finished / "results.json").read_text())["rows"]
    assert len(rows) == 3 * 2 * 2
    for one in rows:
        assert (one["threads"], one["seed"], one["evaluations"]) == (1, 0, 30)
        assert one["version"] == facts(1)["version"] and one["commit"] and "cores" in one["hardware"]
        assert 0 < one["error"] < one["error_centred"] and abs(one["correlation"]) <= 1
        assert one["euclidean"] > 0 and one["psnr"] > 0 and one["seconds"] > 0
    means = {(f, m): np.mean([r["error"] for r in rows if (r["feature"], r["method"]) == (f, m)])
             for f in ("hog", "hogb") for m in ("best", "ijcv2016")}
    assert means["hog", "best"] < means["hog", "ijcv2016"]


def test_tables_show_means_with_intervals_and_the_published_figures(finished):
    results = json.loads((finished / "results.json").read_text())
    with (finished / "summary.csv").open(encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    best = next(line for line in lines if (line["descriptor"], line["method"]) == ("hog", "best"))
    errors = [r["error"] for r in results["rows"] if (r["feature"], r["method"]) == ("hog", "best")]
    assert float(best["relative error"]) == pytest.approx(np.mean(errors))
    assert float(best["relative error ±"]) == pytest.approx(1.96 * np.std(errors, ddof=1) / 3**0.5, abs=1e-4)
    assert best["images"] == "3"


def test_a_second_run_does_nothing_and_a_longer_one_only_what_is_new(tmp_path):
    store, pool = Store(tmp_path), Recording()
    rows, failures = runner.run(some_tasks("a", "b", "a"), store, pool)
    assert (pool.done, len(rows), failures) == (["a", "b"], 2, {})
    rows, _ = runner.run(some_tasks("a", "b", "c"), store, pool)
    assert (pool.done, [r.settings["name"] for r in rows]) == (["a", "b", "c"], ["a", "b", "c"])


def test_half_written_tasks_are_done_again(tmp_path):
    store, pool, (task,) = Store(tmp_path), Recording(), some_tasks("a")
    runner.run([task], store, pool)
    (store.place(task) / "a.webp").unlink()
    runner.run([task], store, pool)
    (store.place(task) / "row.json").write_text('{"values": {')
    runner.run([task], store, pool)
    assert pool.done == ["a"] * 3
    assert store.load(task).values == {"n": 1}


def test_failures_have_reasons_do_not_stop_the_rest_and_are_tried_again(tmp_path):
    seen = []
    store, tasks = Store(tmp_path), some_tasks("a", "b", "c")
    rows, failures = runner.run(tasks, store, Recording(failing=("b",)), lambda *now: seen.append(now))
    assert failures == {tasks[1].key: "ValueError: no"}
    assert [r.settings["name"] for r in rows] == ["a", "c"]
    assert seen == [(0, 3, 0), (1, 3, 0), (2, 3, 1), (3, 3, 1)]
    pool = Recording()
    rows, failures = runner.run(tasks, store, pool)
    assert (pool.done, len(rows), failures) == (["b"], 3, {})


def test_a_photograph_that_cannot_be_read_fails_alone(photographs, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for path in photographs.iterdir():
        (images / path.name).write_bytes(path.read_bytes())
    (images / "zebra.png").write_bytes(b"no picture")
    page, failures = runner.bench("descriptors", jobs=1, images=images, out=tmp_path / "out", methods=("ijcv2016",),
                                  features=("hog",), side=64, steps=2)
    assert len(failures) == 3 and all("zebra.png cannot be read" in reason for reason in failures.values())
    assert len(rows_of(tmp_path / "out")) == 3
    assert "Failed" in page.read_text()


def test_killed_twice_and_finished_the_tables_are_the_same(finished, photographs, tmp_path):
    for kills in (1, 2):
        process = command("descriptors", "--images", photographs, "--out", tmp_path, *SHORT, "--jobs", 2, wait=False)
        deadline = time.monotonic() + 120
        while len(list(tmp_path.glob("tasks/descriptors-*/row.json"))) < 3 * kills and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "rows.csv").exists()
    done = command("descriptors", "--images", photographs, "--out", tmp_path, *SHORT, "--jobs", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "report.html")
    assert rows_of(tmp_path) == rows_of(finished)
    for name in ("summary.csv", "every-image.csv"):
        with (tmp_path / name).open() as ours, (finished / name).open() as theirs:
            for line, other in zip(csv.DictReader(ours), csv.DictReader(theirs), strict=True):
                assert {k: v for k, v in line.items() if "seconds" not in k} == {
                    k: v for k, v in other.items() if "seconds" not in k}


@pytest.mark.parametrize(("kills", "reasons"), [(1, ["", ""]), (3, ["its process died each time it was tried", ""])])
def test_a_process_that_dies_is_replaced_and_its_task_tried_three_times(kills, reasons, photographs, tmp_path):
    tasks = Descriptors(images=photographs, out=tmp_path, count=2).pictures(64)
    killed = []

    def kill():
        while len(killed) < kills:
            for child in multiprocessing.active_children():
                if child.pid not in killed and len(killed) < kills:
                    killed.append(child.pid)
                    os.kill(child.pid, signal.SIGKILL)
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    records = {record.task.key: record.failure for record in runner.in_processes(1, tasks)}
    killer.join()
    assert [records[task.key] for task in tasks] == reasons




def test_interval_leaves_out_what_was_not_measured():
    mean, margin = measures.interval([1.0, 2.0, 3.0, None, float("nan"), float("inf")])
    assert (mean, margin) == (2.0, pytest.approx(1.96 / 3**0.5))
    assert np.isnan(measures.interval([])[0]) and np.isnan(measures.interval([1.0])[1])


def test_deviations_over_starts():
    images = np.stack([np.eye(4), np.eye(4), 1 - np.eye(4)]).astype(np.float32)
    found = over_starts(np.array([0.1, 0.2, 0.3]), images)
    assert found["error_mean"] == pytest.approx(0.2) and found["error_std"] == pytest.approx(0.1)
    assert found["agreement"] == pytest.approx(-1 / 3) and found["pixel_std"] == pytest.approx(3**-0.5)


def test_timings_are_interleaved_and_equally_many():
    order = []
    found = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")})
    assert order == ["a", "b"] * (len(order) // 2)
    assert len(found["a"]) == len(found["b"]) >= 3 and min(found["a"]) > (0, 0)


def test_markdown_holds_the_summaries_and_no_paths(finished, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bench", "tables", str(finished), "-o", str(tmp_path / "tables.md")])
    text = (tmp_path / "tables.md").read_text()
    assert stop.value.code == 0 and str(tmp_path / "tables.md") in capsys.readouterr().out
    assert "| descriptor | method | images | relative error |" in re.sub(" +", " ", text)
    assert "commit" in text and "cores" in text
    assert "--features hog,hogb --methods best,ijcv2016 --side 64 --steps 30`" in text
    assert "every-image" not in text and str(finished) not in text and "/tmp" not in text


@pytest.mark.parametrize(("arguments", "message"), [
    (("descriptors", "--methods", "best,nonsense"), "unknown method 'nonsense'"),
    (("descriptors", "--features", "hugs"), "unknown descriptor 'hugs'"),
    (("starts", "--features", "bovw"), "unknown descriptor 'bovw'"),
    (("descriptors", "--methods", "ridge"), "ridge learns from photographs"),
    (("cnn",), "name a network with --net"),
    (("caricatures",), "name a network with --net"),
    (("mosaics",), "name a network with --net"),
    (("mosaics", "--net", "squeezenet1_0", "--weights", __file__, "--classes", "dog"), "classes are whole numbers"),
    (("hoggles",), "direct learns from photographs"),
    (("templates",), "holds no .npz files"),
    (("descriptors", "--scheduler", "tcp://127.0.0.1:9"), "no Dask scheduler at tcp://127.0.0.1:9"),
])
def test_mistakes_are_answered_in_one_line(arguments, message, photographs, tmp_path, capsys):
    pytest.importorskip("distributed") if "--scheduler" in arguments else None
    with pytest.raises(SystemExit) as stop:
        main(["bench", arguments[0], "--images", str(photographs), "--out", str(tmp_path), *arguments[1:]])
    error = capsys.readouterr().err
    *announced, last = error.splitlines()
    assert stop.value.code == 2 and message in last and all("tasks" in line for line in announced)


def test_pages_replace_nothing_of_others_and_stand_outside_the_photographs(photographs, tmp_path):
    short = {"jobs": 1, "images": photographs, "features": ("hog",), "count": 1, "side": 32, "steps": 1}
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(ValueError, match=r"report\.html would be overwritten"):
        runner.bench("descriptors", **short, methods=("best",), out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(ValueError, match="whose photographs are read"):
        runner.bench("descriptors", **short, methods=("best",), out=photographs / "out")
    (tmp_path / "report.html").unlink()
    for _ in range(2):
        page, failures = runner.bench("descriptors", **short, methods=("best",), out=tmp_path)
    assert failures == {} and page.exists()
    assert set(json.loads((tmp_path / "results.json").read_text())["files"]) == {
        path.name for path in tmp_path.iterdir() if path.is_file()}


def test_a_changed_row_is_measured_again(tmp_path):
    store, pool, (task,) = Store(tmp_path), Recording(), some_tasks("a")
    runner.run([task], store, pool)
    path = store.place(task) / "row.json"
    path.write_text(path.read_text().replace('"n": 1', '"n": 2'))
    assert store.load(task) is None
    runner.run([task], store, pool)
    assert pool.done == ["a"] * 2 and store.load(task).values == {"n": 1}


def test_each_method_is_planned_for_the_descriptors_that_it_inverts(photographs, tmp_path):
    folders = {"images": photographs, "out": tmp_path}
    everything = Descriptors(**folders, features=("hog", "bovw", "brief", "keypoints"), train=(photographs,))
    tasks = everything.plan().tasks
    found = {(task.settings["feature"], task.settings["method"]) for task in tasks}
    assert {f for f, m in found if m == "jigsaw"} == {"bovw"}
    assert {f for f, m in found if m == "keypoints"} == {"keypoints"}
    assert {f for f, m in found if m == "collage"} == {"hog", "brief"}
    assert {m for f, m in found if f == "keypoints"} == {"keypoints"}
    assert {m for f, m in found if f == "bovw"} == {"jigsaw", "direct", "upconv", *PRESETS} - {"deep-prior"}
    assert {m for f, m in found if f == "brief"} >= {"primal-dual", "ridge", "best"}
    with pytest.raises(ValueError, match="jigsaw inverts none of hog: add --features bovw"):
        Descriptors(**folders, features=("hog",), methods=("jigsaw",), train=(photographs,)).plan()
    with pytest.raises(ValueError, match="keypoints learns from photographs"):
        Descriptors(**folders, features=("keypoints",), methods=("keypoints",)).plan()


def test_methods_for_words_bits_and_keypoints_are_learned_and_measured(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr("unfeature.benchmarks.protocol.WORDS", 6)
    monkeypatch.setattr("unfeature.baselines.jigsaw.PROPOSALS", 50)
    monkeypatch.setattr("unfeature.baselines.primal_dual.STEPS", 20)
    plan = Descriptors(
        images=photographs, out=tmp_path, methods=("jigsaw", "primal-dual", "keypoints"), count=1, side=72,
        features=("bovw-pyramid", "brief", "keypoints"), train=(photographs, photographs)).plan()
    words, models, others = plan.stages()
    assert [task.kind for task in (*words, *models, *others)] == [
        "words", "model", "model", "photograph", *["descriptors"] * 3]
    records = [execute(task) for task in (*words, *models, *others)]
    assert [record.failure for record in records] == [""] * 7
    rows = {record.task.settings["method"]: record.values for record in records[4:]}
    assert all(abs(row["correlation"]) <= 1 and row["seconds"] > 0 for row in rows.values())
    assert rows["jigsaw"]["error"] > 0 and rows["primal-dual"]["error"] > 0 and "error" not in rows["keypoints"]


class Toy(Representation):
    """The mean of each cell of 4 × 4 pixels."""

    stride = receptive_field = 4

    def forward(self, image):
        return torch.nn.functional.avg_pool2d(image.mean(1, keepdim=True), 4)

    def output_shape(self, height, width):
        return 1, height // 4, width // 4

    def image_size_for(self, code_shape):
        return code_shape[1] * 4, code_shape[2] * 4


class Bricks(Baseline):
    """Each mean, over its cell."""

    method = "bricks"
    learned = False

    def reconstruct(self, phi, code, size, count, seed):
        return np.kron(code[..., 0], np.ones((4, 4)))[None, ..., None].astype(np.float32)


def test_a_descriptor_and_a_baseline_added_at_run_time_are_benchmarked(photographs, tmp_path, monkeypatch):
    monkeypatch.setitem(DESCRIPTORS, "toy", Toy)
    monkeypatch.setitem(METHODS, "bricks", Bricks)
    before = torch.get_num_threads()
    page, failures = runner.bench("descriptors", jobs=1, images=photographs, out=tmp_path, count=1, side=64, steps=40,
                                  features=("toy",), methods=("bricks", "best"))
    rows = {one["method"]: one for one in rows_of(tmp_path)}
    assert failures == {} and "bricks" in page.read_text() and torch.get_num_threads() == before
    assert float(rows["bricks"]["error"]) < 1e-6 < float(rows["best"]["error"]) < 0.2


class Counting(study.Study):
    """Count the photographs."""

    title = lead = "Photographs, counted"
    heading = "Numbers"
    by = {"name": "name"}  # noqa: RUF012
    metrics = (ERROR,)

    def plan(self):
        return Plan((self.task({"name": "all", "number": len(self.photographs)}, {}),))

    @staticmethod
    def work(task):
        return Outcome({"error": float(task.settings["number"])})


def test_a_table_added_at_run_time_has_a_command(photographs, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(TABLES, "counting", Counting)
    with pytest.raises(SystemExit) as stop:
        main(["bench", "counting", "--images", str(photographs), "--out", str(tmp_path), "--jobs", "1"])
    assert stop.value.code == 0 and capsys.readouterr().out.strip() == str(tmp_path / "report.html")
    assert (tmp_path / "summary.csv").read_text() == "name,images,relative error\nall,1,3.0\n"
