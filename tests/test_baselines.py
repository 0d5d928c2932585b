"""The contract of the baselines: learn, save, load, refuse, resume; and what each method must be able to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.small_models import OPTIONS, PHI, SMALL, Toy, descriptor, invert, learn
from unfeature import baselines
from unfeature.baselines.keypoints import KeypointSet, SIFTKeypoints
from unfeature.baselines.stream import Stream
from unfeature.features.gradients.dsift import DSIFT
from unfeature.features.gradients.hog import HOG
from unfeature.features.patterns.brief import BRIEF
from unfeature.features.words.bovw import BoVW
from unfeature.features.words.vocabulary import Vocabulary
from unfeature.io.files import load_arrays, save_arrays
from unfeature.io.images import resize_longer, write_png
from unfeature.io.similarity import correlation


@pytest.fixture(scope="module", autouse=True)
def toy():
    baselines.METHODS["toy"] = Toy
    yield
    del baselines.METHODS["toy"]


def die_while_learning(folder, after):
    """Learn each of `OPTIONS` in a process of its own, which kills itself after so many images."""
    Stream.interval = -1.0
    baselines.METHODS["toy"] = Toy

    def kill(done, total):
        if done == after:
            os.kill(os.getpid(), signal.SIGKILL)

    for name in OPTIONS:
        if os.fork() == 0:
            learn(name, folder / "images", output=folder / f"{name}.npz", progress=kill)
        os.wait()


@pytest.fixture(scope="module")
def images(photograph):
    names = ("camera", "chelsea", "coffee", "rocket")
    return [photograph(name, side, True) for name in names for side in (96, 120)]


@pytest.fixture(scope="module")
def target(photograph):
    return photograph("astronaut", 96, True)


@pytest.fixture(scope="module")
def models(images):
    """A model of every method, learned when a test first needs it."""

    class Models(dict):
        def __missing__(self, name):
            self[name] = learn(name, images)
            return self[name]

    return Models()


@pytest.fixture(autouse=True)
def short_annealing(monkeypatch):
    monkeypatch.setattr("unfeature.baselines.jigsaw.PROPOSALS", 200)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_inverse_is_an_image(name, models, target):
    result = invert(name, models[name], target)
    assert result.images.shape == (1, *target.shape)
    assert result.images.dtype == np.float32
    assert result.images.min() >= 0 and result.images.max() <= 1
    assert result.provenance["method"] == name
    assert result.provenance["descriptor"] == descriptor(name).to_config()


@pytest.mark.parametrize("name", SMALL)
def test_an_inverse_resembles_the_original(name, models, target):
    result = invert(name, models[name], target)
    assert result.error < 0.95
    assert correlation(result.image, target) > 0.25


@pytest.mark.parametrize("name", OPTIONS)
def test_saved_and_loaded_it_gives_the_same(name, models, target, tmp_path):
    models[name].save(tmp_path / "model.npz")
    again = baselines.find(name).load(tmp_path / "model.npz", descriptor(name))
    assert np.array_equal(invert(name, again, target).images, invert(name, models[name], target).images)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_same_seed_gives_the_same_file(name, images, tmp_path):
    for i in range(2):
        learn(name, images[:3], seed=3, output=tmp_path / f"{i}.npz")
    assert (tmp_path / "0.npz").read_bytes() == (tmp_path / "1.npz").read_bytes()
    assert not list(tmp_path.glob("*.partial"))


@pytest.fixture(scope="module")
def killed(images, tmp_path_factory):
    """A folder of images, and what processes left that learned from them and were killed after the third."""
    folder = tmp_path_factory.mktemp("killed")
    for number, image in enumerate(images[:5]):
        write_png(folder / "images" / f"{number}.png", image)
    script = "import sys, pathlib, tests.test_baselines as t; t.die_while_learning(pathlib.Path(sys.argv[1]), 3)"
    subprocess.run([sys.executable, "-c", script, folder], check=True, cwd=Path(__file__).parents[1], timeout=120)
    return folder


@pytest.mark.parametrize("name", OPTIONS)
def test_a_killed_run_goes_on_where_it_was(name, killed):
    model, left = killed / f"{name}.npz", killed / f"{name}.npz.partial"
    assert left.exists() and not model.exists()
    seen = []
    learn(name, killed / "images", output=model, progress=lambda done, total: seen.append(done))
    assert seen[0] == 3
    learn(name, killed / "images", output=killed / "whole.npz")
    assert model.read_bytes() == (killed / "whole.npz").read_bytes()
    assert not left.exists()


def test_a_training_killed_between_its_steps_goes_on(images, tmp_path, monkeypatch):
    method, options = baselines.find("upconv"), {**SMALL["upconv"], "steps": 6}
    monkeypatch.setattr(Stream, "interval", -1.0)
    method.learn(images[:2], PHI, output=tmp_path / "whole.npz", **options)

    def kill(done, total):
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        method.learn(images[:2], PHI, output=tmp_path / "killed.npz", progress=kill, **options)
    meta, arrays = load_arrays(tmp_path / "killed.npz.partial", "partial model")
    assert meta["next"] == 2 and arrays["step"] == 3
    seen = []
    method.learn(images[:2], PHI, output=tmp_path / "killed.npz", progress=lambda done, _: seen.append(done), **options)
    assert seen == [6, 7, 8]
    assert (tmp_path / "whole.npz").read_bytes() == (tmp_path / "killed.npz").read_bytes()


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("other", [HOG(variant="dpm", cell_size=8), HOG(variant="uoctti", cell_size=6), DSIFT()])
def test_another_descriptor_is_refused(name, other, models, target, tmp_path):
    with pytest.raises(ValueError, match="learned for another descriptor"):
        models[name].invert(other, other(target))
    models[name].save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="learned for another descriptor"):
        baselines.find(name).load(tmp_path / "model.npz", other)


def test_damaged_and_foreign_models_are_refused(models, tmp_path):
    path = tmp_path / "model.npz"
    models["ridge"].save(path)
    with pytest.raises(ValueError, match="of kind 'ridge model': give one of kind 'elda model'"):
        baselines.find("elda").load(path)
    meta, arrays = load_arrays(path, "ridge model")
    save_arrays(tmp_path / "old.npz", "ridge model", {**meta, "version": 0}, **arrays)
    with pytest.raises(ValueError, match="version 0"):
        baselines.find("ridge").load(tmp_path / "old.npz")
    arrays.pop("weights")
    save_arrays(tmp_path / "less.npz", "ridge model", meta, **arrays)
    with pytest.raises(ValueError, match="damaged"):
        baselines.find("ridge").load(tmp_path / "less.npz")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="not a whole ridge model"):
        baselines.find("ridge").load(path)
    with pytest.raises(FileNotFoundError):
        baselines.find("ridge").load(tmp_path / "none.npz")


@pytest.mark.parametrize("name", OPTIONS)
def test_bad_images_are_refused(name, tmp_path):
    with pytest.raises(FileNotFoundError):
        learn(name, tmp_path / "none", output=tmp_path / "model.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no images"):
        learn(name, tmp_path / "empty", output=tmp_path / "model.npz")
    write_png(tmp_path / "small" / "a.png", np.zeros((10, 10)))
    with pytest.raises(ValueError, match="smaller than"):
        learn(name, tmp_path / "small", output=tmp_path / "model.npz")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "b.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match="cannot be read as an image"):
        learn(name, tmp_path / "bad", output=tmp_path / "model.npz")
    assert not list(tmp_path.glob("model.npz*"))
    with pytest.raises(ValueError, match="it is a folder"):
        learn(name, tmp_path / "small", output=tmp_path / "small")


@pytest.mark.parametrize("name", ["paired-dictionary", "ridge", "direct", "jigsaw", "upconv", "decoder"])
def test_too_little_memory_is_refused(name, images):
    with pytest.raises(ValueError, match="MB, but memory=50kB"):
        learn(name, images, memory="50kB")


def test_a_collection_keeps_what_fits(images):
    method = baselines.find("elda")
    whole, part = (method.learn(images, PHI, memory=memory, **SMALL["elda"]) for memory in ("2GB", "250kB"))
    assert 0 < len(part.extents) < len(whole.extents) == len(images)


def test_wrong_requests_are_refused(models, target):
    code = PHI(target)
    with pytest.raises(ValueError, match="gives one inverse"):
        models["ridge"].invert(PHI, code, count=2)
    with pytest.raises(ValueError, match="size that belongs to the code"):
        models["ridge"].invert(PHI, code, size=(48, 48))
    with pytest.raises(ValueError, match="has to be learned"):
        type(models["elda"]).of(PHI)
    with pytest.raises(ValueError, match=r"no ridge ships .*cell_size"):
        type(models["ridge"]).of(PHI)
    with pytest.raises(ValueError, match="learns nothing"):
        baselines.find("primal-dual").learn([target], BRIEF())
    with pytest.raises(ValueError, match="one code at a time"):
        models["ridge"].invert(PHI, torch.zeros((2, 32, *code.shape[:2])))
    with pytest.raises(ValueError, match="inverts a KeypointSet"):
        models["keypoints"].invert(SIFTKeypoints(), code)


def test_an_image_of_nothing_gives_a_plain_inverse(models):
    code = np.zeros_like(PHI(np.full((60, 66), 0.5, dtype=np.float32)))
    for name in SMALL:
        assert np.isfinite(models[name].invert(PHI, code).images).all(), name
    nothing = KeypointSet(np.zeros((0, 4)), np.zeros((0, 128), np.uint8), (60, 66))
    assert np.ptp(models["keypoints"].invert(SIFTKeypoints(), nothing).image) == 0


def test_primal_dual_inverts_binary_codes(target, monkeypatch):
    phi = BRIEF(bits=64, patch_size=24, step=6)
    monkeypatch.setattr("unfeature.baselines.primal_dual.STEPS", 80)
    method = baselines.PrimalDual.of(phi)
    result = method.invert(phi, phi(target), size=target.shape)
    assert correlation(result.image, target) > 0.7
    with pytest.raises(ValueError, match="signs of linear differences"):
        baselines.PrimalDual.of(PHI).invert(PHI, PHI(target))


def test_jigsaw_keeps_the_words_and_likes_true_neighbours(images, target, tmp_path):
    local = DSIFT(bin_size=3, step=6)
    rows = np.concatenate([local(image).reshape(-1, 128) for image in images])
    words = rows[np.random.default_rng(0).choice(len(rows), 30, replace=False)]
    phi = BoVW(Vocabulary(local, words), levels=(1, 2))
    model = baselines.Jigsaw.learn(images, phi)
    assert all(np.mean(np.diag(table)) > np.mean(table) for table in model.pairs)
    model.save(tmp_path / "jigsaw.npz")
    code = phi(target)
    results = [m.invert(phi, code, size=target.shape, count=2)
               for m in (model, baselines.Jigsaw.load(tmp_path / "jigsaw.npz", phi))]
    assert results[0].images.shape == (2, *target.shape)
    assert not np.array_equal(*results[0].images)
    assert np.array_equal(results[0].images, results[1].images)
    with pytest.raises(ValueError, match="bags of visual words"):
        baselines.Jigsaw.learn(images, PHI)


def test_an_up_convolutional_network_inverts_codes_without_positions(images, target):
    local = DSIFT(bin_size=3, step=6)
    words = local(images[0]).reshape(-1, 128)[::7][:12]
    phi = BoVW(Vocabulary(local, words), levels=(1, 2))
    model = baselines.Upconv.learn(images, phi, crop=48, crops=3, width=16, steps=5, batch=4)
    own = model.invert(phi, phi(target))
    assert own.images.shape == (1, 48, 48)
    stretched = model.invert(phi, phi(target), size=target.shape).image
    reduced = resize_longer(stretched, 48)
    assert stretched.shape == target.shape == (96, 96)
    assert np.corrcoef(reduced.ravel(), own.image.ravel())[0, 1] > 0.9


def mutations(fields):
    """Fields with one of them missing, of another type, shape or range."""
    for name, value in fields.items():
        yield {n: v for n, v in fields.items() if n != name}
        if isinstance(value, np.ndarray):
            wrong = [value.reshape(-1)[:-1], value[..., None], value.astype("U8"), value.astype(np.complex128)]
            wrong += [np.full_like(value, np.nan)] if value.dtype.kind == "f" else []
        elif isinstance(value, dict):
            wrong = [None, [1], "x"]
        else:
            wrong = [None, "x", -1, [], 10**30]
        yield from ({**fields, name: bad} for bad in wrong)
    yield {**fields, "unknown": 1}


@pytest.mark.parametrize("name", [name for name in OPTIONS if name not in ("toy", "decoder")])
def test_models_with_wrong_fields_are_refused(name, models, target, tmp_path):
    models[name].save(tmp_path / "whole.npz")
    meta, arrays = load_arrays(tmp_path / "whole.npz", f"{name} model")
    for fields in mutations({**meta["fields"], **arrays}):
        stored = {n: v for n, v in fields.items() if isinstance(v, np.ndarray)}
        plain = {n: v for n, v in fields.items() if n not in stored}
        save_arrays(tmp_path / "bad.npz", f"{name} model", {**meta, "fields": plain}, **stored)
        with pytest.raises(ValueError, match=r"bad\.npz|does not fit|another descriptor"):
            invert(name, type(models[name]).load(tmp_path / "bad.npz", descriptor(name)), target)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("scale", [1e20, 1e-20, 1e30])
def test_codes_out_of_reach_get_a_sentence(name, scale, models, target):
    with pytest.raises(ValueError, match="too small or too large"):
        models[name].invert(PHI, np.asarray(PHI(target) * np.float32(scale)))


def test_one_bad_file_of_many_is_left_out(images, tmp_path):
    for i, image in enumerate(images):
        write_png(tmp_path / "set" / f"{i}.png", image)
    whole = learn("ridge", tmp_path / "set")
    (tmp_path / "set" / "bad.png").write_text("hello")
    with pytest.warns(UserWarning, match=r"left out 1 of 9 images.*bad\.png"):
        model = learn("ridge", tmp_path / "set", output=tmp_path / "model.npz")
    assert model.weights.shape == whole.weights.shape and (tmp_path / "model.npz").exists()


def test_no_training_image_is_overwritten(images, tmp_path):
    write_png(tmp_path / "set" / "a.png", images[0])
    with pytest.raises(ValueError, match=r"a\.png is an input"):
        learn("ridge", tmp_path / "set", output=tmp_path / "set" / "a.png")


def test_codes_remember_the_size_of_their_image(models, images):
    image = images[0][:91, :89]
    assert models["ridge"].invert(PHI, PHI(image)).images.shape == (1, 91, 89)
