"""Parts of a recipe from the command line."""

import json
from dataclasses import replace

import click
import numpy as np
import pytest

import unfeature as uf
from unfeature.cli.parts import Part, with_given_parts
from unfeature.inversion import PRESETS
from unfeature.inversion.parameterizations import PARAMETERIZATIONS
from unfeature.inversion.parameterizations.deep_prior import DeepPrior
from unfeature.inversion.priors import PRIORS, BoundedRange, HyperLaplacian, TotalVariation
from unfeature.inversion.recipes import Stage, best, with_parts
from unfeature.inversion.solvers import SOLVERS
from unfeature.inversion.solvers.first_order import Adam
from unfeature.inversion.solvers.lbfgs import LBFGS
from unfeature.io.images import write_png


@pytest.mark.parametrize(("catalogue", "text", "made"), [
    (PRIORS, "hyper-laplacian", HyperLaplacian()),
    (PRIORS, "total-variation,beta=1.5,weight=2", TotalVariation(beta=1.5, weight=2.0)),
    (PRIORS, "bounded-range,colours=no,pixels=50", BoundedRange(colours=False, pixels=50.0)),
    (SOLVERS, "adam,step=0.2", Adam(step=0.2)),
])
def test_a_part_is_a_name_and_its_settings(catalogue, text, made):
    assert repr(Part(catalogue).convert(text, None, None)()) == repr(made)


@pytest.mark.parametrize(("catalogue", "text", "message"), [
    (PRIORS, "hyper", r"unknown prior 'hyper': one of .*did you mean 'hyper-laplacian'"),
    (PRIORS, "none", "unknown prior 'none'"),
    (PRIORS, "hyper-laplacian,gama=1", r"'gama=1' is no setting of hyper-laplacian, which takes gamma=…, .*'gamma'"),
    (PRIORS, "hyper-laplacian,gamma", "is no setting"),
    (PRIORS, "hyper-laplacian,gamma=2", r"gamma lies in \(0, 1\], got 2.0"),
    (PRIORS, "hyper-laplacian,weight=nan", "not a finite number"),
    (SOLVERS, "adam,memory=0.9", "which takes step=…"),
    (SOLVERS, "lbfgsb,history=0", "history is at least 1 pair"),
    (PARAMETERIZATIONS, "boxed-pixels,bound=1", "which takes no settings"),
    (PARAMETERIZATIONS, "fourier,margin=x", "not a valid integer"),
])
def test_mistakes_are_explained(catalogue, text, message):
    with pytest.raises(click.BadParameter, match=message):
        Part(catalogue).convert(text, None, None)


def test_every_entry_of_the_catalogues_is_named_without_settings():
    for catalogue in (PARAMETERIZATIONS, PRIORS, SOLVERS):
        for name in catalogue:
            assert Part(catalogue).convert(name, None, None).func is catalogue[name]


def test_parts_replace_those_of_the_preset():
    phi, own = uf.HOG(), best(uf.HOG())
    one = Part(PARAMETERIZATIONS).convert("deep-prior", None, None)
    given = with_given_parts(phi, {"steps": 3, "parameterization": one, "prior": ("none",)}, PRESETS)
    assert given["steps"] == 3 and set(given) == {"steps", "preset"}
    recipe = given["preset"]
    assert recipe.parameterization.func is DeepPrior and recipe.priors == () and recipe.near is None
    assert recipe.stages == own.stages and recipe.solver().history == own.solver().history
    staged = replace(own, stages=(Stage(3), Stage(3, solver=LBFGS)))
    adam = with_parts(staged, solver=Part(SOLVERS).convert("adam,step=0.5", None, None))
    assert [make().step for make in adam.solvers] == [0.5] and (adam.priors, adam.near) == (own.priors, own.near)
    assert with_given_parts(phi, {"preset": "fast"}, PRESETS) == {"preset": "fast"}


def test_they_are_chosen_on_the_command_line(call, tmp_path, photograph):
    write_png(tmp_path / "photo.png", photograph("camera", 48))
    status, said, _ = call("invert", tmp_path / "photo.png", "--feature", "hog", "--start", "noise", "--steps", 12,
                           "--parameterization", "boxed-pixels", "--solver", "lbfgsb,history=5",
                           "--prior", "bounded-range", "--prior", "hyper-laplacian,weight=2", "-o", tmp_path / "out")
    assert status == 0, said
    recipe = json.loads((tmp_path / "out" / "result.json").read_text())["provenance"]["recipe"]
    assert recipe["parameterization"] == {"name": "BoxedPixels"}
    assert recipe["solver"] == {"name": "LBFGSB", "history": 5}
    assert [prior.split("(")[0] for prior in recipe["priors"]] == ["BoundedRange", "HyperLaplacian"]
    assert "weight=2.0" in recipe["priors"][1] and np.load(tmp_path / "out" / "image.npy").min() >= 0
    status, _, error = call("invert", tmp_path / "photo.png", "--feature", "hog", "--solver", "adm")
    assert status == 2 and "did you mean 'adam'" in error
    status, _, error = call("invert", tmp_path / "photo.png", "--method", "paired-dictionary", "--prior", "none")
    assert status == 2 and "--prior belongs to pre-images" in error


def test_they_are_chosen_for_maximize_and_caricature(call, tmp_path, photograph):
    write_png(tmp_path / "photo.png", photograph("camera", 48))
    np.save(tmp_path / "template.npy", uf.HOG()(photograph("camera", 48)))
    commands = ("maximize", "--template", tmp_path / "template.npy"), ("caricature", tmp_path / "photo.png")
    for name, *target in commands:
        status, said, _ = call(name, *target, "--feature", "hog", "--steps", 4, "--parameterization", "pixels",
                               "--solver", "adam,step=0.02", "--prior", "total-variation", "-o", tmp_path / name)
        assert status == 0, said
        recipe = json.loads((tmp_path / name / "result.json").read_text())["provenance"]["recipe"]
        assert recipe["parameterization"] == {"name": "Pixels"} and recipe["solver"] == {"name": "Adam", "step": 0.02}
        assert [prior.split("(")[0] for prior in recipe["priors"]] == ["TotalVariation"]
