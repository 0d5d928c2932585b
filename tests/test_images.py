"""Images: what is read is what was written, and bad files are said to be bad."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

from unfeature.io import images
from unfeature.io.resizing import resized


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)


def test_png_round_trip_in_colour_and_grey(tmp_path, pixels):
    for array in (pixels, pixels[..., 0]):
        images.write_png(tmp_path / "a.png", array)
        image = images.read_image(tmp_path / "a.png")
        assert image.dtype == np.float32
        np.testing.assert_array_equal(image, array / np.float32(255))
        images.write_png(tmp_path / "b.png", image)
        np.testing.assert_array_equal(images.read_image(tmp_path / "b.png"), image)


def test_png_is_rounded_and_clipped():
    values = np.array([[-0.5, 0.499 / 255, 0.501 / 255, 254.6 / 255, 1.7, np.nan]])
    np.testing.assert_array_equal(images.to_bytes(values), [[0, 0, 1, 255, 255, 0]])


def test_transparent_images_are_laid_on_white(tmp_path, pixels):
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:, :6], alpha[:, 6:9] = 0, 51
    for name, array in (("colour", pixels), ("grey", pixels[..., 0])):
        picture = Image.fromarray(array)
        picture.putalpha(Image.fromarray(alpha))
        picture.save(tmp_path / f"{name}.png")
        with pytest.warns(UserWarning, match="transparent in places: it is laid on white"):
            image = images.read_image(tmp_path / f"{name}.png")
        share = alpha.reshape(alpha.shape + (1,) * (array.ndim - 2)) / 255
        expected = share * array + 255 * (1 - share)
        assert image.shape == array.shape
        np.testing.assert_allclose(255 * image, expected, atol=1.01)
        np.testing.assert_array_equal(images.image_of(picture), image)


def test_alpha_that_is_opaque_changes_nothing_and_palettes_are_resolved(tmp_path, pixels):
    for name, array in (("colour", pixels), ("grey", pixels[..., 0])):
        picture = Image.fromarray(array)
        picture.putalpha(255)
        picture.save(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(images.read_image(tmp_path / f"{name}.png"), array / np.float32(255))
    palette = Image.fromarray(pixels).quantize(4)
    resolved = np.asarray(palette.convert("RGB"))
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(images.read_image(tmp_path / "palette.png"), resolved / np.float32(255))
    palette.save(tmp_path / "transparent.png", transparency=0)
    with pytest.warns(UserWarning, match="laid on white"):
        image = images.read_image(tmp_path / "transparent.png")
    expected = np.where(np.asarray(palette)[..., None] == 0, 255, resolved)
    np.testing.assert_array_equal(image, expected / np.float32(255))


def test_sixteen_bits_and_floats(tmp_path):
    deep = np.array([[0, 1, 65535], [256, 257, 30000]], dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_allclose(images.read_image(tmp_path / "deep.png"), deep / 65535, atol=1e-7)
    Image.fromarray((deep / 65535).astype(np.float32)).save(tmp_path / "float.tif")
    np.testing.assert_allclose(images.read_image(tmp_path / "float.tif"), deep / 65535, atol=1e-7)
    Image.fromarray(deep.astype(np.float32)).save(tmp_path / "large.tif")
    with pytest.raises(ValueError, match=r"large.tif"):
        images.read_image(tmp_path / "large.tif")


def test_camera_orientation_is_applied(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(images.read_image(tmp_path / "turned.png"), np.rot90(pixels, -1) / np.float32(255))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
def test_truncated_images_are_refused(tmp_path, suffix):
    whole = tmp_path / f"whole.{suffix}"
    Image.fromarray(images.to_bytes(images.bundled("chelsea"))[:120, :120]).save(whole)
    assert images.read_image(whole).shape == (120, 120, 3)
    bad = tmp_path / f"bad.{suffix}"
    bad.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"bad\.{suffix} cannot be read as an image, or it is truncated"):
        images.read_image(bad)


def test_what_is_not_an_image_is_refused(tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(ValueError, match=r"text.jpg cannot be read"):
        images.read_image(tmp_path / "text.jpg")
    with pytest.raises(ValueError, match="is a folder"):
        images.read_image(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no image .*missing.jpg"):
        images.read_image(tmp_path / "missing.jpg")


def test_grey_value():
    colours = np.eye(3, dtype=np.float32)[None]
    np.testing.assert_allclose(images.to_grey(colours), [[0.2989, 0.5870, 0.1140]], atol=1e-7)
    np.testing.assert_allclose(images.to_grey(np.full((2, 2, 3), 255, np.uint8)), 0.9999, atol=1e-6)
    np.testing.assert_array_equal(images.to_grey(colours[..., :1]), colours[..., 0])
    with pytest.raises(ValueError, match=r"got \(2, 2, 4\)"):
        images.to_grey(np.zeros((2, 2, 4)))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.booleans())
def test_resizing_sets_the_longer_side(height, width, side, colour):
    image = np.full((height, width, 3) if colour else (height, width), 0.25, dtype=np.float32)
    found = images.resize_longer(image, side)
    assert max(found.shape[:2]) == side
    assert found.shape[2:] == image.shape[2:]
    assert abs(min(found.shape[:2]) - min(height, width) * side / max(height, width)) <= 1
    np.testing.assert_allclose(found, 0.25, atol=1e-6)


@given(st.tuples(*[st.integers(1, 70)] * 4), st.sampled_from([(), (1,), (3,)]))
def test_resizing_gives_the_bits_of_scipy(sizes, channels):
    image = np.random.default_rng(sizes).random((*sizes[:2], *channels)).astype(np.float32)
    factors = np.divide(image.shape, (*sizes[2:], *channels))
    smooth = gaussian_filter(image, np.maximum(0, (factors - 1) / 2), mode="mirror")
    expected = zoom(smooth, 1 / factors, order=1, mode="mirror", grid_mode=True).clip(image.min(), image.max())
    np.testing.assert_array_equal(resized(image, *sizes[2:]), expected)


def test_resizing_refuses_nonsense():
    with pytest.raises(ValueError, match="at least one pixel"):
        images.resize_longer(np.zeros((4, 4)), 0)
    with pytest.raises(ValueError, match="shape"):
        images.resize_longer(np.zeros(4), 8)


def test_listing_images(tmp_path, pixels):
    for name in ("b.png", "a.JPEG", "c.txt", ".hidden.png"):
        (tmp_path / name).touch()
    assert [p.name for p in images.list_images(tmp_path)] == ["a.JPEG", "b.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no images"):
        images.list_images(tmp_path / "empty")
    with pytest.raises(ValueError, match="is a file"):
        images.list_images(tmp_path / "c.txt")
    with pytest.raises(FileNotFoundError, match="no folder"):
        images.list_images(tmp_path / "nowhere")


def test_listing_images_of_sub_folders(tmp_path):
    for name in ("b.png", "dogs/2.jpg", "dogs/1.jpg", "cats/small/3.png", ".git/4.png", "cats/.hidden/5.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).touch()
    (tmp_path / "set" / "cats" / "up").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "dogs" / "same").symlink_to(tmp_path / "set" / "cats")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "6.png").touch()
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "other")
    found = [p.relative_to(tmp_path / "set").as_posix() for p in images.list_images(tmp_path / "set")]
    assert found == ["b.png", "cats/small/3.png", "dogs/1.jpg", "dogs/2.jpg", "linked/6.png"]
    for name in ("texts/a.txt", "texts/more/b.txt", "texts/more/.c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"holds no images .*: 2 other files in 2 folders"):
        images.list_images(tmp_path / "texts")


def test_bundled_photographs():
    for name in images.BUNDLED:
        image = images.bundled(name)
        assert image.shape[:2] > (200, 200)
        assert image.std() > 0.1
    with pytest.raises(ValueError, match="astronaut"):
        images.bundled("cat")


def test_no_image_is_written_of_a_wrong_shape(tmp_path):
    with pytest.raises(ValueError, match=r"got \(2, 2, 4\)"):
        images.write_png(tmp_path / "a.png", np.zeros((2, 2, 4)))
    assert list(tmp_path.iterdir()) == []


def test_bad_files_are_left_out_counted_and_named(tmp_path, pixels):
    for name in ("a.png", "c.png"):
        images.write_png(tmp_path / name, pixels)
    (tmp_path / "b.png").write_text("hello")
    done = []
    with pytest.warns(UserWarning, match=r"left out 1 of 3 images that cannot be used: .*b\.png \(.*cannot be read"):
        read = list(images.read_each(images.list_images(tmp_path), images.read_image, lambda *n: done.append(n)))
    assert len(read) == 2 and done == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(ValueError, match=r"b\.png cannot be read"):
        list(images.read_each([tmp_path / "b.png"], images.read_image))
    with pytest.raises(ValueError, match="not one of 2 images can be used"):
        list(images.read_each([tmp_path / "b.png", tmp_path / "nowhere.png"], images.read_image))


def test_sizes_change_as_scikit_image_changes_them():
    from skimage.transform import resize

    grey, colour = images.bundled("camera"), images.bundled("coffee")
    for image in (grey, colour, colour[:77, :131], grey[:1, :50]):
        for side in (1, 5, 48, 100, 256, 300):
            found = images.resize_longer(image, side)
            if found.shape != image.shape:
                expected = resize(image, found.shape[:2], order=1, anti_aliasing=True)
                np.testing.assert_array_equal(found, expected.astype(np.float32))
