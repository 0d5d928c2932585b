"""Arguments as people give them: what is plain is taken, what is not gets a sentence, and nothing non-finite leaves."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from unfeature.features.checks import check_seed
from unfeature.features.code import Code, load_code, save_code
from unfeature.features.gradients.hog import HOG
from unfeature.features.patterns.brief import BRIEF
from unfeature.inversion.invert import as_codes, invert
from unfeature.inversion.result import Result
from unfeature.io.files import save_array
from unfeature.io.images import to_grey

PHI = HOG(cell_size=6)
PIXELS = np.random.default_rng(0).integers(0, 256, (32, 37, 3), dtype=np.uint8)
GREY = to_grey(PIXELS)
CODE = PHI(GREY)


def short(code, phi=PHI, **settings):
    return invert(phi, code, preset="fast", steps=2, **settings)


@pytest.mark.parametrize("scale", [1e20, 1e-20, 1e18])
@pytest.mark.parametrize("as_given", [lambda c: c, lambda c: torch.from_numpy(np.moveaxis(c, -1, 0)[None].copy())])
def test_codes_out_of_reach_of_single_precision_are_refused(scale, as_given):
    with pytest.raises(ValueError, match="too small or too large"):
        short(as_given(np.asarray(CODE * np.float32(scale))))


def test_codes_of_unusual_scale_have_finite_results():
    for scale in (1e10, 1e-10):
        result = short(CODE * np.float32(scale))
        assert np.isfinite(result.images).all() and np.isfinite(result.errors).all()


@pytest.mark.parametrize(("settings", "said"), [
    ({"starts": 1.5}, "starts is a whole number of at least 1, got 1.5"), ({"starts": 0}, "starts"),
    ({"starts": "2"}, "starts"), ({"size": 48}, r"size is height and width, as \(192, 256\), got 48"),
    ({"size": (48, -1)}, "width of size"), ({"size": (30.5, 40)}, "height of size"), ({"seed": 2**32}, "seed"),
    ({"seed": -1}, "seed"), ({"seed": 0.5}, "seed"), ({"seed": 2**32 - 1, "starts": 2}, "seed"),
    ({"data_weight": 1e38}, "C, the weight"), ({"data_weight": np.nan}, "C, the weight"),
    ({"start": np.full((32, 37), np.nan, np.float32)}, "non-finite"),
    ({"start": torch.full((1, 1, 32, 37), torch.nan), "size": (32, 37)}, "NaN or infinite"),
    ({"start": torch.zeros((1, 1, 32, 37), dtype=torch.int32), "size": (32, 37)}, "floating"),
])
def test_arguments_that_make_no_sense_get_a_sentence(settings, said):
    with pytest.raises(ValueError, match=said):
        short(CODE, **settings)


def test_steps_are_whole():
    with pytest.raises(ValueError, match="steps is a whole number"):
        invert(PHI, CODE, steps=2.5)


def test_seeds_of_numpy_are_seeds(tmp_path):
    result = short(CODE, seed=np.int64(3), starts=np.int32(2))
    np.testing.assert_array_equal(result.images, short(CODE, seed=3, starts=2).images)
    result.save(tmp_path)
    assert Result.load(tmp_path) == result
    assert check_seed(2**32 - 1) == 2**32 - 1


def test_bombs_do_not_warn(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.fromarray(PIXELS).save(tmp_path / "large.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert PHI(tmp_path / "large.png").shape[-1] == 31
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"large\.png cannot be read as an image"):
        PHI(tmp_path / "large.png")


def test_pillow_images_paths_and_lists_are_images(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    for image in (Image.fromarray(PIXELS), tmp_path / "a.png", str(tmp_path / "a.png")):
        np.testing.assert_allclose(PHI(image), PHI(PIXELS), atol=1e-6)
        np.testing.assert_allclose(BRIEF()(image), BRIEF()(GREY), atol=1e-6)
    np.testing.assert_allclose(PHI(GREY.tolist()), CODE, atol=1e-6)
    for wrong in ([[1.0], [1.0, 2.0]], {"a": 1}, None, ["a.png"]):
        with pytest.raises(ValueError, match="expected a torch tensor"):
            PHI(wrong)
    with pytest.raises(FileNotFoundError):
        PHI("nowhere.png")


def test_starts_are_images_of_any_kind(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    expected = short(CODE, start=GREY).images
    for start in (Image.fromarray(PIXELS), tmp_path / "a.png", GREY.tolist()):
        np.testing.assert_allclose(short(CODE, start=start).images, expected, atol=1e-4)


def test_stacks_and_lists_of_codes_are_batches():
    other = PHI(GREY.T.copy()[:31, :31])[:1, :1]
    codes = [CODE, np.asarray(CODE) * np.float32(0.5)]
    assert as_codes(np.stack(codes)).shape == as_codes(codes).shape == (2, 31, 5, 6)
    torch.testing.assert_close(as_codes(np.stack(codes)), as_codes(codes))
    assert as_codes(np.ones((3, 8))).shape == (3, 8) and as_codes([0.5, 1.0]).shape == (1, 2)
    assert as_codes(CODE.tolist()).shape == (1, 31, 5, 6)
    assert len(short(np.stack(codes))) == 2
    for wrong, said in (([CODE, other], "one shape"), ([[1.0], [1.0, 2.0]], "equal lengths"), ([], "no code"),
                        ([torch.ones(31, 2, 2)], r"torch\.stack")):
        with pytest.raises(ValueError, match=said):
            as_codes(wrong)


def test_errors_name_shapes_in_the_layout_of_the_user():
    with pytest.raises(ValueError, match=r"the code has shape \(5, 6, 31\), but .* gives \(8, 8, 31\)"):
        short(CODE, size=(48, 48))
    with pytest.raises(ValueError, match=r"the code has shape \(31, 5, 6\), but .* gives \(31, 8, 8\)"):
        short(as_codes(CODE), size=(48, 48))


def test_codes_remember_the_size_of_their_image():
    assert isinstance(CODE, Code) and CODE.image_size == (32, 37) and CODE.descriptor == PHI.to_config()
    assert short(CODE).images.shape == (1, 32, 37)
    assert short(np.asarray(CODE)).images.shape == (1, 30, 36)
    assert short([CODE, 0.5 * CODE]).images.shape == (2, 32, 37)
    assert short(CODE, size=(30, 36)).images.shape == (1, 30, 36)
    assert short(CODE, phi=HOG(cell_size=8)).images.shape == (1, 40, 48)
    tall = HOG()(np.random.default_rng(0).random((500, 371)).astype(np.float32))
    assert invert(HOG(), tall, preset="fast", steps=1).images.shape == (1, 500, 371)


def test_codes_are_arrays():
    assert (2 * CODE).image_size == CODE.copy().image_size == pickle.loads(pickle.dumps(CODE)).image_size == (32, 37)
    assert CODE[0].image_size is None and CODE[:2].descriptor is None
    assert type(CODE.sum()) is np.float32 and type(np.asarray(CODE)) is np.ndarray


@pytest.mark.parametrize("name", ["code.npy", "code.npz"])
def test_stored_codes_remember_and_refuse_another_descriptor(tmp_path, name):
    save_code(tmp_path / name, CODE)
    loaded = load_code(tmp_path / name, PHI)
    np.testing.assert_array_equal(loaded, CODE)
    assert loaded.image_size == (32, 37) and short(loaded).images.shape == (1, 32, 37)
    with pytest.raises(ValueError, match="cell_size 6 instead of 8"):
        load_code(tmp_path / name, HOG())


def test_codes_that_others_wrote_remember_nothing(tmp_path):
    save_code(tmp_path / "code.npy", CODE)
    save_array(tmp_path / "code.npy", np.ones((5, 6, 31)))
    assert load_code(tmp_path / "code.npy", HOG()).image_size is None
    save_code(tmp_path / "plain.npy", np.asarray(CODE))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["code.npy", "code.npy.json", "plain.npy"]
    (tmp_path / "plain.npy.json").write_text("[")
    assert load_code(tmp_path / "plain.npy", HOG()).descriptor is None


def test_the_code_of_a_result_remembers(tmp_path):
    short(CODE).save(tmp_path)
    assert load_code(tmp_path / "code.npy", PHI).image_size == (32, 37)
    with pytest.raises(ValueError, match="another descriptor"):
        load_code(tmp_path / "code.npy", HOG())
