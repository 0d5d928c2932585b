"""What each baseline says of itself: its name, what it inverts, the arguments of its learning."""

from __future__ import annotations

import dataclasses
import inspect
import typing

import numpy as np
import pytest

from tests.small_models import PHI, Toy, descriptor, learn
from unfeature import baselines
from unfeature.baselines.base import Baseline
from unfeature.baselines.keypoints import SIFTKeypoints
from unfeature.features.patterns.brief import BRIEF
from unfeature.features.patterns.lbp import LBP
from unfeature.io.memory import bytes_of


@pytest.fixture(scope="module", autouse=True)
def toy():
    baselines.METHODS["toy"] = Toy
    yield
    del baselines.METHODS["toy"]


def test_methods_are_found_by_name():
    for name, found in baselines.METHODS.items():
        assert getattr(baselines, found.__name__) is found
        assert issubclass(found, Baseline) and dataclasses.is_dataclass(found)
        assert found.method == name and baselines.find(name) is found
    assert baselines.find("dictionary") is baselines.PairedDictionary
    assert baselines.find("basis") is baselines.Direct
    with pytest.raises(ValueError, match=r"unknown method 'rigde': .*; did you mean 'ridge'"):
        baselines.find("rigde")
    with pytest.raises(AttributeError):
        baselines.magic  # noqa: B018


INVERTED = {
    "hog": {"paired-dictionary", "ridge", "elda", "direct", "collage", "upconv", "decoder", "toy"},
    "bovw": {"jigsaw", "direct", "upconv"},
    "brief": {"paired-dictionary", "ridge", "elda", "direct", "collage", "upconv", "decoder", "toy", "primal-dual"},
    "lbp": {"paired-dictionary", "ridge", "elda", "direct", "collage", "upconv", "decoder", "toy"},
    "keypoints": {"keypoints"},
}


@pytest.mark.parametrize("feature", INVERTED)
def test_each_method_says_what_it_inverts(feature):
    phi = {"hog": PHI, "bovw": descriptor("jigsaw"), "brief": BRIEF(), "lbp": LBP(),
           "keypoints": SIFTKeypoints()}[feature]
    listed = set().union(*INVERTED.values())
    assert {name for name in listed if baselines.METHODS[name].inverts(phi)} == INVERTED[feature]
    for name, method in baselines.METHODS.items():
        if method.feature == feature:
            assert method.inverts(phi)
        if method.learned and not method.inverts(phi):
            with pytest.raises(ValueError, match=f"{name} inverts .*, not {type(phi).__name__}"):
                method.learn([np.zeros((96, 96), np.float32)], phi)


@pytest.mark.parametrize("name", [name for name in baselines.METHODS if name != "primal-dual"])
def test_arguments_of_learn_are_annotated_and_described(name):
    """As the command line needs it, whose options follow from them."""
    method = baselines.find(name)
    assert method.learned and method.__doc__.splitlines()[0].endswith(".")
    signature, types = inspect.signature(method.learn_from), typing.get_type_hints(method.learn_from)
    assert list(signature.parameters)[:2] == ["stream", "phi"]
    own = list(signature.parameters)[2:]
    assert set(own) <= set(types)
    assert all(signature.parameters[n].kind is inspect.Parameter.KEYWORD_ONLY for n in own)
    documented = inspect.getdoc(method.learn_from)
    assert all(f"\n{n} : " in documented for n in own)
    defaults = [n for n in own if signature.parameters[n].default is None]
    assert all(type(None) in typing.get_args(types[n]) for n in defaults)


@pytest.mark.parametrize(("name", "parameter"), [
    (name, parameter.name) for name, method in baselines.METHODS.items() if name != "primal-dual"
    for parameter in inspect.signature(method.learn_from).parameters.values() if type(parameter.default) is int])
def test_counts_of_learn_are_at_least_one(name, parameter, images):
    with pytest.raises(ValueError, match=f"{parameter} is at least 1, got 0"):
        learn(name, images, **{parameter: 0})


def test_a_parameter_of_another_method_is_refused(images):
    with pytest.raises(TypeError, match="'atoms'"):
        learn("ridge", images, atoms=3)


@pytest.mark.parametrize(("text", "value"), [("2GB", 2 * 10**9), ("1.5 mb", 1_500_000), ("70", 70), (5, 5)])
def test_memory_is_read(text, value):
    assert bytes_of(text) == value


@pytest.mark.parametrize("text", ["", "GB", "-2GB", "much", "nanMB", "inf"])
def test_memory_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="amount of memory"):
        bytes_of(text)
