"""The public names: all there, and none imported before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import unfeature


@pytest.mark.parametrize("name", dir(unfeature))
def test_public_names_exist_and_explain_themselves(name):
    assert getattr(unfeature, name).__doc__


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = unfeature.nonsense
    assert unfeature.__version__.count(".") >= 1


def test_a_typing_error_in_a_name_is_answered_with_the_nearest():
    with pytest.raises(AttributeError, match="did you mean 'HOG'"):
        _ = unfeature.HGO


def test_import_is_light():
    code = "import sys, unfeature; print(sorted({'torch', 'numpy', 'scipy', 'skimage', 'numba'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
