"""The checks that every descriptor passes: `CHECKS`, by name, each a function of the descriptor."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unfeature.features import DESCRIPTORS
from unfeature.features.backend import backend
from unfeature.features.base import Representation, code_shape
from unfeature.features.patterns.brief import BRIEF

DTYPES = (torch.float32, torch.float64)
PLAIN = (str, int, float, bool, tuple, list, dict, type(None), Representation)
CHECKS: dict[str, Callable[[Representation], None]] = {}


def check(function):
    """Add a function of a descriptor to the contract."""
    CHECKS[function.__name__] = function
    return function


def fits(phi, side):
    with contextlib.suppress(ValueError):
        return bool(phi.output_shape(side, side))
    return False


def small_size(phi):
    """A height and width a little above the least side that the descriptor takes."""
    side = next(side for side in range(2, 600) if fits(phi, side))
    extra = max(1, min(8, side // 4))
    return (side + extra, side + 2 * extra) if fits(phi, side + extra) else (side, side)


def batch_of(phi, count=2, dtype=torch.float32, channels=None, size=None, seed=0):
    """Random smooth images, different in every sample."""
    (height, width), generator = size or small_size(phi), torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels or phi.in_channels[0], max(2, height // 3), max(2, width // 3),
                        generator=generator, dtype=dtype)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
    return 0.9 * smooth + 0.1 * torch.rand(smooth.shape, generator=generator, dtype=dtype)


def image_of(phi, channels=None, **kwargs):
    image = batch_of(phi, 1, channels=channels, **kwargs)[0].permute(1, 2, 0).numpy()
    return np.ascontiguousarray(image[..., 0] if image.shape[-1] == 1 else image)


@check
def code_has_the_announced_shape_and_the_dtype_of_the_image(phi):
    for channels in phi.in_channels[:2]:
        for dtype in DTYPES:
            x = batch_of(phi, dtype=dtype, channels=channels)
            code = phi(x)
            assert code.shape == (2, *phi.output_shape(*x.shape[-2:]))
            assert code.dtype == dtype
            assert torch.isfinite(code).all()


@check
def single_and_double_precision_agree(phi):
    x = batch_of(phi, dtype=torch.float64)
    exact, rounded = phi(x), phi(x.float()).double()
    different = ((exact - rounded).abs() > 1e-3 * exact.abs().max().clamp_min(1e-6)).double().mean()
    assert different <= 0.02


@check
def half_precision_is_that_of_single_precision_rounded(phi):
    for descriptor in (phi, phi.surrogate(0.5)):
        for dtype, tolerance in ((torch.float16, 2e-3), (torch.bfloat16, 1e-2)):
            x = batch_of(phi).to(dtype).requires_grad_()
            code, exact = descriptor(x), descriptor(x.float())
            assert code.dtype == dtype and exact.dtype == torch.float32
            assert (code.float() - exact).norm() <= tolerance * exact.norm()
            signs = torch.randn(code.shape, generator=torch.Generator().manual_seed(0)).sign()
            gradient, exact_gradient = (torch.autograd.grad(found, x, signs.to(found))[0].float()
                                        for found in (code, exact))
            assert (gradient - exact_gradient).norm() <= 2 * tolerance * exact_gradient.norm()


@check
def autocast_changes_nothing(phi):
    for descriptor in (phi, phi.surrogate(0.5)):
        x = batch_of(phi).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            cast = descriptor(x)
            assert descriptor(x.bfloat16()).dtype == torch.bfloat16
            assert descriptor(x.double()).dtype == torch.float64
        code = descriptor(x)
        assert torch.equal(cast, code)
        weights = torch.randn(code.shape, generator=torch.Generator().manual_seed(0))
        assert torch.equal(torch.autograd.grad(cast, x, weights)[0], torch.autograd.grad(code, x, weights)[0])


@check
def codes_are_contiguous(phi):
    x = batch_of(phi)
    for images in (x, x.contiguous(memory_format=torch.channels_last), x.transpose(2, 3).contiguous().transpose(2, 3)):
        code = phi(images)
        assert code.is_contiguous()
        torch.testing.assert_close(code, phi(x), rtol=1e-4, atol=1e-5)


@check
def an_empty_batch_has_an_empty_code(phi):
    x = batch_of(phi)[:0].requires_grad_()
    code = phi(x)
    assert code.shape == (0, *phi.output_shape(*x.shape[-2:])) and code.dtype == x.dtype
    (gradient,) = torch.autograd.grad(code.sum(), x)
    assert gradient.shape == x.shape
    with pytest.raises(ValueError, match="channels"):
        phi(x.repeat(1, 7, 1, 1))


@check
def descriptors_are_in_evaluation_mode(phi):
    assert not any(part.training for part in phi.modules())
    assert not any(part.training for part in phi.surrogate(0.5).modules())


@check
def further_arguments_are_refused_unless_a_hook_takes_them(phi):
    x = batch_of(phi, 1)
    for image in (x, image_of(phi)):
        with pytest.raises(ValueError, match=r"got 2 further arguments \(Tensor, int\): pass the batch alone"):
            phi(image, x, 3)
    with phi.register_forward_pre_hook(lambda _, given: torch.cat(given)):
        both = phi(x, x)
    torch.testing.assert_close(both, phi(x.repeat(2, 1, 1, 1)))


@check
def samples_of_a_batch_do_not_know_of_each_other(phi):
    x = batch_of(phi, 3)
    together = phi(x)
    alone = torch.cat([phi(sample[None]) for sample in x])
    assert not torch.equal(alone[0], alone[1])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@check
def numpy_gives_what_tensors_give(phi):
    for channels in phi.in_channels[:2]:
        image = image_of(phi, channels)
        before = image.copy()
        code = phi(image)
        x = torch.from_numpy(np.atleast_3d(image)).permute(2, 0, 1)[None]
        expected = phi(x)
        assert isinstance(code, np.ndarray) and code.shape == code_shape(expected)
        np.testing.assert_array_equal(np.moveaxis(code, -1, 0), expected[0].numpy())
        np.testing.assert_array_equal(image, before)


@check
def bytes_are_scaled_to_the_unit_range(phi):
    grey_levels = np.rint(image_of(phi) * 255).astype(np.uint8)
    np.testing.assert_allclose(phi(grey_levels), phi(grey_levels.astype(np.float32) / 255), atol=1e-5)


@check
def vjp_is_the_gradient(phi):
    image = image_of(phi)
    with torch.no_grad():
        code, pullback = phi.vjp(image)
    cotangent = np.random.default_rng(0).normal(size=code.shape).astype(np.float32)
    x = torch.from_numpy(np.atleast_3d(image)).permute(2, 0, 1)[None].requires_grad_()
    found = phi(x)
    weights = torch.from_numpy(np.moveaxis(cotangent, -1, 0).copy())[None]
    (expected,) = torch.autograd.grad(found, x, weights)
    expected = expected[0].permute(1, 2, 0).numpy().reshape(image.shape)
    np.testing.assert_array_equal(code, phi(image))
    for _ in range(2):
        np.testing.assert_allclose(pullback(cotangent), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="cotangent has shape"):
        pullback(np.repeat(cotangent, 2, axis=-1))


def value_and_gradient(phi, x, seed=0):
    x = x.detach().clone().requires_grad_()
    code = phi(x)
    weights = torch.randn(code.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    return code.detach(), torch.autograd.grad(code, x, weights)[0]


@check
def gradient_is_that_of_finite_differences(phi):
    """In plain torch: compiled passes round angles as VLFeat does, coarser than the steps of finite differences."""
    smooth = phi.surrogate(0.5)
    x = batch_of(phi, 1, torch.float64, seed=zlib.crc32(repr(phi).encode())).requires_grad_()
    with backend("torch"):
        assert torch.autograd.gradcheck(smooth, x, eps=1e-7, atol=1e-4, rtol=1e-3, fast_mode=True)
        code = smooth(x).flatten()
        (gradient,) = torch.autograd.grad(code @ torch.linspace(-1, 1, len(code), dtype=code.dtype), x)
    assert gradient.abs().max() > 0


@check
def backends_agree(phi):
    for descriptor in (phi, phi.surrogate(0.5)):
        x = batch_of(phi, 1, torch.float64)
        code, gradient = value_and_gradient(descriptor, x)
        with backend("torch"):
            plain, plain_gradient = value_and_gradient(descriptor, x)
        torch.testing.assert_close(code, plain, rtol=1e-3, atol=2e-4 * float(plain.abs().max()))
        torch.testing.assert_close(gradient, plain_gradient, rtol=1e-2, atol=1e-3 * float(plain_gradient.abs().max()))


def special_images(phi):
    height, width = small_size(phi)
    base = torch.zeros(1, phi.in_channels[0], height, width)
    step, spot = base.clone(), base + 0.5
    step[..., width // 2 :] = 1
    spot[..., height // 2, width // 2] = 1
    noise = batch_of(phi, 1, size=(height, width))
    return {"black": base, "white": base + 1, "constant": base + 0.3, "step": step, "spot": spot, "noise": noise}


@check
def gradients_are_finite(phi):
    for descriptor in (phi, phi.surrogate(0.5), phi.surrogate(0.025)):
        for kind, image in special_images(phi).items():
            x = image.requires_grad_()
            code = descriptor(x)
            assert torch.isfinite(code).all(), kind
            (gradient,) = torch.autograd.grad(code.square().sum() + code.sum(), x)
            assert torch.isfinite(gradient).all(), kind


@check
def leaks_change_the_gradient_alone(phi):
    """A leak leaves the codes and the original alone, does not add up, and without ReLUs there is none."""
    x, config, leaky = batch_of(phi, 1), phi.to_config(), phi.leaky(0.1)
    code, gradient = value_and_gradient(phi, x)
    leaky_code, leaky_gradient = value_and_gradient(leaky, x)
    assert torch.equal(leaky_code, code)
    assert leaky.stride == phi.stride and leaky.leaky(0.05) is leaky
    if not any(isinstance(part, torch.nn.ReLU) for part in getattr(phi, "network", torch.nn.Module()).modules()):
        assert leaky is phi
        return
    assert leaky.to_config() == config | {"leak": 0.1}
    assert torch.isfinite(leaky_gradient).all() and not torch.equal(leaky_gradient, gradient)
    assert phi.to_config() == config
    for found, expected in zip(value_and_gradient(phi, x), (code, gradient), strict=True):
        assert torch.equal(found, expected)


@check
def surrogate_tends_to_the_descriptor(phi):
    x = batch_of(phi, 1, torch.float64)
    code = phi(x)
    distances = [float((phi.surrogate(s)(x) - code).norm() / code.norm()) for s in (0.5, 1e-4)]
    if phi.exact:
        assert distances == [0, 0]
    else:
        assert distances[1] < min(0.1, distances[0])


@check
def images_that_are_too_small_are_refused(phi):
    for side in (0, 1):
        with pytest.raises(ValueError, match=r"\d"):
            phi.output_shape(side, side)
    with pytest.raises(ValueError, match=r"\d"):
        phi(np.zeros((1, 1), dtype=np.float32) if 1 in phi.in_channels else np.zeros((1, 1, 3), dtype=np.float32))


@check
def every_size_is_encoded_or_refused(phi):
    sides = st.integers(1, max(small_size(phi)) + 12)

    @settings(max_examples=6)
    @given(sides, sides)
    def encoded_or_refused(height, width):
        try:
            shape = phi.output_shape(height, width)
        except ValueError:
            with pytest.raises(ValueError):
                phi(batch_of(phi, 1, size=(height, width)))
        else:
            assert tuple(phi(batch_of(phi, 1, size=(height, width))).shape[1:]) == tuple(shape)
            check_image_size(phi, shape)

    encoded_or_refused()


def measured_field(phi, position):
    """First and last row and column on which the code at a position depends, and the size of the image."""
    side = phi.receptive_field + 8 * phi.stride
    x = torch.rand(4, phi.in_channels[0], side, side, generator=torch.Generator().manual_seed(0)).requires_grad_()
    code = phi.surrogate(0.5)(x)[(..., *position)]
    weights = torch.rand(code.shape, generator=torch.Generator().manual_seed(1))
    seen = torch.autograd.grad((code * weights).sum(), x)[0].abs().sum((0, 1)) > 0
    reach = [torch.nonzero(seen.any(1 - axis)).flatten() for axis in (0, 1)]
    return [(int(found[0]), int(found[-1])) for found in reach]


@check
def centres_lie_on_a_grid_in_the_middle_of_receptive_fields(phi):
    """But for BRIEF, which draws its pairs: the field of some pairs is not symmetric."""
    side = phi.receptive_field + 8 * phi.stride
    shape = phi.output_shape(side, side)
    if len(shape) != 3:
        with pytest.raises(ValueError, match="has no positions"):
            phi.position_centres(side, side)
        return
    assert shape[0] % phi.descriptors_per_position == 0
    centres = phi.position_centres(side, side)
    assert tuple(len(along) for along in centres) == tuple(shape[1:])
    middle = shape[1] // 2, shape[2] // 2
    for along, index, (first, last) in zip(centres, middle, measured_field(phi, middle), strict=True):
        np.testing.assert_allclose(np.diff(along), phi.stride, atol=1e-9)
        assert along[0] >= 0 and along[-1] <= side
        assert abs((first + last) / 2 - along[index]) <= (phi.stride / 2 if isinstance(phi, BRIEF) else 1e-9)
        assert last - first < phi.receptive_field


def check_image_size(phi, shape):
    try:
        height, width = phi.image_size_for(shape)
    except ValueError as error:
        assert "size" in str(error)
    else:
        assert tuple(phi.output_shape(height, width)) == tuple(shape)


@check
def codes_of_another_depth_have_no_image(phi):
    shape = phi.output_shape(*small_size(phi))
    with pytest.raises(ValueError, match=r"size|shape"):
        phi.image_size_for((shape[0] + 1, *shape[1:]))


@check
def configuration_rebuilds_the_descriptor(phi):
    config = phi.to_config()
    assert config["type"] == type(phi).__name__
    resources = {k: v for k, v in phi.params().items() if not isinstance(v, PLAIN)}
    rebuilt = Representation.from_config(config, **resources)
    assert rebuilt.to_config() == config
    image = image_of(phi)
    np.testing.assert_array_equal(rebuilt(image), phi(image))
    with pytest.raises(ValueError, match="unknown descriptor 'Nonsense'"):
        Representation.from_config({**config, "type": "Nonsense"})


@check
def repr_rebuilds_the_descriptor(phi):
    assert repr(phi).startswith(f"{type(phi).__name__}(") and "\n" not in repr(phi)
    classes = {entry.__name__: entry for entry in DESCRIPTORS.values()}
    if all(isinstance(v, PLAIN) for v in phi.params().values()):
        assert eval(repr(phi), classes).to_config() == phi.to_config()


@check
def there_is_nothing_to_train_and_no_state_to_change(phi):
    assert [p for p in phi.parameters() if p.requires_grad] == []
    before = {k: v.clone() for k, v in phi.state_dict().items()}
    phi(batch_of(phi))
    assert all(torch.equal(v, before[k]) for k, v in phi.state_dict().items())


@check
def wrong_input_is_refused_in_words(phi):
    image = image_of(phi)
    spoilt = image.copy()
    spoilt.flat[3] = np.nan
    wrong = {
        "1 non-finite": spoilt,
        "divide by 255": image * 255,
        "shape": image[None, None],
        "convert": (image * 255).astype(np.int32),
        "empty": image[:0],
        "channels": np.zeros((*image.shape[:2], 7), dtype=np.float32),
    }
    for message, array in wrong.items():
        with pytest.raises(ValueError, match=message):
            phi(array)


@check
def wrong_tensors_are_refused_in_words(phi):
    x = batch_of(phi)
    wrong = {"N, C, H, W": x[0], "floating point": (x * 255).byte(), "channels": x.repeat(1, 7, 1, 1)}
    for message, tensor in wrong.items():
        with pytest.raises(ValueError, match=message):
            phi(tensor)
    with pytest.raises(ValueError, match="expected a torch tensor, a NumPy array"):
        phi({"image": 1})
    with pytest.raises(FileNotFoundError, match=r"no image nowhere\.jpg"):
        phi("nowhere.jpg")
