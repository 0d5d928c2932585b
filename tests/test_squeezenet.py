"""SqueezeNet with its published weights: the reference answer, and the classes of photographs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from unfeature.features.networks.cnn import CNN
from unfeature.io.images import list_images, read_image, resize_longer


@pytest.fixture(scope="module")
def squeezenet(shared):
    return shared / "data" / "networks" / "squeezenet1_0.safetensors"


def test_squeezenet_gives_the_reference_answer(squeezenet):
    reference = json.loads(squeezenet.with_suffix(".json").read_text())["reference_forward"]
    rows, columns, c = np.meshgrid(np.arange(227), np.arange(227), np.arange(3), indexing="ij")
    wave = 100 * np.sin(0.05 * rows * (1 + 0.3 * c)) * np.cos(0.07 * columns + c)
    image = ((wave + np.array([104, 117, 123])) / 255)[..., ::-1]
    logits = CNN("squeezenet1_0", "pool_final", squeezenet)(image.astype(np.float32)).reshape(-1)
    assert np.argsort(-logits)[:5].tolist() == reference["top5_index"]
    np.testing.assert_allclose(np.sort(logits)[:-6:-1], reference["top5_logit"], atol=0.02)
    assert logits.sum() == pytest.approx(reference["logit_sum"], abs=1)


def test_squeezenet_recognises_photographs(shared, squeezenet):
    phi = CNN("squeezenet1_0", "pool_final", squeezenet)
    classes = json.loads((squeezenet.parent / "imagenet_classes.json").read_text())
    right = []
    for path in list_images(shared / "data" / "imagenet_sample"):
        image = read_image(path)
        image = resize_longer(image, round(256 * max(image.shape[:2]) / min(image.shape[:2])))
        top, left = ((n - 227) // 2 for n in image.shape[:2])
        label = int(phi(image[top : top + 227, left : left + 227]).argmax())
        right.append(classes[label]["wnid"] == path.name.split("_")[0])
    assert len(right) == 100
    assert np.mean(right) >= 0.55
