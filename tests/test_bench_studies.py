"""The smaller studies: what each task of theirs does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_networks import tiny
from unfeature import CNN, HOG
from unfeature.benchmarks import contestants
from unfeature.benchmarks.protocol import Options
from unfeature.benchmarks.tables import cnn, groups, regularizers, speed, starts, templates
from unfeature.benchmarks.tasks import Row, Task
from unfeature.io.images import bundled, resize_longer, write_png


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> Options:
    folder = tmp_path_factory.mktemp("photographs")
    write_png(folder / "camera.png", resize_longer(bundled("camera"), 72))
    return Options(folder, folder / "out", side=64, steps=12)


def finished(task: Task, module) -> Row:
    values = module.work(task)
    facts = {"version": "1", "commit": "c", "hardware": "h", "threads": 1}
    return Row(task.key, task.settings, values.values, facts, {name: Path(name) for name in values.pictures})


def test_variants_of_the_published_recipe():
    bare, jittered = (regularizers.variant(HOG(), *given) for given in ((None, False), (1.5, True)))
    assert bare.priors == () and bare.extra_pixels == 0
    assert [type(prior).__name__ for prior in jittered.priors] == ["BoundedRange", "TotalVariation"]
    assert "beta=1.5" in repr(jittered.priors[1]) and jittered.extra_pixels == 1


def test_priors_cost_accuracy_and_a_larger_weight_gives_it_back(options):
    tasks = {task.settings["method"]: task for task in regularizers.plan(options).tasks}
    assert len(tasks) == 1 + 2 * 3 + 4
    chosen = {name: finished(tasks[name], regularizers)["error"] for name in ("C = 1", "C = 300")}
    assert chosen["C = 300"] < chosen["C = 1"]


def test_starts_are_all_shown(options):
    row = finished(starts.plan(options).tasks[0], starts)
    assert sorted(row.pictures) == [f"start-0{i}" for i in range(1, 5)]
    assert 0 < row["error_spread"] < row["error_mean"] and row["agreement"] < 1
    page = starts.page([row], [], options)
    assert len(page.sheets[0].rows[0]) == 4


def test_parts_of_codes():
    shape = (5, 7, 9)
    first, second, centre, whole = (groups.part_mask(shape, part)[0] for part in (
        "first half", "second half", "central 5 × 5", "all"))
    torch.testing.assert_close(first + second, whole)
    assert first[:2].all() and not first[2:].any()
    assert centre.sum() == 5 * 25 and centre[:, 1:6, 2:7].all()


def test_a_part_is_matched_better_than_the_rest(options):
    task = next(task for task in groups.plan(options).tasks if task.settings["part"] == "first half")
    row = finished(task, groups)
    assert row["error_part"] < row["error"]


def test_templates_respond_more_than_noise(tmp_path):
    weights = np.random.default_rng(0).normal(size=(3, 4, 32)).astype(np.float32)
    np.savez(tmp_path / "model.npz", filter_00=weights)
    task = templates.plan(Options(tmp_path, tmp_path / "out", methods=("fast",))).tasks[0]
    row = finished(task, templates)
    noise = HOG("dpm")(np.random.default_rng(1).random((40, 48)).astype(np.float32))
    weights[..., -1] = 0
    assert row["response"] > float((noise * weights).sum()) + 1 and 0.1 < row["cosine"] < 1
    assert sorted(row.pictures) == ["image", "template"] and row["cells"] == "3 × 4"
    assert templates.page([row], [], Options(tmp_path, tmp_path)).tables[0].rows[0][0].text == "model"


def test_damaged_templates_are_named(tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"PK no")
    with pytest.raises(ValueError, match=r"broken\.npz is not a model"):
        templates.plan(Options(tmp_path, tmp_path))
    (tmp_path / "broken.npz").unlink()
    np.savez(tmp_path / "flat.npz", filter_00=np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"shape \(3, 4\)"):
        templates.plan(Options(tmp_path, tmp_path))


def test_labels_are_the_highest_score():
    scores = CNN(tiny(), "fire3")
    image = resize_longer(bundled("astronaut"), 64)
    code = scores(image)
    assert cnn.label(scores, image) == int(code.mean((0, 1)).argmax())


def test_a_layer_is_inverted_and_its_label_compared(shared, tmp_path):
    options = Options(shared / "data" / "imagenet_sample", tmp_path, layers=("fire2",), methods=("best",), count=1,
                      data_weights=(300.0,), net="squeezenet1_0", steps=60,
                      weights=shared / "data" / "networks" / "squeezenet1_0.safetensors")
    row = finished(cnn.plan(options).tasks[0], cnn)
    assert 0 < row["error"] < 1 and row["consistent"] in (0.0, 1.0) and 0 < row["naturalness"] <= 1
    page = cnn.page([row], [], options)
    assert page.tables[0].rows[0][1].text == "fire2" and page.charts[0].count("<svg") == 1


@pytest.mark.parametrize("comparison", list(speed.COMPARISONS))
def test_contestants_compute_on_the_same_image(comparison, photograph):
    image = speed.square(photograph(side=48), 64)
    assert image.shape == (64, 64)
    calls = speed.COMPARISONS[comparison](image, "cpu")
    assert len(calls) >= 2 and all(callable(call) for call in calls.values())
    if not comparison.startswith("inversion"):
        for call in calls.values():
            call()
    assert "scikit-image" in contestants.installed()
