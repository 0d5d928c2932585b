"""The models that ship: each is what its card says, works, and is refused for other descriptors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import unfeature as uf
from unfeature.baselines import base
from unfeature.baselines.base import Baseline
from unfeature.baselines.decoder import Decoder
from unfeature.baselines.paired_dictionary import PairedDictionary
from unfeature.baselines.ridge import Ridge
from unfeature.cli import main
from unfeature.features.base import Representation
from unfeature.features.gradients.hog import HOG
from unfeature.inversion import decoder as decoders
from unfeature.inversion.decoder import DecoderModel
from unfeature.io.images import bundled_path
from unfeature.io.similarity import correlation

DECODERS = sorted(decoders.WEIGHTS.glob("*.safetensors"))
BASELINES = sorted(base.WEIGHTS.glob("*.npz"))


def card_of(path: Path) -> dict:
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def small_photograph() -> np.ndarray:
    return uf.to_grey(uf.bundled("astronaut"))[::2, ::2]


@pytest.mark.parametrize("path", [*DECODERS, *BASELINES], ids=lambda path: path.stem)
def test_a_card_describes_its_file(path):
    card, data = card_of(path), path.read_bytes()
    assert len(data) <= 3e6
    assert card["sha256"] == hashlib.sha256(data).hexdigest()
    assert {"command", "data", "licence", "photographs", "seed", "test"} <= set(card)
    assert all(command.startswith("unfeature learn ") for command in card["command"])
    assert card["command"][-1].endswith(f" -o {path.name}")


def test_all_models_together_are_small():
    folders = {path.parent for path in (*DECODERS, *BASELINES)}
    files = [path for folder in folders for path in folder.rglob("*.*")]
    assert {path.suffix for path in files} == {".safetensors", ".npz", ".json"}
    assert sum(path.stat().st_size for path in files) <= 20e6


@pytest.mark.parametrize("path", DECODERS, ids=lambda path: path.stem)
def test_a_shipped_decoder_is_what_its_card_says(path):
    card, model = card_of(path), DecoderModel.load(path)
    assert [Representation.from_config(config).to_config() for config in card["descriptors"]] == model.descriptors
    assert card["seed"] == model.facts["seed"] and card["settings"] == model.facts["settings"]
    found = max(entry[2] for entry in model.facts["history"])
    assert card["held_out"]["correlation"] == pytest.approx(found, abs=1e-3)
    image = small_photograph()
    for config in model.descriptors:
        phi = Representation.from_config(config)
        agreement = correlation(Decoder.pretrained(phi).decode(phi, phi(image), image.shape), image)
        assert agreement > min(0.8, card["held_out"]["correlation"])


@pytest.mark.parametrize("path", BASELINES, ids=lambda path: path.stem)
def test_a_shipped_baseline_is_what_its_card_says(path):
    kind = next(kind for kind in (PairedDictionary, Ridge) if path.stem.startswith(f"{kind.method}-"))
    phi, image = Representation.from_config(card_of(path)["descriptors"][0]), small_photograph()
    model = kind.pretrained(phi)
    assert kind.shipped() == [phi.to_config()] and model.described == phi.to_config()
    assert correlation(model.invert(phi, phi(image), size=image.shape).image, image) > 0.4
    assert kind.of(phi).described == model.described


@pytest.mark.parametrize("kind", [Decoder, PairedDictionary, Ridge])
def test_what_does_not_ship_is_refused_with_the_nearest(kind: type[Baseline]):
    nearest = "cell_size (7 instead of 8|8 instead of 7)"
    with pytest.raises(ValueError, match=rf"no {kind.method} ships .*{nearest}.*`unfeature learn {kind.method}`"):
        kind.of(HOG("dpm", cell_size=7))


@pytest.mark.parametrize(("method", "variant"), [("paired-dictionary", "dpm"), ("ridge", "dpm"), ("decoder", "uoctti")])
def test_a_method_that_ships_needs_no_feature(method, variant, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["invert", str(bundled_path("camera")), "--method", method, "--size", "96", "-o", str(tmp_path / "out")])
    assert stop.value.code == 0 and "relative error" in capsys.readouterr().out
    found = uf.Result.load(tmp_path / "out").provenance
    assert found["method"] == method and found["descriptor"] == HOG(variant).to_config()
