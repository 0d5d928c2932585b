"""Learning from a folder at the command line, and using what was learned."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

import unfeature as uf
from unfeature.features.channel_statistics import Statistics
from unfeature.io.images import BUNDLED, bundled_path, resize_longer, to_grey, write_png


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for name in BUNDLED:
        write_png(folder / f"{name}.png", resize_longer(to_grey(uf.bundled(name)), 96))
    return folder


def test_words_are_learned_and_inverted(call, folder, tmp_path):
    path = tmp_path / "words.npz"
    learned = call("learn", "words", folder, "--bin-size", 4, "--count", 12, "--samples", 500, "-o", path)
    assert learned == (0, f"{path}\n", "")
    vocabulary = uf.Vocabulary.load(path)
    assert vocabulary.words.shape == (12, 128) and vocabulary.phi.bin_size == 4
    before = path.read_bytes()
    status, _, line = call("features", bundled_path("camera"), "--feature", "bovw", "--words", path, "-o", path)
    assert status == 2 and "is an input" in line and path.read_bytes() == before
    status, text, _ = call("invert", bundled_path("camera"), "--feature", "bovw", "--words", path, "--levels", "1",
                           "--size", 48, "--steps", 5, "-o", tmp_path / "out")
    assert status == 0 and text.startswith("relative error")
    result = uf.Result.load(tmp_path / "out", uf.BoVW(vocabulary, levels=(1,)))
    assert result.codes.shape == (1, 12)
    assert (tmp_path / "out" / "words.png").exists()
    assert "the most frequent words of its code" in (tmp_path / "out" / "report.html").read_text()


def test_a_dictionary_is_learned_applied_and_started_from(call, folder, tmp_path):
    path = tmp_path / "pd.npz"
    assert call("learn", "dictionary", folder, "--atoms", 20, "--windows", 200, "-o", path) == (0, f"{path}\n", "")
    common = ("invert", bundled_path("camera"), "--feature", "hog", "--size", 64)
    status, _, _ = call(*common, "--method", "paired-dictionary", "--model", path, "-o", tmp_path / "out")
    assert status == 0
    result = uf.Result.load(tmp_path / "out", uf.HOG())
    assert result.provenance["method"] == "paired-dictionary"
    assert call(*common, "--steps", 3, "--init", tmp_path / "out" / "image.npy", "-o", tmp_path / "refined")[0] == 0
    phi, image = uf.HOG(), resize_longer(uf.bundled("camera"), 64)
    expected = three_steps(phi, image, result.image)
    np.testing.assert_array_equal(uf.Result.load(tmp_path / "refined").image, expected)


def three_steps(phi, image, start):
    return uf.invert(phi, phi(image), preset="best", steps=3, size=image.shape, start=start).image


def test_a_network_is_learned_from_two_folders_and_started_from(call, folder, tmp_path):
    halves = [tmp_path / "one", tmp_path / "two"]
    for number, path in enumerate(sorted(folder.iterdir())):
        write_png(halves[number % 2] / path.name, uf.read_image(path))
    small = ("--crop", 48, "--crops", 2, "--width", 16, "--steps", 2)
    path = tmp_path / "upconv.npz"
    assert call("learn", "upconv", *halves, *small, "-o", path) == (0, f"{path}\n", "")
    phi, image = uf.HOG(), resize_longer(uf.bundled("camera"), 64)
    common = ("invert", bundled_path("camera"), "--feature", "hog", "--size", 64, "-o", tmp_path / "out")
    assert call(*common, "--steps", 3, "--init", path)[0] == 0
    expected = three_steps(phi, image, uf.baselines.Upconv.load(path).start(phi, phi(image), size=image.shape))
    np.testing.assert_array_equal(uf.Result.load(tmp_path / "out").image, expected)


def test_keypoints_are_learned_and_inverted_from_a_photograph_and_from_a_file(call, folder, tmp_path):
    path = tmp_path / "points.npz"
    assert call("learn", "keypoints", folder, "--per-image", 50, "-o", path) == (0, f"{path}\n", "")
    out, again = tmp_path / "out", tmp_path / "again"
    status, text, _ = call("keypoints", folder / "coffee.png", "--model", path, "--size", 96, "-o", out)
    assert status == 0 and "keypoints" in text
    assert {p.name for p in out.iterdir()} == {"image.npy", "keypoints.npz", "original.png", "preimage.png",
                                               "report.html", "result.json"}
    assert uf.Result.load(out).provenance["photograph"]["correlation"] > 0.5
    assert call("keypoints", out / "keypoints.npz", "--model", path, "-o", again)[0] == 0
    assert (again / "image.npy").read_bytes() == (out / "image.npy").read_bytes()
    assert "give one of kind 'keypoints model'" in call("keypoints", folder / "coffee.png", "--model",
                                                     out / "keypoints.npz", "-o", tmp_path / "none")[2]
    assert not (tmp_path / "none").exists()


def test_binary_codes_are_inverted_without_a_model(call, tmp_path, monkeypatch):
    monkeypatch.setattr("unfeature.baselines.primal_dual.STEPS", 20)
    common = ("invert", bundled_path("camera"), "--method", "primal-dual", "--size", 48, "-o", tmp_path / "out")
    assert call(*common, "--feature", "brief", "--patch-size", 24)[0] == 0
    for feature in ("hog", "lbp"):
        status, _, line = call(*common, "--feature", feature)
        assert status == 2 and "signs of linear differences" in line


def test_statistics_are_collected(call, folder, tmp_path):
    path = tmp_path / "statistics.npz"
    assert call("learn", "statistics", folder, "--feature", "lbp", "-o", path) == (0, f"{path}\n", "")
    found = Statistics.load(path, uf.LBP())
    assert found.images == len(BUNDLED) and (found.max >= found.mean).all()


def test_statistics_leave_out_what_cannot_be_used(call, folder, tmp_path):
    photographs = tmp_path / "photographs"
    shutil.copytree(folder, photographs)
    (photographs / "bad.png").write_bytes(b"not an image")
    write_png(photographs / "small.png", np.zeros((5, 5), np.float32))
    path = tmp_path / "statistics.npz"
    status, _, said = call("learn", "statistics", photographs, "--feature", "lbp", "-o", path)
    assert status == 0 and said.count("\n") == 1
    assert re.search(r"left out 2 of \d+ images that cannot be used: .*bad\.png, .*small\.png", said)
    assert Statistics.load(path, uf.LBP()).images == len(BUNDLED)
    only = call("learn", "statistics", photographs / "bad.png", "--feature", "lbp", "-o", tmp_path / "none.npz")
    assert only[0] == 2 and "bad.png" in only[2] and not (tmp_path / "none.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("learn words nowhere -o w.npz", "there is no folder nowhere"),
        ("learn words . -o w.npz", "holds no images"),
        ("learn dictionary nowhere -o w.npz", "nowhere"),
        ("learn words FOLDER --count 100000 --samples 100000 -o w.npz", "descriptors"),
        ("learn words FOLDER --memory lots -o w.npz", "memory"),
        ("learn statistics FOLDER -o w.npz", "cnn needs --net"),
        ("invert PHOTO --feature hog --method ridgge --model m.npz", "did you mean 'ridge'?"),
        ("invert PHOTO --feature hog --method elda", "--method elda needs --model"),
        ("invert PHOTO --feature hog --method ridge", "no ridge ships with unfeature for HOG(); the nearest"),
        ("invert PHOTO --method elda", "Missing option '--feature'"),
        ("invert PHOTO", "Missing option '--feature'"),
        ("invert PHOTO --feature hog --method ridge --model m.npz", "there is no file m.npz"),
        ("invert PHOTO --feature hog --method ridge --model m.npz --steps 3", "--steps belongs to pre-images"),
        ("invert PHOTO --feature hog --model m.npz", "--model belongs to --method"),
        ("invert PHOTO --feature hog --init m.npz", "there is no file m.npz"),
        ("keypoints PHOTO --model m.npz", "there is no file m.npz"),
        ("learn keypoints FOLDER . -o w.npz", "holds no images"),
        ("learn dictonary FOLDER -o w.npz", "did you mean 'dictionary'?"),
        ("learn ridge FOLDER --atoms 3 -o w.npz", "--atoms is not an option of"),
        ("invert PHOTO --feature hog --init small.png", "small.png has 8x8 pixels, but the image to find has 256x256"),
    ],
)
def test_mistakes_get_one_clear_line(call, folder, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write_png(tmp_path / "small.png", np.zeros((8, 8)))
    before = sorted(p.name for p in tmp_path.rglob("*"))
    names = {"FOLDER": folder, "PHOTO": bundled_path("camera"), ".": "empty"}
    status, text, line = call(*(names.get(a, a) for a in arguments.split()))
    assert (status, text) == (2, "")
    assert message in line and line.count("\n") == 1
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


def test_folders_of_classes_are_learned_from(call, folder, tmp_path):
    for number, path in enumerate(sorted(folder.iterdir())):
        write_png(tmp_path / "data" / f"class{number % 2}" / path.name, uf.read_image(path))
    path = tmp_path / "pd.npz"
    options = ("--atoms", 5, "--windows", 100, "-o", path)
    assert call("learn", "dictionary", tmp_path / "data", *options) == (0, f"{path}\n", "")
    assert uf.baselines.PairedDictionary.load(path).image_atoms.shape[0] == 5
    statistics = tmp_path / "statistics.npz"
    assert call("learn", "statistics", tmp_path / "data", "--feature", "lbp", "-o", statistics)[0] == 0
    assert Statistics.load(statistics).images == len(BUNDLED)


def test_the_models_are_those_of_the_methods_that_learn(call):
    status, text, _ = call("learn", "--help")
    models = [line.split()[0] for line in text[text.index("Commands:"):].splitlines()[1:] if line[2:3].strip()]
    assert status == 0
    assert models == ["basis", "collage", "decoder", "dictionary", "elda", "jigsaw", "keypoints", "ridge", "statistics",
                      "uncertainty", "upconv", "words"]
    for model in models:
        assert call("learn", model, "--help")[0] == 0
    assert "--windows INTEGER" in call("learn", "paired-dictionary", "--help")[1]
