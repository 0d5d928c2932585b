"""The smaller studies: what each task of theirs does."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny_networks import tiny
from unfeature import CNN, HOG
from unfeature.benchmarks.protocol import photograph as photograph_of
from unfeature.benchmarks.tables import cnn, groups, regularizers, speed
from unfeature.benchmarks.tables.cnn import Cnn
from unfeature.benchmarks.tables.groups import Groups
from unfeature.benchmarks.tables.regularizers import Regularizers
from unfeature.benchmarks.tables.starts import Starts
from unfeature.benchmarks.tables.templates import Templates
from unfeature.benchmarks.tasks import Row, Task
from unfeature.inversion.metamer_test import agreement
from unfeature.io.images import bundled, resize_longer, to_grey, write_png


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("photographs")
    write_png(folder / "camera.png", resize_longer(bundled("camera"), 72))
    return {"images": folder, "out": folder / "out", "side": 64, "steps": 12}


def finished(task: Task) -> Row:
    values = task.work(task)
    facts = {"version": "1", "commit": "c", "hardware": "h", "threads": 1}
    return Row(task.key, task.settings, values.values, facts, {name: Path(name) for name in values.pictures})


def test_variants_of_the_published_recipe():
    bare, jittered = (regularizers.variant(HOG(), *given) for given in ((None, False), (1.5, True)))
    assert bare.priors == () and bare.extra_pixels == 0
    assert [type(prior).__name__ for prior in jittered.priors] == ["BoundedRange", "TotalVariation"]
    assert "beta=1.5" in repr(jittered.priors[1]) and jittered.extra_pixels == 1
    phi = CNN(tiny(), "fire3")
    phi.stride = 16
    deep, still = (regularizers.variant(phi, 1.0, jitter) for jitter in (True, False))
    assert [len(stage.transforms) for stage in deep.stages] == [1, 0] and deep.extra_pixels == 3
    assert not any(stage.transforms for stage in still.stages)


def test_priors_cost_accuracy_and_a_larger_weight_gives_it_back(options):
    tasks = {task.settings["method"]: task for task in Regularizers(**options).plan().tasks}
    assert len(tasks) == 1 + 2 * 3 + 4
    chosen = {name: finished(tasks[name])["error"] for name in ("C = 1", "C = 300")}
    assert chosen["C = 300"] < chosen["C = 1"]


def test_starts_are_all_shown(options):
    table = Starts(**options)
    row = finished(table.plan().tasks[0])
    assert sorted(row.pictures) == [f"start-0{i}" for i in range(1, 5)]
    assert 0 < row["error_std"] < row["error_mean"] and row["agreement"] < 1
    page = table.page([row], [])
    captions = [caption for _, _, caption in page.sheets[0].rows[0]]
    errors = [row[f"error start-0{i}"] for i in range(1, 5)]
    assert len(captions) == 4 and all(caption.endswith(f"{e:.3f}") for caption, e in zip(captions, errors, strict=True))
    assert np.mean(errors) == pytest.approx(row["error_mean"], abs=1e-5)


def test_parts_of_codes():
    shape = (5, 7, 9)
    first, second, centre, whole = (groups.part_mask(shape, part)[0] for part in (
        "first half", "second half", "central 5 × 5", "all"))
    torch.testing.assert_close(first + second, whole)
    assert first[:2].all() and not first[2:].any()
    assert centre.sum() == 5 * 25 and centre[:, 1:6, 2:7].all()


def test_a_part_is_matched_better_than_the_rest(options):
    task = next(task for task in Groups(**options).plan().tasks if task.settings["part"] == "first half")
    row = finished(task)
    assert row["error_part"] < row["error"]


def test_templates_respond_more_than_noise(tmp_path):
    weights = np.random.default_rng(0).normal(size=(3, 4, 32)).astype(np.float32)
    np.savez(tmp_path / "model.npz", filter_00=weights)
    table = Templates(images=tmp_path, out=tmp_path / "out", methods=("fast",))
    row = finished(table.plan().tasks[0])
    noise = HOG("dpm")(np.random.default_rng(1).random((40, 48)).astype(np.float32))
    weights[..., -1] = 0
    assert row["response"] > float((noise * weights).sum()) + 1 and 0.1 < row["cosine"] < 1
    assert sorted(row.pictures) == ["image", "template"] and row["cells"] == "3 × 4"
    assert table.page([row], []).tables[0].rows[0][0].text == "model"


def test_damaged_templates_are_named(tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"PK no")
    with pytest.raises(ValueError, match=r"broken\.npz is not a model"):
        Templates(images=tmp_path, out=tmp_path).plan()
    (tmp_path / "broken.npz").unlink()
    np.savez(tmp_path / "flat.npz", filter_00=np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"shape \(3, 4\)"):
        Templates(images=tmp_path, out=tmp_path).plan()


def test_labels_are_the_highest_score():
    scores = CNN(tiny(), "fire3")
    image = resize_longer(bundled("astronaut"), 64)
    code = scores(image)
    assert cnn.label(scores, image) == int(code.mean((0, 1)).argmax())


def test_a_layer_is_inverted_and_its_label_compared(shared, tmp_path):
    table = Cnn(images=shared / "data" / "imagenet_sample", out=tmp_path, layers=("fire2",), methods=("best",), count=1,
                data_weights=(300.0,), net="squeezenet1_0", steps=60,
                weights=shared / "data" / "networks" / "squeezenet1_0.safetensors")
    row = finished(table.plan().tasks[0])
    assert 0 < row["error"] < 1 and row["consistent"] in (0.0, 1.0) and 0 < row["naturalness"] <= 1
    assert 0.5 < row["r2"] < 1 and 0.5 < row["spearman"] < 1
    assert row["snr"] == pytest.approx(-20 * np.log10(row["error"]), abs=0.01)
    page = table.page([row], [])
    assert page.tables[0].rows[0][1].text == "fire2" and page.charts[0].count("<svg") == 1


def test_metamers_are_told_by_the_null_and_by_the_label(tmp_path):
    for name in ("camera", "astronaut"):
        write_png(tmp_path / f"{name}.png", resize_longer(to_grey(bundled(name)), 64))
    paths = "\n".join(map(str, sorted(tmp_path.glob("*.png"))))
    null = finished(Task("chance", cnn.by_chance, {"feature": "hog", "side": 64}, {"images": paths}))
    codes = [HOG(texture=False)(photograph_of(path, 64)) for path in paths.splitlines()]
    assert null["chance_spearman"] == pytest.approx(agreement(*codes).spearman, rel=1e-4)
    just = {name: null[f"chance_{name}"] + 1e-6 for name in ("spearman", "r2", "snr")}
    cases = {"passes": {**just, "consistent": 1.0}, "other label": {**just, "consistent": 0.0},
             "chance": {**just, "snr": null["chance_snr"], "consistent": 1.0}}
    settings = {"feature": "hog", "method": "best", "data_weight": 1.0}
    rows = [Row(name, {**settings, "image": name}, values, {}, {}) for name, values in cases.items()]
    other = Row("other", {**settings, "feature": "fire2", "image": "x"}, cases["passes"], {}, {})
    page = Cnn(images=tmp_path, out=tmp_path / "out").page([*rows, other], [null])
    assert [row["metamer"] for row in page.rows] == [1.0, 0.0, 0.0, None]
    assert [table.name for table in page.tables] == ["summary", "every-image"]
    assert page.tables[0].note.endswith(f"hog {null['chance_spearman']:.3f}, {null['chance_r2']:.3f}, "
                                        f"{null['chance_snr']:.1f}.")
    named = {column: cell.text for column, cell in zip(page.tables[0].columns, page.tables[0].rows[0], strict=True)}
    assert named["metamer, %"].startswith("33 ±") and named["SNR, dB"].startswith(f"{null['chance_snr']:.1f}")


def computed(comparison: str, photograph) -> dict[str, Any]:
    image = speed.square(photograph(side=48), 64)
    assert image.shape == (64, 64)
    return {name: call() for name, call in speed.COMPARISONS[comparison](image, "cpu").items()}


def half_a_bin_on(blocks: np.ndarray) -> np.ndarray:
    """Undirected channels of blocks of 2 × 2 cells, summed, with bins that begin where ours have their centres."""
    summed = blocks.reshape(7, 7, 4, 9).sum(2)
    return summed + np.roll(summed, 1, axis=-1)


@pytest.mark.parametrize("comparison", ["hog hard", "hog bilinear"])
def test_hog_of_other_libraries_is_the_same_within_known_differences(comparison, photograph):
    found = computed(comparison, photograph)
    value, (gradient,) = found["unfeature, value"], found["unfeature, value and gradient"]
    torch.testing.assert_close(found["plain torch, value"], value, rtol=0, atol=1e-6)
    torch.testing.assert_close(found["plain torch, value and gradient"][0], gradient, rtol=1e-5, atol=1e-5)
    code = value[0].permute(1, 2, 0).numpy()
    if "VLFeat, value" in found:
        np.testing.assert_allclose(found["VLFeat, value"], code, atol=1e-6)
    ours = code[:-1, :-1, 18:27] + code[1:, :-1, 18:27] + code[:-1, 1:, 18:27] + code[1:, 1:, 18:27]
    theirs = (half_a_bin_on(found["scikit-image, value"]) if comparison == "hog hard"
              else half_a_bin_on(found["OpenCV, value"].reshape(7, 7, -1).swapaxes(0, 1)))
    likeness = [np.corrcoef(np.roll(theirs, shift, axis=-1).ravel(), ours.ravel())[0, 1] for shift in range(9)]
    assert np.argmax(likeness) == 0 and likeness[0] > 0.75


@pytest.mark.parametrize("window", ["flat", "gaussian"])
def test_sift_of_vlfeat_is_the_same(window, photograph):
    found = computed(f"dsift {window}", photograph)
    assert torch.isfinite(found["unfeature, value and gradient"][0]).all()
    if "VLFeat, value" in found:
        code = found["unfeature, value"][0].permute(1, 2, 0).numpy()
        frames, theirs = found["VLFeat, value"]
        np.testing.assert_allclose(theirs.reshape(code.shape) / 512, code, atol=1e-5)
        np.testing.assert_array_equal(frames[:2], [[12, 12], [12, 20]])


@pytest.mark.parametrize("comparison", [name for name in speed.COMPARISONS if name.startswith("inversion")])
def test_compared_inversions_are_of_the_same_code(comparison, photograph):
    calls = speed.COMPARISONS[comparison](speed.square(photograph(side=48), 64), "cpu")
    assert list(calls) == ["fast", "best", "ijcv2016", "ijcv2016, plain torch"]
    compiled, plain = (calls[name](steps=5) for name in ("ijcv2016", "ijcv2016, plain torch"))
    np.testing.assert_array_equal(plain.codes, compiled.codes)
    np.testing.assert_allclose(plain.image, compiled.image, atol=1e-3)


def test_libraries_are_named_with_their_versions():
    assert f"scikit-image {version('scikit-image')}" in speed.installed()
