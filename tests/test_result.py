"""Results: what they measure, how they are saved, and what they refuse to load."""

import json

import numpy as np
import pytest

from unfeature.features.gradients.hog import HOG
from unfeature.inversion.invert import invert
from unfeature.inversion.result import Result
from unfeature.io.images import read_image


@pytest.fixture(scope="module")
def phi():
    return HOG(cell_size=6)


@pytest.fixture(scope="module")
def result(phi):
    codes = [phi(np.random.default_rng(seed).random((30, 36)).astype(np.float32)) for seed in (0, 1)]
    seen = []

    def interrupt(progress):
        seen.append(progress)
        if len(seen) == 4:
            raise KeyboardInterrupt

    return invert(phi, codes, progress=interrupt)


def test_a_result_comes_back_as_it_was_saved(result, phi, tmp_path):
    result.save(tmp_path)
    loaded = Result.load(tmp_path, phi)
    for name in ("images", "codes", "errors", "errors_centred"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(result, name))
        assert getattr(loaded, name).dtype == getattr(result, name).dtype
    assert loaded.history.keys() == result.history.keys()
    for name, values in result.history.items():
        np.testing.assert_array_equal(loaded.history[name], values)
    assert (loaded.status, loaded.starts) == (result.status, result.starts)
    assert loaded.provenance == json.loads(json.dumps(result.provenance))
    assert "stopped by the user after 4" in loaded.status


def test_the_folder_holds_pictures_rounded_to_bytes(result, tmp_path):
    result[1].save(tmp_path / "one")
    picture = read_image(tmp_path / "one" / "preimage.png", grey=True)
    np.testing.assert_allclose(picture, np.clip(result.images[1], 0, 1), atol=0.5 / 255 + 1e-6)
    result.save(tmp_path / "two")
    names = sorted(p.name for p in (tmp_path / "two").iterdir())
    assert names == ["code.npy", "image.npy", "preimage-00.png", "preimage-01.png", "result.json"]


def test_provenance_tells_how_to_do_it_again(result, phi):
    facts = result.provenance
    assert facts["method"] == facts["recipe"]["name"] == "best"
    assert facts["descriptor"] == phi.to_config()
    assert facts["seed"] == 0 and facts["evaluations"] == 4 and facts["seconds"] > 0
    assert set(facts["versions"]) == {"python", "unfeature", "torch", "numpy"}


def test_another_descriptor_is_refused(result, phi, tmp_path):
    result.save(tmp_path)
    with pytest.raises(ValueError, match="cell_size 6 instead of 8"):
        Result.load(tmp_path, phi.replace(cell_size=8))


@pytest.mark.parametrize("name", ["result.json", "image.npy", "code.npy"])
def test_damaged_files_are_refused(result, tmp_path, name):
    result.save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged"):
        Result.load(tmp_path)


def test_missing_results_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"result\.json"):
        Result.load(tmp_path / "nowhere")


def test_images_of_any_method_are_measured_alike(phi):
    image = np.random.default_rng(3).random((30, 36)).astype(np.float32)
    code = phi(image)
    measured = Result.from_images(phi, code[None], image[None], method="copy", seconds=0.1)
    assert measured.error == 0 and measured.provenance["method"] == "copy" and measured.status == "finished"
    with pytest.raises(ValueError, match="2 codes but 1 images"):
        Result.from_images(phi, np.stack([code, code]), image[None], method="copy")


def test_samples_can_be_taken_out(result):
    assert len(result[1]) == 1 and result[1].error == result.errors[1]
    np.testing.assert_array_equal(result[-1].image, result.images[1])
    with pytest.raises(IndexError, match="holds 2 images"):
        _ = result[2]


def test_a_history_of_one_image_makes_a_table(result):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(result[0].history)
    assert list(table) == list(result.history) and len(table) == 4
    np.testing.assert_array_equal(table["objective"], result.history["objective"][:, 0])


def test_results_compare_and_print_in_one_line(result, tmp_path):
    result.save(tmp_path)
    assert Result.load(tmp_path) == result and result[0] != result[1] and result != "result"
    assert repr(result).startswith("<Result: 2 images of 30 × 36 pixels, relative error 0.")
    assert "\n" not in repr(result) and len(repr(result)) < 200 and "1 image of" in repr(result[0])
