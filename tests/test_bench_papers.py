"""The pages of the papers: every table and figure of theirs, from one command each."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.io import savemat

from tests.test_weights import layers_of, variables
from unfeature import HOG, PHOW
from unfeature.benchmarks import TABLES, runner
from unfeature.benchmarks.tables.cvpr2015 import TvWeights
from unfeature.benchmarks.tables.hoggles import Hoggles, window
from unfeature.benchmarks.tasks import Row
from unfeature.features.networks import weights
from unfeature.features.networks.matconvnet import read_matconvnet
from unfeature.inversion.measures import Normaliser, euclidean, relative
from unfeature.inversion.parameterizations.base import ImageSpec
from unfeature.inversion.recipes import cvpr2015
from unfeature.inversion.schedules import NEIGHBOURHOODS_2015, SCHEDULES, Descent2015, Schedule, schedule_for
from unfeature.io.images import bundled, read_image, resize_longer, to_grey, write_png


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for name, side in (("astronaut", 72), ("coffee", 80), ("rocket", 76)):
        write_png(folder / f"{name}.png", resize_longer(bundled(name), side))
    return folder


@pytest.fixture(scope="module")
def network(shared) -> dict:
    return {"weights": shared / "data" / "networks" / "squeezenet1_0.safetensors", "layers": ("conv1", "fire2")}


def results(page: Path) -> dict:
    return json.loads((page.parent / "results.json").read_text())


def tables(page: Path) -> dict[str, list[dict[str, str]]]:
    return {table["name"]: [dict(zip(table["columns"], (cell["text"] for cell in row), strict=True))
                            for row in table["rows"]] for table in results(page)["tables"]}


def test_the_page_of_2015(photographs, network, tmp_path):
    page, failures = runner.bench("cvpr2015", jobs=1, images=photographs, out=tmp_path, steps=3, **network)
    found = tables(page)
    assert not failures and set(found) == {f"{part}-summary" for part in (
        "descriptors2015", "tv-weights", "starts2015", "neighbourhoods2015", "halves2015")}
    assert [row["published: euclidean error, %"] for row in found["descriptors2015-summary"]] == [
        "28.10 ± 7.9", "10.67 ± 5.2", "10.89 ± 7.5", "66.20 ± 13.7"]
    assert found["descriptors2015-summary"][-1]["method"] == "paired-dictionary"
    assert all(row[f"euclidean error, % (λ_TV {weight})"] != "–" for row in found["tv-weights-summary"]
               for weight in (1, 10, 100))
    assert page.read_text().count("<img") > 3 * 3 + 6 + 4 and "squeezenet1_0" in results(page)["lead"]
    again, _ = runner.bench("cvpr2015", jobs=1, images=photographs, out=tmp_path, steps=3, **network)
    assert results(again)["rows"] == results(page)["rows"]


def test_the_table_of_2015_is_of_native_size_and_padded_codes(photographs, tmp_path):
    page, _ = runner.bench("cvpr2015", jobs=1, images=photographs, out=tmp_path, steps=3)
    rows = [row for row in results(page)["rows"] if row["feature"] == "hog"]
    phi, images = HOG(texture=False), [to_grey(read_image(path)) for path in sorted(photographs.iterdir())]
    codes = [phi(image) for image in images]
    normaliser = Normaliser.of(codes)
    for row, code in zip(rows, codes, strict=True):
        expected = row["error"] * np.linalg.norm(code) / normaliser.euclidean
        assert row["euclidean"] == pytest.approx(expected, rel=1e-5) and row["side"] == 0
    assert euclidean(codes[0], codes[0], normaliser) == 0
    assert len(results(page)["tables"]) == 1 and "no weights were given" in results(page)["lead"]


def test_the_page_of_2016(photographs, network, tmp_path):
    np.savez(tmp_path / "model.npz", filter_00=np.random.default_rng(0).normal(size=(3, 4, 32)).astype(np.float32))
    page, failures = runner.bench("ijcv2016", jobs=1, images=photographs, out=tmp_path / "out", steps=2, count=1,
                                  templates=tmp_path, **network)
    found = tables(page)
    assert not failures and set(found) == {f"{part}-summary" for part in (
        "descriptors2016", "layers2016", "starts2016", "parts2016", "ablations2016", "mosaics", "caricatures",
        "templates")}
    hog = next(row for row in results(page)["rows"] if (row["feature"], row["method"]) == ("hog", "ijcv2016"))
    assert hog["scored"] != hog["error"] and 0 < hog["scored"] < 2
    assert len(found["ablations2016-summary"]) == 2 * 7 and len(found["layers2016-summary"]) == 2 * 4


def test_the_papers_own_networks_are_read_from_matconvnet_files(photographs, tmp_path, monkeypatch):
    layers = [{**layer, "name": "fc8"} if layer["name"] == "fc" else layer for layer in layers_of(False)]
    savemat(tmp_path / "net.mat", variables(layers))
    network = read_matconvnet(tmp_path / "net.mat")
    network.name = "caffenet"
    monkeypatch.setattr(weights, "network", lambda name: network)
    given = {"images": photographs, "net": "caffenet", "weights": tmp_path / "net.mat", "layers": ("relu1", "conv2")}
    cvpr2015, ijcv2016 = (TABLES.find(name)(out=tmp_path / name, steps=1, **given) for name in ("cvpr2015", "ijcv2016"))
    assert "caffenet, one of the paper’s; its layers are inverted for 1 of" in cvpr2015.page([], []).lead
    for study, kind in ((cvpr2015, "tv-weights"), (ijcv2016, "layers2016")):
        values = [task.work(task).values for task in study.plan().tasks if task.kind == kind]
        assert len(values) == 2 * 3 + 2 * (kind == "layers2016") and all(0 < row["error"] < 2 for row in values)
    assert {row["consistent"] for row in values} <= {0.0, 1.0}
    assert {task.settings["feature"] for task in ijcv2016.plan().tasks if "class" in task.settings} == {"fc8"}


def test_layers_stand_side_by_side_in_the_figures(photographs, network, tmp_path):
    study = TvWeights(images=photographs, out=tmp_path, net="squeezenet1_0", **network)
    plan = study.plan()
    rows, pictures = ([Row(task.key, task.settings, {"error": 0.25}, {}, {"image": tmp_path}) for task in tasks]
                      for tasks in (plan.tasks, plan.preparations[:1]))
    (sheet,) = study.sheets(rows, pictures)
    assert [[caption for *_, caption in line] for line in sheet.rows] == [
        ["astronaut", f"conv1 · λ_TV {weight} · 0.250", f"fire2 · λ_TV {weight} · 0.250"] for weight in (1, 10, 100)]


def test_the_settings_of_2015_are_the_published_ones():
    assert [(stage.steps, stage.rate) for stage in cvpr2015(HOG()).stages] == [
        (200, 1.0), (200, 0.1), (200, 0.01), (200, 0.001)]
    recipe = cvpr2015(HOG())
    solver, (variation, bound) = recipe.solver(), recipe.priors
    step = solver.step * solver.pixels  # of E, of x in [0, 1]
    assert step * 255**2 == pytest.approx(0.004 * 27098.1**2)
    scale = 27098.1**2  # the priors of E times σ², for x on the 0–255 scale
    assert variation.weight / (variation.pixels * variation.typical**2) * scale / 255**2 == pytest.approx(1 / 2)
    assert bound.weight / (bound.pixels * bound.typical**6) * scale / 255**6 == pytest.approx(8e-10 / 2)
    assert schedule_for(PHOW()).cvpr2015 == Schedule().cvpr2015


@pytest.mark.parametrize(("layer", "field", "tv_weight"), [
    ("conv1", 11, 1), ("relu2", 51, 1), ("pool2", 67, 10), ("relu4", 131, 10), ("conv5", 163, 100), ("fc8", 355, 100)])
def test_layers_of_caffenet_have_the_published_settings(layer, field, tv_weight):
    descent = SCHEDULES["NetworkCode"](SimpleNamespace(stride=16, receptive_field=field)).cvpr2015
    assert descent.tv_weight == tv_weight, layer
    assert descent.stages == ((100, 1.0), (200, 0.1), (100, 0.01))


@pytest.mark.parametrize(("size", "norm"), [((300, 400), 27098.1), ((64, 64), 1.5 * 80 * 64)])
def test_descents_of_2015_start_from_noise_of_the_published_norm_unless_the_image_is_small(size, norm):
    spec = ImageSpec(*size, torch.full((1, 1, 1), 0.5))
    noise = cvpr2015(HOG()).parameterization(spec).start([0, 1])
    torch.testing.assert_close(noise.flatten(1).norm(dim=1) * 255, torch.full((2,), norm))


def test_neighbourhoods_have_the_published_settings():
    assert Descent2015(((200, 0.1), (200, 0.01), (200, 0.001)), 100.0) == NEIGHBOURHOODS_2015


def test_windows_are_the_middle_of_photographs():
    image = np.zeros((40, 80), np.float32)
    image[5:35, 10:70] = 1
    assert window(image, 60).shape == (24, 56) and window(image, 60).min() == 1
    assert Hoggles.published.figures["dpm", "elda"] == "4" and relative(image, image) == 0
