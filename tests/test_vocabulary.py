from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from unfeature.features.patterns.brief import BRIEF
from unfeature.features.patterns.lbp import LBP
from unfeature.features.words.sampling import _reservoir, sample_descriptors
from unfeature.features.words.vocabulary import Mixture, Vocabulary
from unfeature.io.files import save_arrays
from unfeature.io.images import write_png
from unfeature.io.memory import bytes_of

PHI = BRIEF(bits=12, patch_size=12, step=4, softness=1.0)


def photographs(count=3, side=60, seed=0):
    rng = np.random.default_rng(seed)
    return [np.cumsum(rng.random((side, side, 3)), axis=1).astype(np.float32) / side for _ in range(count)]


@pytest.fixture(scope="module")
def words():
    return Vocabulary.learn(photographs(), PHI, words=10)


@pytest.fixture(scope="module")
def mixture():
    return Vocabulary.learn(photographs(), PHI, words=4, kind="gmm")


def test_words_are_means_of_their_descriptors(words):
    local = np.concatenate([PHI(image).reshape(-1, 12) for image in photographs()])
    assert words.counts.sum() == len(local) == 3 * 13 * 13
    nearest = ((local[:, None] - words.words) ** 2).sum(2).argmin(1)
    assert (np.bincount(nearest, minlength=10) == words.counts).mean() > 0.7
    spread = np.square(local - words.words[nearest]).sum() / np.square(local - local.mean(0)).sum()
    assert spread < 0.6


def test_learning_is_deterministic_by_seed(words):
    again = Vocabulary.learn(iter(photographs()), PHI, words=10)
    other = Vocabulary.learn(photographs(), PHI, words=10, seed=1)
    assert again.to_config() == words.to_config() != other.to_config()


def test_folders_paths_and_arrays_agree(tmp_path, words):
    images = [np.rint(image * 255).astype(np.uint8) for image in photographs()]
    for number, image in enumerate(images):
        write_png(tmp_path / f"{number}.png", image)
    folder = Vocabulary.learn(tmp_path, PHI, words=5)
    paths = Vocabulary.learn(sorted(tmp_path.iterdir()), PHI, words=5)
    arrays = Vocabulary.learn([image / np.float32(255) for image in images], PHI, words=5)
    assert folder.to_config() == paths.to_config() == arrays.to_config()


def test_progress_counts_images():
    seen = []
    sample_descriptors(photographs(), PHI, 50, progress=lambda done, total: seen.append((done, total)))
    sample_descriptors(iter(photographs()), PHI, 50, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3), (1, None), (2, None), (3, None)]


def test_reservoir_is_uniform():
    rng = np.random.default_rng(0)
    hits = np.zeros(40)
    for _ in range(2000):
        kept = np.full(10, -1)
        for seen in range(0, 40, 8):
            chosen, slots = _reservoir(8, seen, 10, rng)
            kept[slots] = seen + chosen
        hits[kept] += 1
    assert hits.sum() == 20000
    assert np.abs(hits - 500).max() < 5 * np.sqrt(500)


def test_memory_bounds_the_sample():
    few = Vocabulary.learn(photographs(), PHI, words=4, memory=60_000)
    assert 4 <= few.counts.sum() < 200
    with pytest.raises(ValueError, match="raise the bound"):
        Vocabulary.learn(photographs(), PHI, words=100, memory="20 kB")


@pytest.mark.parametrize("text, expected", [("2GB", 2 * 10**9), ("500 MB", 5 * 10**8), ("1.5k", 1500), (77, 77)])
def test_bytes(text, expected):
    assert bytes_of(text) == expected


def test_flat_descriptors_are_dropped_unless_kept():
    half = photographs(1)[0]
    half[:, 30:] = 0.5
    dropped, kept = (sample_descriptors([half], PHI, 1000, keep_flat=flag).descriptors for flag in (False, True))
    assert len(dropped) < len(kept) == 169
    assert (np.abs(dropped).max(1) > 0).all()


def test_patches_show_the_words():
    image = np.full((64, 64), 0.2, np.float32)
    image[:, 32:] = 0.9
    phi = LBP(cell_size=8)
    sample = sample_descriptors([image], phi, 64, keep_flat=True)
    rows, columns = phi.position_centres(64, 64)
    np.testing.assert_allclose(rows, 3.5 + 8 * np.arange(8))
    means = sample.patches.reshape(8, 8, 16, 16).mean(axis=(2, 3)) / 255
    expected = np.broadcast_to(np.where(columns < 31, 0.2, 0.9), (8, 8))
    np.testing.assert_allclose(means[:, [0, 1, 2, 5, 6, 7]], expected[:, [0, 1, 2, 5, 6, 7]], atol=0.01)
    assert (means[:, 3] < means[:, 4]).all()


def test_mixture_fits_better_than_its_start(mixture):
    assert isinstance(mixture, Mixture)
    assert mixture.variances.shape == (4, 12)
    assert mixture.priors.sum() == pytest.approx(1, abs=1e-5)
    assert mixture.patches.shape == (4, 16, 16)


def test_root_words_live_in_root_space():
    rooted = Vocabulary.learn(photographs(), PHI, words=5, root=True)
    local = rooted.descriptors(PHI(torch.from_numpy(photographs(1)[0]).permute(2, 0, 1)[None]))
    torch.testing.assert_close(local.square().sum(-1), torch.ones(1, 169), atol=1e-4, rtol=0)
    assert np.linalg.norm(rooted.words, axis=1).max() <= 1 + 1e-4


@pytest.mark.parametrize("which", ["words", "mixture"])
def test_save_and_load(which, tmp_path, request):
    made = request.getfixturevalue(which)
    made.save(tmp_path / "words.npz")
    for found in (Vocabulary.load(tmp_path / "words.npz"), Vocabulary.load(tmp_path / "words.npz", PHI)):
        assert type(found) is type(made)
        assert found.to_config() == made.to_config()
        np.testing.assert_array_equal(found.patches, made.patches)
        np.testing.assert_array_equal(found.counts, made.counts)


def test_loading_refuses_another_descriptor(words, tmp_path):
    words.save(tmp_path / "words.npz")
    with pytest.raises(ValueError, match=r"another descriptor \(step 4 instead of 2\)"):
        Vocabulary.load(tmp_path / "words.npz", PHI.replace(step=2))
    config = {k: v for k, v in PHI.to_config().items() if k != "seed"}
    save_arrays(tmp_path / "older.npz", "vocabulary", {"kind": "kmeans", "phi": config, "root": False},
                words=words.words)  # fmt: skip
    assert Vocabulary.load(tmp_path / "older.npz", PHI).to_config() == words.to_config()
    with pytest.raises(ValueError, match="another descriptor"):
        Vocabulary.load(tmp_path / "older.npz", PHI.replace(seed=1))
    (tmp_path / "other.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="not a whole vocabulary"):
        Vocabulary.load(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError):
        Vocabulary.load(tmp_path / "none.npz")


def test_words_of_another_dimension(words):
    with pytest.raises(ValueError, match=r"12 dimensions, but the descriptors of BRIEF.* have 9"):
        words.with_phi(PHI.replace(bits=9))
    with pytest.raises(ValueError, match="positions"):
        from unfeature.features.words.bovw import BoVW

        Vocabulary(BoVW(words), words.words)
    with pytest.raises(ValueError, match="finite"):
        Vocabulary(PHI, np.full((2, 12), np.nan))
    with pytest.raises(ValueError, match="variances"):
        Mixture(PHI, words.words, variances=np.zeros((10, 12)), priors=np.ones(10) / 10)


def test_more_words_than_descriptors():
    with pytest.raises(ValueError, match="cannot be learned from 169 descriptors"):
        Vocabulary.learn(photographs(1), PHI, words=170)


def test_empty_words_are_reported():
    stripes = np.tile(np.array([0.1, 0.9, 0.9, 0.1], np.float32), (40, 10))
    with pytest.warns(UserWarning, match="of 5 words are empty"):
        found = Vocabulary.learn([stripes], PHI, words=5)
    assert len(found.empty) > 0
    assert (found.patches[found.empty] == 0.5).all()


def test_unusable_images_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"image 2: .*smaller than one patch"):
        Vocabulary.learn([*photographs(1), np.ones((5, 5), np.float32)], PHI, words=2)
    with pytest.raises(ValueError, match="no images"):
        Vocabulary.learn([], PHI, words=2)
    with pytest.raises(ValueError, match="no images"):
        Vocabulary.learn(tmp_path, PHI, words=2)
    with pytest.raises(ValueError, match="unknown kind"):
        Vocabulary.learn(photographs(), PHI, words=2, kind="tree")
    with pytest.raises(ValueError, match="memory"):
        Vocabulary.learn(photographs(), PHI, words=2, memory="lots")


def test_bad_files_are_left_out_with_a_warning(tmp_path):
    for number, image in enumerate([*photographs(), np.ones((5, 5), np.float32)]):
        write_png(tmp_path / f"{number}.png", image)
    usable = sorted(tmp_path.iterdir())[:-1]
    (tmp_path / "broken.jpg").write_text("no image")
    with pytest.warns(UserWarning, match=r"left out 2 of \d+ images .*\d\.png.*broken\.jpg"):
        found = Vocabulary.learn(tmp_path, PHI, words=3)
    np.testing.assert_array_equal(found.words, Vocabulary.learn(usable, PHI, words=3).words)
    with pytest.raises(ValueError, match="cannot be read as an image"):
        Vocabulary.learn([tmp_path / "broken.jpg"], PHI, words=3)


def test_learning_is_silent(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Vocabulary.learn(photographs(), PHI, words=3, kind="gmm")
    assert capsys.readouterr() == ("", "")
