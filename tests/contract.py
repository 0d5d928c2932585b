"""What every descriptor of contract_list keeps."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract_list import REPRESENTATIONS
from unfeature.features.base import Representation, code_shape

DTYPES = (torch.float32, torch.float64)
PLAIN = (str, int, float, bool, tuple, list, dict, type(None), Representation)


@pytest.fixture(scope="module", params=REPRESENTATIONS, ids=str)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def phi(name):
    return REPRESENTATIONS[name]()


def fits(phi, side):
    try:
        phi.output_shape(side, side)
    except ValueError:
        return False
    return True


def small_size(phi):
    """A height and width a little above the least side that the descriptor takes."""
    side = next(side for side in range(2, 600) if fits(phi, side))
    extra = max(1, min(8, side // 4))
    return (side + extra, side + 2 * extra) if fits(phi, side + extra) else (side, side)


def batch_of(phi, count=2, dtype=torch.float32, channels=None, size=None, seed=0):
    """Random smooth images, different in every sample."""
    height, width = size or small_size(phi)
    generator = torch.Generator().manual_seed(seed)
    channels = channels or phi.in_channels[0]
    coarse = torch.rand(count, channels, max(2, height // 3), max(2, width // 3), generator=generator, dtype=dtype)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
    return 0.9 * smooth + 0.1 * torch.rand(smooth.shape, generator=generator, dtype=dtype)


def image_of(phi, channels=None, **kwargs):
    image = batch_of(phi, 1, channels=channels, **kwargs)[0].permute(1, 2, 0).numpy()
    return np.ascontiguousarray(image[..., 0] if image.shape[-1] == 1 else image)


def test_the_list_is_not_empty():
    assert REPRESENTATIONS


def test_code_has_the_announced_shape_and_the_dtype_of_the_image(phi):
    for channels in phi.in_channels[:2]:
        for dtype in DTYPES:
            x = batch_of(phi, dtype=dtype, channels=channels)
            code = phi(x)
            assert code.shape == (2, *phi.output_shape(*x.shape[-2:]))
            assert code.dtype == dtype
            assert torch.isfinite(code).all()


def test_single_and_double_precision_agree(phi):
    x = batch_of(phi, dtype=torch.float64)
    exact, rounded = phi(x), phi(x.float()).double()
    different = ((exact - rounded).abs() > 1e-3 * exact.abs().max().clamp_min(1e-6)).double().mean()
    assert different <= 0.02


def test_samples_of_a_batch_do_not_know_of_each_other(phi):
    x = batch_of(phi, 3)
    together = phi(x)
    alone = torch.cat([phi(sample[None]) for sample in x])
    assert not torch.equal(alone[0], alone[1])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_numpy_gives_what_tensors_give(phi):
    for channels in phi.in_channels[:2]:
        image = image_of(phi, channels)
        before = image.copy()
        code = phi(image)
        x = torch.from_numpy(np.atleast_3d(image)).permute(2, 0, 1)[None]
        expected = phi(x)
        assert isinstance(code, np.ndarray) and code.shape == code_shape(expected)
        np.testing.assert_array_equal(np.moveaxis(code, -1, 0), expected[0].numpy())
        np.testing.assert_array_equal(image, before)


def test_bytes_are_scaled_to_the_unit_range(phi):
    grey_levels = np.rint(image_of(phi) * 255).astype(np.uint8)
    np.testing.assert_allclose(phi(grey_levels), phi(grey_levels.astype(np.float32) / 255), atol=1e-5)


def test_vjp_is_the_gradient(phi):
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
        pullback(cotangent[..., :-1])


@pytest.fixture
def plain_arithmetic(monkeypatch):
    """No compiled kernels: they round angles as VLFeat does, coarser than the steps of finite differences."""
    monkeypatch.setattr("unfeature.features.gradients.compiled.fits", lambda x: False)


def test_gradient_is_that_of_finite_differences(name, phi, plain_arithmetic):
    smooth = phi.surrogate(0.5)
    x = batch_of(phi, 1, torch.float64, seed=zlib.crc32(name.encode())).requires_grad_()
    assert torch.autograd.gradcheck(smooth, x, eps=1e-7, atol=1e-4, rtol=1e-3, fast_mode=True)
    code = smooth(x).flatten()
    (gradient,) = torch.autograd.grad(code @ torch.linspace(-1, 1, len(code), dtype=code.dtype), x)
    assert gradient.abs().max() > 0


def test_compiled_and_plain_arithmetic_have_one_gradient(phi, monkeypatch):
    for descriptor in (phi, phi.surrogate(0.5)):
        x = batch_of(phi, 1, torch.float64).requires_grad_()
        code = descriptor(x)
        weights = torch.randn(code.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        (gradient,) = torch.autograd.grad(code, x, weights)
        with monkeypatch.context() as patch:
            patch.setattr("unfeature.features.gradients.compiled.fits", lambda x: False)
            plain = descriptor(x)
        (plain_gradient,) = torch.autograd.grad(plain, x, weights)
        torch.testing.assert_close(code, plain, rtol=1e-3, atol=2e-4 * float(plain.detach().abs().max()))
        torch.testing.assert_close(gradient, plain_gradient, rtol=1e-2, atol=1e-3 * float(plain_gradient.abs().max()))


def special_images(phi):
    height, width = small_size(phi)
    base = torch.zeros(1, phi.in_channels[0], height, width)
    step, spot = base.clone(), base + 0.5
    step[..., width // 2 :] = 1
    spot[..., height // 2, width // 2] = 1
    noise = batch_of(phi, 1, size=(height, width))
    return {"black": base, "white": base + 1, "constant": base + 0.3, "step": step, "spot": spot, "noise": noise}


@pytest.mark.parametrize("kind", ["black", "white", "constant", "step", "spot", "noise"])
def test_gradients_are_finite(phi, kind):
    for descriptor in (phi, phi.surrogate(0.5), phi.surrogate(0.025)):
        x = special_images(phi)[kind].requires_grad_()
        code = descriptor(x)
        assert torch.isfinite(code).all()
        (gradient,) = torch.autograd.grad(code.square().sum() + code.sum(), x)
        assert torch.isfinite(gradient).all()


def test_leaks_change_no_code(phi):
    x = batch_of(phi, 1)
    assert torch.equal(phi.leaky(0.1)(x), phi(x))


def test_surrogate_tends_to_the_descriptor(phi):
    x = batch_of(phi, 1, torch.float64)
    code = phi(x)
    distances = [float((phi.surrogate(s)(x) - code).norm() / code.norm()) for s in (0.5, 1e-4)]
    if phi.exact:
        assert distances == [0, 0]
    else:
        assert distances[1] < min(0.1, distances[0])


def test_images_that_are_too_small_are_refused(phi):
    for side in (0, 1):
        with pytest.raises(ValueError, match=r"\d"):
            phi.output_shape(side, side)
    with pytest.raises(ValueError, match=r"\d"):
        phi(np.zeros((1, 1), dtype=np.float32) if 1 in phi.in_channels else np.zeros((1, 1, 3), dtype=np.float32))


@settings(max_examples=6)
@given(data=st.data())
def test_every_size_is_encoded_or_refused(phi, data):
    least = max(small_size(phi))
    height, width = (data.draw(st.integers(1, least + 12)) for _ in range(2))
    try:
        shape = phi.output_shape(height, width)
    except ValueError:
        with pytest.raises(ValueError):
            phi(batch_of(phi, 1, size=(height, width)))
    else:
        assert tuple(phi(batch_of(phi, 1, size=(height, width))).shape[1:]) == tuple(shape)
        check_image_size(phi, shape)


def check_image_size(phi, shape):
    try:
        height, width = phi.image_size_for(shape)
    except ValueError as error:
        assert "size" in str(error)
    else:
        assert tuple(phi.output_shape(height, width)) == tuple(shape)


def test_codes_of_another_depth_have_no_image(phi):
    shape = phi.output_shape(*small_size(phi))
    with pytest.raises(ValueError, match=r"size|shape"):
        phi.image_size_for((shape[0] + 1, *shape[1:]))


def test_configuration_rebuilds_the_descriptor(phi):
    config = phi.to_config()
    assert config["type"] == type(phi).__name__
    resources = {k: v for k, v in phi.params().items() if not isinstance(v, PLAIN)}
    rebuilt = Representation.from_config(config, **resources)
    assert rebuilt.to_config() == config
    image = image_of(phi)
    np.testing.assert_array_equal(rebuilt(image), phi(image))
    with pytest.raises(ValueError, match="unknown descriptor 'Nonsense'"):
        Representation.from_config({**config, "type": "Nonsense"})


def test_repr_rebuilds_the_descriptor(phi):
    assert repr(phi).startswith(f"{type(phi).__name__}(")
    if all(isinstance(v, PLAIN) for v in phi.params().values()):
        assert eval(repr(phi), dict(Representation._registry)).to_config() == phi.to_config()


def test_there_is_nothing_to_train_and_no_state_to_change(phi):
    assert [p for p in phi.parameters() if p.requires_grad] == []
    before = {k: v.clone() for k, v in phi.state_dict().items()}
    phi(batch_of(phi))
    assert all(torch.equal(v, before[k]) for k, v in phi.state_dict().items())


def test_wrong_input_is_refused_in_words(phi):
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


def test_wrong_tensors_are_refused_in_words(phi):
    x = batch_of(phi)
    wrong = {"N, C, H, W": x[0], "floating point": (x * 255).byte(), "channels": x.repeat(1, 7, 1, 1)}
    for message, tensor in wrong.items():
        with pytest.raises(ValueError, match=message):
            phi(tensor)
    with pytest.raises(ValueError, match="read_image"):
        phi("photo.jpg")
